"""Who works on a job: claims that only one process can win, and that die with it.

A claim is the file `claim-N.json`. N counts the processes that ever worked on the job,
and creating the file fails where it exists, so of several that want the job one gets
it, on network file systems too. The owner touches its claim now and then. It counts as
dead when its process is gone, which is seen on the same machine, or when its claim was
not touched for `TIMEOUT` seconds of the observer's clock. One that was only suspended,
and finds a later claim than its own, ends itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import socket
import threading
import time
from collections.abc import Callable

from samg_jax import durable, shared_files

CLAIM = "claim"
BEAT = 2.0  # Seconds between two signs of life.
TIMEOUT = 120.0
# Seconds that a claim without an owner counts. They may be few: an owner that is alive
# after all finds a later claim than its own, and ends itself.
DAMAGED_TIMEOUT = 5 * BEAT
LARGEST_PID = 2**31 - 1
LOST = 76  # Exit status of a process that another one has replaced.


def path_of(folder: pathlib.Path, number: int) -> pathlib.Path:
    """Returns the file of a claim."""
    return folder / f"{CLAIM}-{number}.json"


def machine() -> str:
    """Returns what tells machines, and containers on one, apart."""
    parts = [socket.gethostname()]
    for name, read in (
        ("/proc/sys/kernel/random/boot_id", lambda p: pathlib.Path(p).read_text()),
        ("/proc/self/ns/pid", os.readlink),
    ):
        try:
            parts.append(read(name).strip())
        except OSError:  # Not Linux.
            parts.append("")
    return " ".join(parts)


def started(pid: int) -> str | None:
    """Returns when a process began, None where there is none; a pid can be reused."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]  # Neither zombie nor dead.


def alive(owner: dict) -> bool:
    """Returns whether the owner of a claim on this machine still runs."""
    # Where beginnings are known, every claim has one, or is damaged.
    if owner["started"] is not None or started(os.getpid()) is not None:
        return (
            owner["started"] is not None and started(owner["pid"]) == owner["started"]
        )
    try:  # Not Linux: the best that can be known.
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def read(path: pathlib.Path) -> dict | None:
    """Returns the owner that a claim names, None where it is damaged."""
    owner = shared_files.read_json(path)
    if owner is None or {"machine", "pid", "started", "released"} - set(owner):
        return None
    pid, began = owner["pid"], owner["started"]
    sound = (
        isinstance(owner["machine"], str)
        and type(pid) is int
        and 0 < pid <= LARGEST_PID
        and (began is None or isinstance(began, str))
        and isinstance(owner["released"], bool)
    )
    return owner if sound else None


@dataclasses.dataclass
class Observer:
    """Tells which jobs are free; to be kept, because death by silence takes time.

    Attributes:
        timeout: seconds of silence after which an owner elsewhere counts as dead.
        seen: claim -> its last sign of life, and when that was first seen.
    """

    timeout: float = TIMEOUT
    seen: dict[pathlib.Path, tuple[int, float]] = dataclasses.field(
        default_factory=dict
    )

    def next_number(self, folder: pathlib.Path) -> int | None:
        """Returns the number of the next claim, None while a process has the job."""
        number = shared_files.latest(folder, CLAIM)
        if number is None:
            return 0
        path = path_of(folder, number)
        owner = read(path)
        timeout = self.timeout
        if owner is None:
            timeout = min(timeout, DAMAGED_TIMEOUT)
        elif owner["released"]:
            return number + 1
        elif owner["machine"] == machine():
            return None if alive(owner) else number + 1
        beat, now = path.stat().st_mtime_ns, time.monotonic()
        last, since = self.seen.get(path, (None, now))
        if beat != last:
            since = now
        self.seen[path] = (beat, since)
        return number + 1 if now - since > timeout else None


class Claim:
    """A job that this process has, until it releases it or dies."""

    def __init__(self, folder: pathlib.Path, number: int, owner: dict):
        self.folder, self.number, self._owner = folder, number, owner
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def current(self) -> bool:
        """Whether no other process has taken the job over."""
        return shared_files.latest(self.folder, CLAIM) == self.number

    def keep(self, parent: int, each: Callable[[], None]) -> None:
        """Gives signs of life from a thread.

        Ends the process where the job was taken over, or where the parent, which
        records how it ends, is gone.

        Args:
            parent: its pid.
            each: is called at every sign of life.
        """
        self._thread = threading.Thread(target=self._beat, args=(parent, each))
        self._thread.daemon = True
        self._thread.start()

    def _beat(self, parent: int, each: Callable[[], None]) -> None:
        while not self._ended.wait(BEAT):
            if os.getppid() != parent:
                os._exit(LOST)
            try:
                if not self.current:
                    os._exit(LOST)
                os.utime(path_of(self.folder, self.number))
                each()
            except OSError:  # A full disk, perhaps; the next beat may succeed.
                continue

    def release(self) -> None:
        """Gives the job back."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        path = path_of(self.folder, self.number)
        with contextlib.suppress(OSError):  # The end of the process releases it, too.
            shared_files.write_json(path, {**self._owner, "released": True})


def take(folder: pathlib.Path, number: int) -> Claim | None:
    """Returns the claim with this number, None where another process was faster."""
    path = path_of(folder, number)
    owner = {
        "machine": machine(),
        "pid": os.getpid(),
        "started": started(os.getpid()),
        "released": False,
    }
    # A link appears with its content, where an opened file would be empty at first.
    content = path.with_name(f".{path.name}.{os.getpid()}.{time.time_ns()}")
    try:
        shared_files.write_flushed(content, (json.dumps(owner) + "\n").encode())
        os.link(content, path)
    except FileExistsError:
        return None
    finally:
        content.unlink(missing_ok=True)
    durable.sync_folder(folder)
    return Claim(folder, number, owner)
