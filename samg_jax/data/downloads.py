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
import queue
import re
import shutil
import string
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import BinaryIO

import tqdm

from samg_jax import checks, durable, foreign

CHUNK = 2**20
TIMEOUT = 60.0  # Seconds without a byte before a connection counts as dead.
# A server that keeps a connection alive drop by drop is given up as well: after this
# many seconds, and those that the missing bytes take at this many per second.
PATIENCE = 600.0
LEAST_RATE = 50_000.0
SCHEMES = ("http", "https")


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
    """Returns `destination` after making sure that the file of `url` is there.

    An existing file is used as it is. A partial download is continued if the server
    allows it, also by a mirror: the SHA-256 says whether the whole is right. Of several
    processes that ask for the same file one downloads, the others wait for it.

    Args:
        url: `http` or `https` address.
        destination: final name; missing folders are made.
        size: expected number of bytes; never more are taken.
        sha256: expected digest, 64 hexadecimal digits.
        log: receives a line when another process has to be waited for, and one for
            each address that failed while others are left.
        *mirrors: Other addresses that have this file; each is tried in turn.

    Raises:
        DownloadError: with what each address answered, and with ways to get the file
            or to do without. Nothing incomplete or wrong is ever left under the final
            name.
    """
    destination = pathlib.Path(destination)
    part = _with_suffix(destination, ".part")
    addresses = (url, *mirrors)
    if all(_flaw(address) for address in addresses):
        raise DownloadError(
            f"Cannot download from {url!r}: {_flaw(url)}. Correct the address."
        )
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _locked(_with_suffix(destination, ".lock"), log):
            if not destination.exists():
                _check_space(part, size)
                _from_any(addresses, part, size, sha256, log)
                os.replace(part, destination)
                durable.sync_folder(destination.parent)
    except (OSError, _BadFileError) as error:
        raise DownloadError(
            f"Could not download {destination.name}: {_reason(error)}. "
            f"{_kept(part, size)}\n" + advice(url, destination, size, sha256)
        ) from error
    return destination


def _from_any(
    addresses: tuple[str, ...],
    part: pathlib.Path,
    size: int,
    sha256: str,
    log: Callable[[str], None],
) -> None:
    """Downloads the whole of a file to `part`, from the first address that has it."""
    answers = []
    for address in addresses:
        try:
            if flaw := _flaw(address):
                raise _BadFileError(flaw)
            _complete(address, part, size, part.name.removesuffix(".part"))
            _check(part, sha256)
            return
        except (OSError, http.client.HTTPException, _BadFileError) as error:
            answers.append(_reason(error))
            if address is not addresses[-1]:
                log(f"{address}: {answers[-1]}; trying the next address")
            cause = error
    if len(addresses) == 1:
        raise _BadFileError(answers[0]) from cause
    pairs = zip(addresses, answers, strict=True)
    raise _BadFileError(
        f"none of {len(addresses)} addresses has it ("
        + "; ".join(f"{address}: {answer}" for address, answer in pairs)
        + ")"
    ) from cause


def _flaw(address: str) -> str:
    """What keeps an address from being one of the web; empty if nothing does."""
    try:
        parts = urllib.parse.urlsplit(address)
        host = parts.hostname or ""
        _ = parts.port
        host.encode("idna")
        http.client.HTTPConnection(host, 80)  # Refuses control characters.
        "".join((parts.path, parts.query)).encode("ascii")
    except (ValueError, http.client.HTTPException) as error:  # Unicode's are of these.
        return f"it is no address ({str(error).partition(' (')[0]})"
    if parts.scheme not in SCHEMES:
        return f"only the schemes {' and '.join(SCHEMES)} are allowed"
    return "" if host else "it is no address (it names no host)"


def _check_space(part: pathlib.Path, size: int) -> None:
    """Refuses to begin what the disk cannot hold."""
    have = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(part.parent).free
    if free < size - have:
        raise _BadFileError(
            f"{size - have:,} bytes are needed in {part.parent}, where {free:,} are "
            "free; make room, or set D4RL_DATASET_DIR to a folder on a larger disk"
        )


def advice(url: str, destination: pathlib.Path, size: int, sha256: str) -> str:
    """Returns what to do when `destination` is missing and cannot be downloaded."""
    part = _with_suffix(destination, ".part")
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
    began = time.monotonic()
    patience = PATIENCE + (size - have) / LEAST_RATE
    with _open(url, have) as response:
        start = _start_of(response, size)
        if start not in (0, have):
            raise _BadFileError(f"asked for bytes from {have}, was sent from {start}")
        have = start
        progress = tqdm.tqdm(
            desc=name,
            total=size,
            initial=start,
            unit="B",
            unit_scale=True,
            disable=None,  # Silent where the output is no terminal.
        )
        with progress, part.open("ab" if start else "wb") as file:
            # A byte more than there should be is asked for, and no other.
            while chunk := response.read1(min(CHUNK, size + 1 - have)):
                have += len(chunk)
                file.write(chunk)
                progress.update(len(chunk))
                if have > size:
                    break
                if time.monotonic() - began > patience:
                    raise _BadFileError(
                        f"only {have} of {size} bytes after {patience:.0f} seconds"
                    )
    if have > size:
        part.unlink()
        raise _BadFileError(
            f"the server sends more than the {size} bytes of the file; what was "
            "downloaded has been deleted"
        )
    if have < size:
        raise _BadFileError(f"the connection ended after {have} of {size} bytes")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the web, and to nowhere else."""

    def http_error_302(self, req, fp, code, msg, headers):
        goal = headers.get("Location", "")
        with contextlib.suppress(ValueError):  # Then it is refused as it is.
            goal = urllib.parse.urljoin(req.full_url, goal)
        if flaw := _flaw(urllib.parse.quote(goal, safe=string.punctuation)):
            raise _BadFileError(
                f"the server redirects to {goal[:200]!r}, not to the web: {flaw}"
            )
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_302
    http_error_307 = http_error_308 = http_error_302


def _opener() -> urllib.request.OpenerDirector:
    """Opens the web, without the schemes of files that `urlopen` knows too."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        _Redirects,
    ):
        opener.add_handler(handler())
    return opener


def _open(url: str, start: int) -> http.client.HTTPResponse:
    """Returns the response to a request for the file from byte `start`.

    If the server refuses that range, for the whole file.
    """
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        return _within(lambda: _opener().open(request, timeout=TIMEOUT))
    except ValueError as error:  # Only the library finds it wrong.
        raise _BadFileError(f"it is no address ({error})") from error
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return _open(url, 0)
        raise


def _within(ask: Callable[[], http.client.HTTPResponse]) -> http.client.HTTPResponse:
    """The answer to a request, its status and headers; not later than is patient.

    A connection times out between two bytes only, so that headers could drip for ever.
    """
    answers: queue.Queue = queue.Queue()

    def run():
        try:
            answers.put((ask(), None))
        except Exception as error:  # Raised below, in the thread that asked.
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        response, error = answers.get(timeout=2.0 * TIMEOUT)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return response


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


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {foreign.printable(error.reason)}"
    if isinstance(error, urllib.error.URLError):
        return f"no connection ({foreign.printable(error.reason)})"
    if isinstance(error, TimeoutError):
        return f"no data for {TIMEOUT:g} seconds"
    return foreign.printable(error) or type(error).__name__


def _kept(part: pathlib.Path, size: int) -> str:
    """Says what the next try will find."""
    with contextlib.suppress(OSError):
        have = part.stat().st_size
        return f"Kept {have} of {size} bytes in {part}; the same command continues."
    return "Nothing was kept; the same command starts again."
