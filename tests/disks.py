"""Small real disks for tests: ext4 on a loop device, full or cut off at will."""

import contextlib
import os
import pathlib
import resource
import signal
import subprocess
import time

import pytest


def _run(*command):
    return subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.strip()


@contextlib.contextmanager
def mounted(image, folder, ordered=True):
    """Mounts the file system in an image; skips the test where that is not allowed.

    Nothing reaches the image before somebody flushes it: the journal is committed
    every ten minutes, and a rename alone flushes nothing. Unless it is `ordered`, a
    flush of names does not flush what is in the files.
    """
    folder.mkdir(exist_ok=True)
    try:
        device = _run("losetup", "--find", "--show", str(image))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no loop devices here: {error}")
    try:
        try:
            options = "commit=600,noauto_da_alloc,nodelalloc"
            options += "" if ordered else ",data=writeback"
            _run("mount", "-t", "ext4", "-o", options, device, str(folder))
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"nothing can be mounted here: {error}")
        try:
            yield folder
        finally:
            _run("umount", str(folder))
    finally:
        _run("losetup", "--detach", device)


def make(image: pathlib.Path, megabytes: int) -> pathlib.Path:
    """Writes an empty ext4 file system into a file; returns the file."""
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    try:
        _run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0", str(image))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no ext4 here: {error}")
    return image


@contextlib.contextmanager
def halted(pids):
    """Halts processes for the time of a block, as a power cut does for ever."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for pid in pids:
            while not _stands_still(pid):
                time.sleep(0.001)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _stands_still(pid):
    states = []
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            states.append(path.read_text().rpartition(") ")[2][0])
    return set(states) <= set("TZX")


def fill(path: pathlib.Path, left: int = 0) -> None:
    """Writes a file that leaves `left` bytes of its disk free."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
            os.fsync(file.fileno())
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(max(size - left, 0))
        os.fsync(file.fileno())


@contextlib.contextmanager
def limited(size: int = 0):
    """Lets no file of this process grow beyond `size` bytes, inside the block.

    The system reports it as it does a full disk, with another number.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
