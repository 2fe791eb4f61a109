"""Writing transitions as a D4RL-format HDF5 file."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from samg_jax import checks, durable

KEYS = ("observations", "actions", "rewards", "terminals", "timeouts")


class Recorder:
    """The rows of several environments side by side, each in its own order."""

    def __init__(self):
        self._rows: list[dict[str, np.ndarray]] = []

    def add(self, observations: np.ndarray, actions: np.ndarray, step: Any) -> None:
        """Keep one step of every environment.

        Args:
            observations: `[n, O]` on which the actions acted.
            actions: `[n, A]`.
            step: The `envs.vector.Step`.
        """
        values = (observations, actions, step.rewards, step.terminals, step.truncations)
        self._rows.append(
            {key: np.array(v) for key, v in zip(KEYS, values, strict=True)}
        )

    def rows(self, steps: int | None = None) -> dict[str, np.ndarray]:
        """The rows, key -> `[T, ...]`, environment after environment.

        The last row of each environment is flagged as a timeout, so that no
        transition leads from one environment into the next.

        Args:
            steps: The largest T; None for all rows.
        """
        stacked = {
            key: np.stack([row[key] for row in self._rows], axis=1) for key in KEYS
        }
        open_ended = ~stacked["terminals"][:, -1]
        stacked["timeouts"][:, -1] |= open_ended
        flat = {
            key: value.reshape(-1, *value.shape[2:])[:steps]
            for key, value in stacked.items()
        }
        flat["timeouts"][-1] |= not flat["terminals"][-1]
        return flat


def write(
    path: pathlib.Path, rows: Mapping[str, np.ndarray], attributes: Mapping[str, Any]
) -> None:
    """Writes a file that D4RL's loader and ours read, completely or not at all.

    This holds even across a power cut: the content is on the disk before the name.

    There are no `next_observations`: D4RL's view of a file uses the following row.

    Args:
        path: The path of the file, which is replaced if it exists.
        rows: Key -> `[T, ...]`, at least `KEYS`; flags are bool, everything else is
            written as float32. A slash in a key makes a group, as in `infos/goal`.
        attributes: The attributes of the file, which say that it is not D4RL's.
    """
    # The name contains the process's id: two processes may write the same file.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    folder = path.absolute().parent
    try:
        with durable.writing(folder, advice=durable.AGAIN, libraries=True):
            _write(temporary, rows, attributes)
            durable.sync(temporary)
            temporary.replace(path)
            durable.sync_folder(folder)
    except OSError as error:
        reason = " ".join(str(error).split())  # HDF5's messages have several lines.
        raise checks.UserError(
            f"{path} cannot be written: {reason}. Name a file in a folder that there "
            "is and that can be written to."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _write(path: pathlib.Path, rows: Mapping, attributes: Mapping) -> None:
    with h5py.File(path, "w") as file:
        for key, value in rows.items():
            kind = bool if value.dtype == bool else np.float32
            file.create_dataset(
                key,
                data=value.astype(kind),
                compression="gzip",
                compression_opts=9,
                shuffle=True,
            )
        file.attrs.update(attributes)


def check_space(path: pathlib.Path, rows: int, width: int) -> None:
    """Refuses a disk that could not hold the file, before anything is collected.

    Args:
        path: The path of the file, in a folder that exists.
        rows: T.
        width: The number of values in a row.
    """
    needed, free = 4 * rows * width, shutil.disk_usage(path.absolute().parent).free
    if needed > free:
        raise checks.UserError(
            f"{path} may need {needed:,} bytes, uncompressed, and {free:,} are "
            "free there. Make room, set out=FILE on another disk, or lower steps."
        )
