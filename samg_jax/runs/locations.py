"""Where the checkpoints of a run are, and which of them is meant."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import re

from samg_jax import checks
from samg_jax.runs import saved_configs

# What a run writes in its workdir.
FILES = (
    ".lock",
    "config.json",
    "log.txt",
    "metrics.csv",
    "training.csv",
    "wandb_id.txt",
)
PHASES = ("offline", "online")
FOLDERS = (*PHASES, "tensorboard", "wandb")


def steps(directory: pathlib.Path) -> list[int]:
    """The steps that have a checkpoint in a folder, ascending."""
    try:
        names = [path.name for path in directory.iterdir() if path.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError as error:
        raise checks.UserError(
            f"The folder {str(directory)!r} cannot be read: {error.strerror}. Give "
            "yourself the right to read it."
        ) from error
    return sorted(int(name) for name in names if re.fullmatch(r"0|[1-9][0-9]*", name))


def pin(path: pathlib.Path, writing: bool = False) -> int | None:
    """Locks a checkpoint's folder against deletion; its descriptor, to be closed.

    Args:
        path: the folder.
        writing: whether it is to be deleted, which no reader may hinder.

    Returns:
        None if the folder is gone, or locked by others.
    """
    mode = fcntl.LOCK_EX if writing else fcntl.LOCK_SH
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise checks.UserError(
            f"The folder {str(path)!r} may not be read. Give yourself the right to."
        ) from error
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        pass  # Some network file systems have no locks; then readers have to retry.
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.stat(path), os.fstat(descriptor)):
            return descriptor
    os.close(descriptor)
    return None


def find_offline(directory: str, flag: str = "config.offline.restore") -> pathlib.Path:
    """The folder with a run's offline checkpoints.

    Args:
        directory: a run's workdir, or its `offline/`.
        flag: that the user gave it with.
    """
    path = pathlib.Path(directory).expanduser()
    if steps(path / "offline"):
        return path / "offline"
    if steps(path) and not is_online(path):
        return path
    run = _run_of(path)
    if run is not None:
        raise checks.UserError(
            f"{flag} is {str(path)!r}, which is a part of the run in {str(run)!r}. "
            "The offline phase of a run is found through its workdir. Set "
            f"{flag}={run}."
        )
    raise checks.UserError(
        f"There is no offline checkpoint in {str(path)!r}{_what_is_there(path)}. It "
        "must be the workdir of a run whose offline phase is complete, or its folder "
        f"offline/. Check {flag}={path}."
    )


def find_latest(directory: str, flag: str = "checkpoint") -> pathlib.Path:
    """The folder with a run's last checkpoint: online if there is one.

    Args:
        directory: a run's workdir, or its `offline/` or `online/`.
        flag: that the user gave it with.
    """
    path = pathlib.Path(directory).expanduser()
    for candidate in (path / "online", path / "offline", path):
        if steps(candidate):
            return candidate
    if _is_step(path):
        raise checks.UserError(
            f"{flag} is {str(path)!r}, which is one of the checkpoints of "
            f"{str(path.parent)!r}. The newest of a folder is read. Set "
            f"{flag}={path.parent}."
        )
    raise checks.UserError(
        f"There is no checkpoint in {str(path)!r}{_what_is_there(path)}. It must be "
        "the workdir of a run that has saved one, or its folder offline/ or online/. "
        f"Check {flag}={path}."
    )


def is_online(folder: pathlib.Path) -> bool:
    """Whether a folder of checkpoints is that of an online phase."""
    for step in reversed(steps(folder)):
        with contextlib.suppress(OSError, ValueError):
            meta = json.loads((folder / str(step) / saved_configs.META).read_text())
            if isinstance(meta, dict):
                return not saved_configs.is_offline(meta, folder.name)
    return folder.name == "online"


def _is_step(path: pathlib.Path) -> bool:
    return path.name.isdigit() and path.parent != path and (path / "meta").is_dir()


def _run_of(path: pathlib.Path) -> pathlib.Path | None:
    """The workdir with an offline phase that a folder is a part of, if any."""
    path = path.absolute()
    folder = path.parent if _is_step(path) else path
    if folder.name in ("offline", "online") and steps(folder.parent / "offline"):
        return folder.parent
    return None


def _what_is_there(path: pathlib.Path) -> str:
    if not path.exists():
        return ", which does not exist"
    if not path.is_dir():
        return ", which is a file"
    if steps(path / "online") or steps(path):
        return ", only online ones"
    return ""


def check_layout(workdir: pathlib.Path) -> None:
    """Refuses a workdir with folders where a run has files, or the reverse."""
    for name in FILES:
        if (workdir / name).is_dir():
            raise checks.UserError(
                f"{workdir / name} is a folder; a run has a file of that name. Rename "
                "it, or give another workdir=FOLDER."
            )
    for name in FOLDERS:
        path = workdir / name
        if path.is_symlink() and not path.exists():
            raise checks.UserError(
                f"{path} is a link to {path.readlink()}, which does not exist. Mount "
                "or restore what it points to, or give another workdir=FOLDER."
            )
        if path.exists() and not path.is_dir():
            raise checks.UserError(
                f"{path} is a file; a run has a folder of that name. Rename it, or "
                "give another workdir=FOLDER."
            )
