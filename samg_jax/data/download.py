"""Fetching one large file: resumable, checked, and never half-written.

The final name appears only once size and SHA-256 are right. Until then the bytes are
in `<destination>.part`, and an empty `<destination>.lock` makes processes that want
the same file take turns. The lock file stays: deleting it would let two processes
hold a lock of the same name.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import pathlib
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import BinaryIO

import tqdm

from samg_jax import checks

CHUNK = 2**20
TIMEOUT = 60.0  # Seconds without a byte before a connection counts as dead.


class DownloadError(checks.UserError):
    """A file could not be had; the message says what to do by hand."""


def fetch(
    url: str,
    destination: pathlib.Path,
    size: int,
    sha256: str,
    log: Callable[[str], None] = print,
) -> pathlib.Path:
    """Returns `destination` after making sure that the file of `url` is there.

    An existing file is used as it is. A partial download is continued if the server
    allows it. Of several processes that ask for the same file one downloads, the
    others wait for it.

    Args:
        url: `http` or `https` address.
        destination: final name; missing folders are made.
        size: expected number of bytes.
        sha256: expected digest, 64 hexadecimal digits.
        log: receives a line when another process has to be waited for.

    Raises:
        DownloadError: with the reason and with ways to get the file or to do without.
            Nothing incomplete or wrong is ever left under the final name.
    """
    destination = pathlib.Path(destination)
    part = _with_suffix(destination, ".part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _locked(_with_suffix(destination, ".lock"), log):
            if not destination.exists():
                _complete(url, part, size, destination.name)
                _check(part, sha256)
                os.replace(part, destination)
                _sync_folder(destination.parent)
    except (OSError, http.client.HTTPException, _BadFileError) as error:
        raise DownloadError(
            f"Could not download {destination.name}: {_reason(error)}. "
            f"{_kept(part, size)}\n" + advice(url, destination, size, sha256)
        ) from error
    return destination


def advice(url: str, destination: pathlib.Path, size: int, sha256: str) -> str:
    """Returns what to do when `destination` is missing and cannot be downloaded."""
    part = _with_suffix(destination, ".part")
    return (
        f"The file is expected at {destination}. To put it there by hand:\n"
        f"  curl --location --fail --create-dirs --continue-at - --output '{part}' "
        f"'{url}' && mv '{part}' '{destination}'\n"
        f"It has {size} bytes and SHA-256 {sha256}.\n"
        "Or make local data and train on them instead, here for Hopper:\n"
        "  python -m samg_jax.collect --env=Hopper-v4 --level=medium --out=FILE\n"
        "and give the training command\n"
        "  config.dataset.path=FILE config.env_id=Hopper-v4\n"
        "For AntMaze --env=antmaze-umaze, without a level, and the same as env_id."
    )


class _BadFileError(Exception):
    """What the server sent is not, or not all of, the expected file."""


def _with_suffix(path: pathlib.Path, suffix: str) -> pathlib.Path:
    return path.with_name(path.name + suffix)


@contextlib.contextmanager
def _locked(path: pathlib.Path, log: Callable[[str], None]) -> Iterator[None]:
    """Holds an exclusive lock; the system releases it if the process dies."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(f"Another process is downloading; waiting for {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _complete(url: str, part: pathlib.Path, size: int, name: str) -> None:
    """Downloads until `part` has `size` bytes, from where an earlier try ended."""
    have = part.stat().st_size if part.exists() else 0
    if have > size:
        part.unlink()
        have = 0
    if have == size:
        return
    with _open(url, have) as response:
        start = _start_of(response, size)
        if start not in (0, have):
            raise _BadFileError(f"asked for bytes from {have}, was sent from {start}")
        progress = tqdm.tqdm(
            desc=name,
            total=size,
            initial=start,
            unit="B",
            unit_scale=True,
            disable=None,  # Silent where the output is no terminal.
        )
        with progress, part.open("ab" if start else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                progress.update(len(chunk))
    have = part.stat().st_size
    if have < size:
        raise _BadFileError(f"the connection ended after {have} of {size} bytes")


def _open(url: str, start: int) -> http.client.HTTPResponse:
    """Returns the response to a request for the file from byte `start`.

    If the server refuses that range, for the whole file.
    """
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return _open(url, 0)
        raise


def _start_of(response: http.client.HTTPResponse, size: int) -> int:
    """Returns the position of the first byte sent; refuses a file of another size.

    An error page sent with status 200 would otherwise become the head of the part
    file. A server that ignores the range answers 200 and starts at 0.
    """
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        field = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", field.strip())
        if match is None:
            raise _BadFileError(f"the server sent a Content-Range of {field!r}")
        start, total = int(match[1]), match[2]
    else:
        start, total = 0, response.headers.get("Content-Length", "*")
    if total not in ("*", str(size)):
        raise _BadFileError(f"the server offers a file of {total} bytes, not {size}")
    return start


def _check(part: pathlib.Path, sha256: str) -> None:
    """Flushes `part` to the disk and verifies it; deletes it if it is wrong."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
        digest = _digest(file)
    if digest != sha256:
        part.unlink()
        raise _BadFileError(
            f"wrong checksum: SHA-256 is {digest}, expected {sha256}; "
            "what was downloaded has been deleted"
        )


def _digest(file: BinaryIO) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: pathlib.Path) -> None:
    """Makes a rename in `folder` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"no connection ({error.reason})"
    if isinstance(error, TimeoutError):
        return f"no data for {TIMEOUT:g} seconds"
    return str(error) or type(error).__name__


def _kept(part: pathlib.Path, size: int) -> str:
    """Says what the next try will find."""
    with contextlib.suppress(OSError):
        have = part.stat().st_size
        return f"Kept {have} of {size} bytes in {part}; the same command continues."
    return "Nothing was kept; the same command starts again."
