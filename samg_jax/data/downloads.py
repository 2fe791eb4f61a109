"""Fetching one large file: checked, from any of several servers, never half-written.

pooch downloads to a temporary name and renames the file once its SHA-256 is right. Here
is what pooch leaves open: a server that sends too much or for too long, further
addresses, and processes that want the same file, which take turns.
"""

from __future__ import annotations

import functools
import os
import pathlib
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

import filelock
import tqdm

from samg_jax import checks, durable, foreign, lazy

pooch = lazy.module("pooch")

CHUNK = 2**20
TIMEOUT = 60.0  # Seconds without a byte before a connection counts as dead.
# A server that keeps a connection alive drop by drop is given up as well: after this
# many seconds, and those that the file takes at this many bytes per second.
PATIENCE = 600.0
LEAST_RATE = 50_000.0
ROOM = "Make room, or set D4RL_DATASET_DIR to a folder on a larger disk."


class DownloadError(checks.UserError):
    """A file could not be had; the message says what to do by hand."""


def fetch(
    url: str,
    destination: pathlib.Path,
    size: int,
    sha256: str,
    log: Callable[[str], None] = print,
    *mirrors: str,
) -> pathlib.Path:
    """Makes sure that a file is there, and gives back its path.

    An existing file is used as it is. If several processes ask for the same file, one
    downloads it and the others wait.

    Args:
        url: An `http` or `https` address.
        destination: The final name; missing folders are made.
        size: The expected number of bytes; the download stops there.
        sha256: The expected digest, 64 hexadecimal digits.
        log: Receives a line if another process has to be waited for, and one for each
            address that failed while others are left.
        *mirrors: Further addresses of the file, which are tried in turn.

    Raises:
        DownloadError: No address has the file. The message says what each answered,
            and how to get the file or do without. Nothing incomplete or wrong is ever
            left under the final name.
        checks.UserError: The disk has no room for the file.
    """
    destination = pathlib.Path(destination)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _lock(destination, log):
            if not destination.exists():
                durable.check_room(destination.parent, size, ROOM)
                _from_any((url, *mirrors), destination, size, sha256, log)
                durable.sync_folder(destination.parent)
    except OSError as error:
        raise DownloadError(
            f"Could not download {destination.name}: {_reason(error)}. Nothing was "
            "kept; the same command starts again.\n"
            + advice(url, destination, size, sha256)
        ) from error
    return destination


def advice(url: str, destination: pathlib.Path, size: int, sha256: str) -> str:
    """What to do if `destination` is missing and cannot be downloaded."""
    part = destination.with_name(destination.name + ".part")
    return (
        f"The file is expected at {destination}. To put it there by hand:\n"
        f"  curl --location --fail --create-dirs --continue-at - --output '{part}' "
        f"'{url}' && mv '{part}' '{destination}'\n"
        f"It has {size} bytes and SHA-256 {sha256}.\n"
        "If you know of another server that has it, set the environment variable "
        "D4RL_MIRROR to the address of its folder, or to several.\n"
        "Or make local data and train on them instead, here for Hopper:\n"
        "  python -m samg_jax.collect --env=Hopper-v4 --level=medium --out=FILE\n"
        "and give the training command\n"
        "  config.dataset.path=FILE config.env_id=Hopper-v4\n"
        "For AntMaze:\n"
        "  python -m samg_jax.collect --env=antmaze-umaze --out=FILE\n"
        "and antmaze-umaze as env_id."
    )


def _lock(destination: pathlib.Path, log: Callable[[str], None]) -> Any:
    """Holds the right to download a file, inside a block."""
    lock = filelock.FileLock(f"{destination}.lock")
    try:
        return lock.acquire(blocking=False)
    except filelock.Timeout:
        log(f"Another process is downloading; waiting for {lock.lock_file}")
        return lock.acquire()


def _from_any(
    addresses: tuple[str, ...],
    destination: pathlib.Path,
    size: int,
    sha256: str,
    log: Callable[[str], None],
) -> None:
    """Downloads a file from the first address that has it."""
    pooch.get_logger().setLevel("WARNING")
    answers = []
    for address in addresses:
        try:
            pooch.retrieve(
                address,
                f"sha256:{sha256}",
                destination.name,
                destination.parent,
                downloader=functools.partial(_download, size),
            )
            return
        except (OSError, ValueError) as error:  # Its own are of these, and requests'.
            answers.append(f"{address}: {_reason(error)}")
            if address is not addresses[-1]:
                log(f"{answers[-1]}; trying the next address")
            cause = error
    raise OSError(f"no address has it ({'; '.join(answers)})") from cause


def _download(size: int, url: str, output: str, _pooch: Any) -> None:
    """Downloads exactly `size` bytes; pooch calls it with a temporary file's name."""
    os.unlink(output)  # It was made for this user alone.
    get = pooch.HTTPDownloader(chunk_size=CHUNK, timeout=TIMEOUT)
    patience = PATIENCE + size / LEAST_RATE
    with open(output, "xb") as file:
        sink = _Bounded(file, size)
        # None: the bar is shown on terminals only.
        with tqdm.tqdm.wrapattr(sink, "write", total=size, disable=None) as shown:
            _within(patience, get, url, shown, None)
        if file.tell() < size:
            raise OSError(f"the connection ended after {file.tell()} of {size} bytes")
        os.fsync(file.fileno())


class _Bounded:
    """A file that takes `size` bytes and no more."""

    def __init__(self, file: BinaryIO, size: int):
        self._file, self._size = file, size

    def write(self, data: bytes) -> None:
        if self._file.tell() + len(data) > self._size:
            raise OSError(f"the server sends more than the {self._size} bytes of it")
        self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _within(seconds: float, call: Callable[..., None], *arguments: Any) -> None:
    """Calls a function, and gives it up after so many seconds.

    A connection times out between two bytes only. Headers, too, could drip for ever.
    """
    errors: list[Exception] = []

    def run():
        try:
            call(*arguments)
        except Exception as error:  # Raised below, in the thread that asked.
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise OSError(f"the file has not arrived after {seconds:.0f} seconds")
    if errors:
        raise errors[0]


def _reason(error: Exception) -> str:
    """What an error says, on one line."""
    return foreign.printable(error) or type(error).__name__
