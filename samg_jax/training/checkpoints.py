"""Saving and restoring a run through Orbax, and checks of what is restored."""

from __future__ import annotations

import io
import pathlib
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp

import samg_jax
from samg_jax import checks
from samg_jax.training import devices

T = TypeVar("T")

# Raised whenever the arrays of a checkpoint or their meaning change.
FORMAT_VERSION = 5


class Store:
    """The checkpoints of one phase in one folder; only the newest is kept.

    A checkpoint appears under its final name only when it is complete, and the one
    before is deleted after that: a killed process loses nothing that was saved.
    """

    def __init__(self, directory: pathlib.Path):
        self.directory = directory.absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=1, enable_async_checkpointing=False
        )
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def latest(self) -> int | None:
        """Returns the step of the newest checkpoint, None if there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, host: dict, meta: dict) -> None:
        """Saves a state, arrays of the host, and what is needed to read them.

        Args:
            step: names the checkpoint; larger than that of the one before.
            state: arrays only.
            host: name -> NumPy array of any type, kept bit for bit.
            meta: JSON; the format version is added.
        """
        versions = {
            "format_version": FORMAT_VERSION,
            "samg_jax": samg_jax.__version__,
            "jax": jax.__version__,
        }
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                host=ocp.args.StandardSave({"npz": _pack(host)}),
                meta=ocp.args.JsonSave({**meta, **versions}),
            ),
        )
        self._manager.wait_until_finished()

    def meta(self) -> dict[str, Any]:
        """Returns the description of the newest checkpoint, its version checked."""
        args = ocp.args.Composite(meta=ocp.args.JsonRestore())
        meta = self._read(args).meta
        check_version(meta, self.directory)
        return meta

    def restore(
        self, like: T, mesh: jax.sharding.Mesh | None = None
    ) -> tuple[T, dict[str, np.ndarray]]:
        """Returns the newest state and host arrays.

        Args:
            like: arrays or `jax.ShapeDtypeStruct` of the same structure as saved.
            mesh: devices for the seeds, whatever those were that it was saved from.
        """
        # As NumPy arrays, because those that Orbax places are committed to a device:
        # for them JAX would compile everything anew, and perhaps not the same.
        like = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like)
        restored = self._read(
            ocp.args.Composite(
                state=ocp.args.StandardRestore(like),
                host=ocp.args.StandardRestore(),
            )
        )
        state = devices.put(mesh, restored.state)
        return state, _unpack(np.asarray(restored.host["npz"]))

    def _read(self, args: ocp.args.Composite) -> Any:
        step = self.latest()
        try:
            return self._manager.restore(step, args=args)
        except Exception as error:
            raise checks.UserError(
                f"The checkpoint {self.directory / str(step)} cannot be read: {error} "
                "It must be as it was saved. Restore its files, or move the folder "
                "away to begin its phase anew."
            ) from error

    def close(self) -> None:
        """Releases Orbax's threads."""
        self._manager.close()


def check_version(meta: dict[str, Any], directory: pathlib.Path) -> None:
    """Refuses a checkpoint that another format version wrote."""
    found = meta.get("format_version")
    if found != FORMAT_VERSION:
        raise checks.UserError(
            f"The checkpoint in {directory} has format version {found}, written by "
            f"samg_jax {meta.get('samg_jax', 'unknown')}; this is samg_jax "
            f"{samg_jax.__version__}, which reads version {FORMAT_VERSION}. Install "
            "the version that wrote it, or train anew."
        )


def find_offline(directory: str, flag: str = "config.offline.restore") -> pathlib.Path:
    """Returns the folder with a run's offline checkpoint.

    Args:
        directory: a run's workdir, or its `offline/`.
        flag: that the user gave it with.
    """
    path = pathlib.Path(directory).expanduser()
    for candidate in (path / "offline", path):
        if _has_checkpoint(candidate):
            return candidate
    raise checks.UserError(
        f"There is no offline checkpoint in {str(path)!r}. It must be the workdir of a "
        "run whose offline phase is complete, or its folder offline/. "
        f"Check {flag}."
    )


def find_latest(directory: str) -> pathlib.Path:
    """Returns the folder with a run's last checkpoint: online if there is one.

    Args:
        directory: a run's workdir, or its `offline/` or `online/`.
    """
    path = pathlib.Path(directory).expanduser()
    for candidate in (path / "online", path / "offline", path):
        if _has_checkpoint(candidate):
            return candidate
    raise checks.UserError(
        f"There is no checkpoint in {str(path)!r}. It must be the workdir of a run "
        "that has saved one, or its folder offline/ or online/. Check --checkpoint."
    )


def _has_checkpoint(folder: pathlib.Path) -> bool:
    return folder.is_dir() and any(
        child.is_dir() and child.name.isdigit() for child in folder.iterdir()
    )


def _pack(arrays: dict[str, np.ndarray]) -> np.ndarray:
    # As bytes, because arrays of 64-bit types would pass through JAX otherwise.
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return np.frombuffer(buffer.getvalue(), np.uint8).copy()


def _unpack(data: np.ndarray) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data.tobytes()), allow_pickle=False) as archive:
        return dict(archive)
