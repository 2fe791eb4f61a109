"""Saving and restoring a run through Orbax, safe against power cuts and races.

A checkpoint is written aside, flushed to the disk with all its files, and renamed last:
what has a step for its name is complete, also after a power cut. The newest two are
kept. If the newest cannot be read, the one before is used, with a warning.

Others may read while a run saves: a reader locks the folder of the step that it reads,
and the run deletes that step later.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
import time
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

import samg_jax
from samg_jax import checks, durable, logs
from samg_jax.runs import checkpoint_arrays, locations, manifests, saved_configs
from samg_jax.training import devices

T = TypeVar("T")

# Raised whenever the arrays of a checkpoint or their meaning change.
FORMAT_VERSION = 5
KEPT = 2
# What a save that was stopped, or a deletion, leaves behind.
LEFTOVER = re.compile(r"\d+(\.new|\.deleted|(\.new)?\.orbax-checkpoint-tmp.*)")
# Orbax's own files, beside the arrays.
OVERHEAD = 1 << 20
SETTLING = 10.0  # Seconds at most until a failed save writes no more.
ATTEMPTS = 100  # To read the newest checkpoint of a run that saves meanwhile.


class UnreadableError(checks.UserError):
    """None of the checkpoints of a phase can be read."""


class Store:
    """The checkpoints of one phase in one folder.

    Reading begins with `meta` and stays with the checkpoint found there, until `close`
    or the next `save`.
    """

    def __init__(self, directory: pathlib.Path):
        self.directory = directory.absolute()
        self._step: int | None = None  # That is being read.
        self._meta: dict[str, Any] = {}
        self._unpin: weakref.finalize | None = None  # Unlocks its folder.

    def latest(self) -> int | None:
        """The step of the newest checkpoint, readable or not; None if there is none."""
        return max(locations.steps(self.directory), default=None)

    def recover(self) -> dict[str, Any] | None:
        """Prepares to go on from the newest checkpoint that can be read.

        Only for the process that writes here. Checkpoints that cannot be read are
        renamed, so that their step can be saved again.

        Returns:
            The description of the checkpoint, None if there is none.

        Raises:
            checks.UserError: none of the checkpoints can be read.
        """
        if self.directory.is_dir():
            for path in self.directory.iterdir():
                if LEFTOVER.fullmatch(path.name):
                    _delete(path)
        if self.latest() is None:
            return None
        meta = self.meta()
        self.set_aside(self._step)
        return meta

    def set_aside(self, readable: int = -1) -> None:
        """Renames the checkpoints after a step, which cannot be read."""
        for step in locations.steps(self.directory):
            if step > readable:
                damaged = self.directory / f"{step}.damaged"
                _delete(damaged)
                with durable.writing(self.directory):
                    (self.directory / str(step)).rename(damaged)
                logs.LOGGER.warning("%s is kept as %s.", step, damaged)
        durable.sync_folder(self.directory)

    def save(
        self,
        step: int,
        state: Any,
        host: dict,
        meta: dict,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """Saves a state, arrays of the host, and what is needed to read them.

        Args:
            step: names the checkpoint; larger than that of the one before.
            state: arrays only.
            host: name -> NumPy array of any type, kept bit for bit.
            meta: JSON; the format version is added.
            files: name -> content of further files to keep with the checkpoint.

        Raises:
            checks.UserError: the disk has no room for it, or takes nothing.
        """
        self.close()
        files = files or {}
        versions = {
            "format_version": FORMAT_VERSION,
            "samg_jax": samg_jax.__version__,
            "jax": jax.__version__,
        }
        packed = checkpoint_arrays.pack(host)
        needed = needed_bytes(state) + packed.nbytes + sum(map(len, files.values()))
        durable.check_room(self.directory, needed)
        with durable.writing(self.directory, needed, libraries=True):
            durable.make_folder(self.directory)
            with self._complete(step) as folder:
                checkpoint_arrays.write(folder, state, packed, {**meta, **versions})
                for name, content in files.items():
                    (folder / name).write_bytes(content)
        self._prune()

    @contextlib.contextmanager
    def _complete(self, step: int) -> Iterator[pathlib.Path]:
        """A folder to fill, which gets its name when all of it is on the disk."""
        new = self.directory / f"{step}.new"
        _delete(new)
        try:
            yield new
            manifests.write(new)
            durable.sync_tree(new)
            new.rename(self.directory / str(step))
        except BaseException:
            self._clear(step)
            raise
        durable.sync_folder(self.directory)

    def _clear(self, step: int) -> None:
        """Deletes what a save that failed has written.

        TensorStore's threads cannot be waited for, and create folders anew: what they
        were at is deleted until nothing more appears.
        """
        quiet, limit = 0, time.monotonic() + SETTLING
        while quiet < 5 and time.monotonic() < limit:
            found = list(self.directory.glob(f"{step}.new*"))
            for path in found:
                _delete(path)
            quiet = 0 if found else quiet + 1
            time.sleep(0.05)

    def _prune(self) -> None:
        """Deletes all but the newest checkpoints, except those that are being read."""
        for step in locations.steps(self.directory)[:-KEPT]:
            path = self.directory / str(step)
            pin = locations.pin(path, writing=True)
            if pin is None:
                continue
            try:
                gone = path.with_name(f"{step}.deleted")
                _delete(gone)
                path.rename(gone)
            finally:
                os.close(pin)
            _delete(gone)

    def meta(self) -> dict[str, Any]:
        """The description of the newest checkpoint that can be read.

        Raises:
            checks.UserError: there is none, or another format version wrote it.
        """
        if self._step is None:
            self._choose()
        return self._meta

    def file(self, name: str) -> bytes | None:
        """Content of a further file of the checkpoint, None if it has none."""
        self.meta()
        path = self.directory / str(self._step) / name
        return path.read_bytes() if path.is_file() else None

    def restore(
        self, like: T, mesh: jax.sharding.Mesh | None = None
    ) -> tuple[T, dict[str, np.ndarray]]:
        """The state and host arrays of the checkpoint that `meta` describes.

        Args:
            like: arrays or `jax.ShapeDtypeStruct` of the same structure as saved.
            mesh: devices for the seeds, whatever those were that it was saved from.
        """
        self.meta()
        path = self.directory / str(self._step)
        # As NumPy arrays, because those that Orbax places are committed to a device:
        # for them JAX would compile everything anew, and perhaps not the same.
        like = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like)
        state, host = checkpoint_arrays.read(path, like)
        return devices.put(mesh, state), host

    def close(self) -> None:
        """Ends reading: the checkpoint may be deleted from now on."""
        if self._unpin is not None:
            self._unpin()
        self._step, self._unpin = None, None

    def _choose(self) -> None:
        """Finds, checks and pins the newest checkpoint that can be read."""
        for _ in range(ATTEMPTS):
            refused: list[tuple[pathlib.Path, str]] = []
            for step in reversed(locations.steps(self.directory)):
                path = self.directory / str(step)
                pin = locations.pin(path)
                if pin is None:  # Deleted since: by now there are newer ones.
                    break
                meta, reason = examine(path)
                if not path.exists():  # Where there are no locks.
                    os.close(pin)
                    break
                if reason is None:
                    self._step, self._meta = step, meta
                    self._unpin = weakref.finalize(self, os.close, pin)
                    for damaged, why in refused:
                        logs.LOGGER.warning(
                            "%s cannot be read: %s. The checkpoint before it is used, "
                            "of step %d.",
                            *(damaged, why, step),
                        )
                    if "tables" in meta and not manifests.exists(path):
                        logs.LOGGER.warning(
                            "%s is missing, with the checksums of that checkpoint. Its "
                            "files can be read; whether they are as they were written "
                            "is not known.",
                            path / manifests.NAME,
                        )
                    return
                os.close(pin)
                refused.append((path, reason))
            else:
                raise UnreadableError(_none_readable(self.directory, refused))
        raise checks.UserError(
            f"The checkpoints in {str(self.directory)!r} are replaced faster than they "
            "can be read. Give the same command again when the run saves less often."
        )


def needed_bytes(state: Any) -> int:
    """Bytes that a checkpoint of these arrays takes on the disk at most.

    Args:
        state: arrays or `jax.ShapeDtypeStruct`.
    """
    leaves = jax.tree.leaves(state)
    total = sum(leaf.size * np.dtype(leaf.dtype).itemsize for leaf in leaves)
    return total + total // 20 + OVERHEAD


def examine(path: pathlib.Path) -> tuple[dict[str, Any], str | None]:
    """The description of a checkpoint, and what is damaged in it, if anything.

    Raises:
        checks.UserError: another format version wrote it, or it may not be read.
    """
    meta: dict[str, Any] = {}
    try:
        listed = manifests.exists(path)
        reason = manifests.damage(path) if listed else None
        if reason is None:
            meta = json.loads((path / saved_configs.META).read_text())
            reason = saved_configs.fault(meta, path.parent.name)
        if reason is None:
            check_version(meta, path)
            reason = None if listed else checkpoint_arrays.unreadable(path)
    except PermissionError as error:
        raise checks.UserError(
            f"The checkpoint {str(path)!r} may not be read: {error}. Give yourself the "
            "right to read its files."
        ) from error
    except (FileNotFoundError, NotADirectoryError):
        reason = f"{saved_configs.META} is missing"
    except IsADirectoryError:
        reason = f"{saved_configs.META} is a folder"
    except ValueError as error:
        if isinstance(error, checks.UserError):
            raise
        reason = f"{saved_configs.META} is not JSON"
    return meta, reason


def check_version(meta: dict[str, Any], path: pathlib.Path) -> None:
    """Refuses a checkpoint that another format version wrote."""
    found = meta["format_version"]
    if found != FORMAT_VERSION:
        raise checks.UserError(
            f"The checkpoint {path} has format version {found}, written by "
            f"samg_jax {meta.get('samg_jax', 'unknown')}; this is samg_jax "
            f"{samg_jax.__version__}, which reads version {FORMAT_VERSION}. Install "
            "the version that wrote it, or train again."
        )


def _none_readable(
    directory: pathlib.Path, refused: list[tuple[pathlib.Path, str]]
) -> str:
    if not refused:
        return f"There is no checkpoint in {str(directory)!r}."
    phase = directory.name
    begin = "fine-tuning" if phase == "online" else "its phase"
    found = "; ".join(f"{path}: {reason}" for path, reason in refused)
    return (
        f"No checkpoint in {str(directory)!r} can be read: {found}. Their files must "
        f"be as they were saved. Restore them from a copy, or rename {directory} and "
        f"run the same command again, to restart {begin}."
    )


def _delete(path: pathlib.Path) -> None:
    """Deletes a folder if it is there; what cannot be deleted stays."""
    shutil.rmtree(path, ignore_errors=True)
