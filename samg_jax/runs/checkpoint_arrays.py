"""The arrays of a checkpoint: read through Orbax, described, compared with others."""

from __future__ import annotations

import contextlib
import io
import pathlib
import traceback
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging as absl_logging

from samg_jax import checks
from samg_jax.runs import aftermath

PACKAGE = pathlib.Path(checks.__file__).parent
# What NumPy raises for an archive that is damaged.
UNPACKING = (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error)


def write(folder: pathlib.Path, state: Any, host: np.ndarray, meta: dict) -> None:
    """Writes a checkpoint, not yet flushed to the disk.

    Args:
        folder: that does not exist yet.
        state: arrays only.
        host: from `pack`.
        meta: JSON.
    """
    args = ocp.args.Composite(
        state=ocp.args.StandardSave(state),
        host=ocp.args.StandardSave({"npz": host}),
        meta=ocp.args.JsonSave(meta),
    )
    with aftermath.contained(folder.parent), quiet(), _checkpointer() as checkpointer:
        checkpointer.save(folder, args=args)


def read(folder: pathlib.Path, like: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """The state and the host arrays of a checkpoint.

    Args:
        folder: of the checkpoint.
        like: NumPy arrays of the same structure as saved.

    Raises:
        checks.UserError: the files are damaged, or hold other arrays.
    """
    args = ocp.args.Composite(
        state=ocp.args.StandardRestore(like), host=ocp.args.StandardRestore()
    )
    try:
        with quiet(), _checkpointer() as checkpointer:
            restored = checkpointer.restore(folder, args=args)
    except MemoryError:
        raise
    except Exception as error:  # Orbax has no common type for what can be wrong.
        if _ours(error):
            raise
        raise checks.UserError(_misfit(folder, like, error)) from error
    different = differences(like, restored.state)
    if different:  # Orbax itself returns arrays of other shapes as they are.
        raise checks.UserError(_other(folder, different))
    try:
        host = _unpack(np.asarray(restored.host["npz"]))
    except UNPACKING as error:
        raise checks.UserError(_misfit(folder, like, error)) from error
    return restored.state, host


def _ours(error: Exception) -> bool:
    """Whether an error was raised in this package: a bug, not a damaged file."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return pathlib.Path(last.filename).is_relative_to(PACKAGE)


def unreadable(path: pathlib.Path) -> str | None:
    """Why the arrays of a checkpoint without a manifest cannot be read, if so."""
    try:
        with quiet(), ocp.StandardCheckpointer() as reader:
            for item in ("state", "host"):
                reader.restore(path / item, _shapes(reader, path / item))
    except MemoryError:
        raise
    except Exception as error:
        return f"its arrays: {_first_line(error)}"
    return None


def _shapes(reader: ocp.StandardCheckpointer, folder: pathlib.Path) -> Any:
    tree = reader.metadata(folder).item_metadata.tree
    return jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), tree)


def differences(expected: Any, found: Any) -> list[str]:
    """The arrays, by name, that are not the same in two trees."""
    expected, found = _described(expected), _described(found)
    return [
        f"{name} is {found.get(name, 'missing')}, {expected.get(name, 'none')} expected"
        for name in sorted(expected | found)
        if expected.get(name) != found.get(name)
    ]


def _described(tree: Any) -> dict[str, str]:
    def name(path):
        keys = [
            getattr(key, "name", getattr(key, "key", getattr(key, "idx", "")))
            for key in path
        ]
        return ".".join(map(str, keys))

    return {
        name(path): f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _misfit(path: pathlib.Path, like: Any, error: Exception) -> str:
    """Says why a checkpoint cannot be restored into the arrays of a run."""
    if not path.exists():
        return (
            f"The checkpoint {path} was replaced while it was read, because its run "
            "goes on. Give the same command again."
        )
    try:
        with quiet(), ocp.StandardCheckpointer() as reader:
            different = differences(like, _shapes(reader, path / "state"))
    except MemoryError:
        raise
    except Exception:  # Then the first error says it.
        different = []
    if different:
        return _other(path, different)
    return (
        f"The checkpoint {path} cannot be read: {_first_line(error)}. Its files must "
        "be as they were saved. Restore them from a copy."
    )


def _other(path: pathlib.Path, different: list[str]) -> str:
    more = f" (and {len(different) - 3} more)" if len(different) > 3 else ""
    return (
        f"The checkpoint {path} holds other arrays than its config describes: "
        f"{'; '.join(different[:3])}{more}. It belongs to another run or version. "
        "Restore the files of this run from a copy, or use the version that wrote them."
    )


def _checkpointer() -> ocp.Checkpointer:
    return ocp.Checkpointer(ocp.CompositeCheckpointHandler())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps Orbax's own tracebacks out of the terminal; it raises its errors too."""
    before = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.FATAL)
    try:
        yield
    finally:
        absl_logging.set_verbosity(before)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300].rstrip(".:")


def pack(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Arrays of the host, of any type, as one that Orbax keeps bit for bit."""
    # As bytes, because arrays of 64-bit types would pass through JAX otherwise.
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return np.frombuffer(buffer.getvalue(), np.uint8).copy()


def _unpack(data: np.ndarray) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data.tobytes()), allow_pickle=False) as archive:
        return dict(archive)
