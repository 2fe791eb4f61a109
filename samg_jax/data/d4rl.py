"""D4RL files: where they are, and reading one into arrays.

The fifteen `-v2` files of the paper (Fu et al., 2020, licence CC BY 4.0), a small
demo that comes with this package, and any file of one's own with the same keys.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from samg_jax import checks
from samg_jax.data import download as downloads

BASE_URL = "http://rail.eecs.berkeley.edu/datasets/offline_rl/"
DEMO = "hopper-demo"
VERSION = "-v2"
UNNAMED = "random|expert|full-replay"  # D4RL's other levels of locomotion.

# Policies that end in a tanh reach 1 up to rounding; more than this is another scale.
ACTION_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class File:
    """One file of D4RL: path below `BASE_URL`, number of bytes, SHA-256."""

    path: str
    size: int
    sha256: str

    @property
    def url(self) -> str:
        return BASE_URL + self.path


@dataclasses.dataclass(frozen=True)
class Raw:
    """The rows of a file, one per environment step, in the order of the file.

    Attributes:
        observations: `[T, O]` float32.
        actions: `[T, A]` float32 in [-1, 1].
        rewards: `[T]` float32, raw.
        terminals: `[T]` bool, true end of an episode.
        timeouts: `[T]` bool, time limit; None where the file does not say.
        attributes: the file's HDF5 attributes and its scalar `metadata/...` entries,
            as plain Python values. Locally collected files say so here.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminals: np.ndarray
    timeouts: np.ndarray | None
    attributes: dict[str, Any]


def _locomotion(name: str, size: int, sha256: str) -> File:
    return File(f"gym_mujoco_v2/{name}-v2.hdf5", size, sha256)


def _antmaze(maze: str, starts: bool, goals: bool, size: int, sha256: str) -> File:
    name = f"Ant_maze_{maze}_noisy_multistart_{starts}_multigoal_{goals}"
    return File(f"ant_maze_v2/{name}_sparse_fixed.hdf5", size, sha256)


# fmt: off
FILES: dict[str, File] = {
    "halfcheetah-medium-v2": _locomotion("halfcheetah_medium", 237727262,
        "41324e8487a9556d8cfa4538827f8937f4d63dae3030825ebc9f3a726ed08ca0"),
    "halfcheetah-medium-replay-v2": _locomotion("halfcheetah_medium_replay", 59448533,
        "48d494a4770c11f48260736dec090b78bdca8375647ed4d24bfa5b6610c7f683"),
    "halfcheetah-medium-expert-v2": _locomotion("halfcheetah_medium_expert", 474567252,
        "015db75dae5bbe8e94029b71fa0bafc2073365df0c94744e71031189f3f79c06"),
    "hopper-medium-v2": _locomotion("hopper_medium", 152756557,
        "5bdf1bc4a713c82941de44633df669b36c89850b652a25985166796d25cf71a0"),
    "hopper-medium-replay-v2": _locomotion("hopper_medium_replay", 75854457,
        "e121c5f7c9857a307baa9edc6a2c3b48e85fedb9ac316ecddd0f48ca7ef4e39b"),
    "hopper-medium-expert-v2": _locomotion("hopper_medium_expert", 304537315,
        "9d51ad87f8c905be3880d84c6140bcdb7fbf39a19e046a237f238ba34fec9e26"),
    "walker2d-medium-v2": _locomotion("walker2d_medium", 232254996,
        "cf00f43add04c17fdfc2958dd581dea0851b2e5bedbe6fda073758a8f841aeda"),
    "walker2d-medium-replay-v2": _locomotion("walker2d_medium_replay", 86323963,
        "e75de96a4f77acf7d4e0d6fdf0d7ccb177c26c44bb4388e4fd99f543ccfa18db"),
    "walker2d-medium-expert-v2": _locomotion("walker2d_medium_expert", 462197079,
        "6b8d7f868c45bbaedf460be797fb7271b46dee6ebe45fe7a64319f2005b59a04"),
    "antmaze-umaze-v2": _antmaze("u-maze", False, False, 232532949,
        "5ef15257771c50ef4d23c7de001750e96c8bb5d9b6a5e4a821dcfb3065fbd130"),
    "antmaze-umaze-diverse-v2": _antmaze("u-maze", True, True, 230854272,
        "c771dd63963cd7d9f55f24a6d809064f6b82250a6aeac4c9d13f9a1d06e8c932"),
    "antmaze-medium-play-v2": _antmaze("big-maze", True, False, 231110764,
        "c9fec1c1daad97c71d61bd47f4ccc9f74faa855b8a2d2e8107d5378018827e5b"),
    "antmaze-medium-diverse-v2": _antmaze("big-maze", True, True, 231095166,
        "ad9dcbac05d1f8744a7a216083f513662f43f64f28a4a5eb225e9811902dfae7"),
    "antmaze-large-play-v2": _antmaze("hardest-maze", True, False, 230880653,
        "6d353df2457829925d7f9d4b0215587469908bd57478ea76f16417cfa944f471"),
    "antmaze-large-diverse-v2": _antmaze("hardest-maze", True, True, 231183710,
        "84f775eb7956ea9cc766704710dc520a8ab357adc7522ade47f556f0e335e284"),
}
# fmt: on


def canonical_name(name: str) -> str:
    """Returns the key of `FILES` for a name with or without `-v2`, or `DEMO`.

    Raises:
        ValueError: for any other name. Where D4RL has a file of it, this says which.
    """
    if name == DEMO or name in FILES:
        return name
    if name + VERSION in FILES:
        return name + VERSION
    level = re.fullmatch(rf"(\w+)-({UNNAMED})(?:{VERSION})?", name)
    if level and f"{level[1]}-medium{VERSION}" in FILES:
        file = f"{level[1]}-{level[2]}".replace("-", "_")
        url = _locomotion(file, 0, "").url
        raise checks.UserError(
            f"{name!r} is a level of D4RL, but none of the datasets that have a name "
            f"here. Get its file, curl --location --fail --remote-name {url}, or make "
            "one with samg_jax.collect, and give its path, FILE.hdf5, instead of the "
            "name; in training, config.dataset.path=FILE."
        )
    known = [DEMO, *(key.removesuffix(VERSION) for key in FILES)]
    hint = checks.hint(name, [*known, *FILES])
    raise checks.UserError(
        f"Unknown dataset {name!r}. {hint}Known, each but the demo also with "
        f"{VERSION!r}: {', '.join(known)}. A file of your own is given by its "
        "path, FILE.hdf5; in training, as config.dataset.path=FILE."
    )


def cache_dir() -> pathlib.Path:
    """Returns the folder of downloaded files, the same that D4RL itself uses."""
    folder = os.environ.get("D4RL_DATASET_DIR") or "~/.d4rl/datasets"
    return pathlib.Path(folder).expanduser()


def resolve(
    name: str,
    path: str | os.PathLike[str] | None = None,
    download: bool = True,
    log: Callable[[str], None] = print,
) -> pathlib.Path:
    """Returns the file of a dataset, downloading it where necessary.

    Args:
        name: a D4RL name, or `hopper-demo`; not looked at when `path` is given.
        path: an explicit file; None or empty for none.
        download: whether a file that is not in the cache may be fetched.
        log: receives a line about where the file comes from.

    Raises:
        ValueError: unknown name, or no file at `path`.
        DownloadError: the file is not in the cache and could or should not be fetched.
    """
    if path:
        return _existing(path)
    name = canonical_name(name)
    if name == DEMO:
        return _existing(importlib.resources.files(__package__) / f"{DEMO}.hdf5")
    file = FILES[name]
    local = cache_dir() / pathlib.PurePosixPath(file.path).name
    if local.is_file():
        if not has_original_size(name, local):
            size = local.stat().st_size
            log(f"{local} has {size} bytes, D4RL's file {file.size}; using it as it is")
        return local
    if not download:
        raise downloads.DownloadError(
            f"{name} is not in the cache and downloading is switched off.\n"
            + downloads.advice(file.url, local, file.size, file.sha256)
        )
    log(f"Downloading {name} ({file.size / 1e6:.0f} MB) from {file.url} to {local}")
    return downloads.fetch(file.url, local, file.size, file.sha256, log)


def has_original_size(name: str, path: pathlib.Path) -> bool:
    """Returns whether a file has as many bytes as D4RL's of that name."""
    return path.stat().st_size == FILES[canonical_name(name)].size


def _existing(path: Any) -> pathlib.Path:
    path = pathlib.Path(str(path)).expanduser()
    if not path.is_file():
        raise checks.UserError(
            f"No dataset file at {str(path)!r}. It must be an HDF5 file with D4RL's "
            "keys. Check the path, or leave it empty to use a D4RL name."
        )
    return path


def load(path: str | os.PathLike[str]) -> Raw:
    """Returns the rows of an HDF5 file with D4RL's keys, checked.

    Stored next observations, `infos/...` and policy weights are not read: the next
    observation of a row is the observation of the following row.

    Args:
        path: file with `observations`, `actions`, `rewards`, `terminals` and, unless
            its time limit is to be inferred, `timeouts`.

    Raises:
        ValueError: whatever would make training fail later, or silently wrong.
    """
    path = _existing(path)
    try:
        with h5py.File(path, "r") as file:
            raw = Raw(
                observations=_read(file, "observations", 2),
                actions=_read(file, "actions", 2),
                rewards=_read(file, "rewards", 1),
                terminals=_read_flags(file, "terminals"),
                timeouts=_read_flags(file, "timeouts") if "timeouts" in file else None,
                attributes=_read_attributes(file),
            )
    except OSError as error:
        raise checks.UserError(
            f"{path} cannot be read as HDF5 ({error}). Most likely it is truncated or "
            "no HDF5 file. Delete it and fetch or collect it again."
        ) from error
    lengths = {k: len(x) for k, x in vars(raw).items() if isinstance(x, np.ndarray)}
    if len(set(lengths.values())) > 1:
        raise checks.UserError(
            f"The arrays of {path} have different numbers of rows: {lengths}. Each "
            "row is one step, so all must agree. Write the file again."
        )
    if len(raw.rewards) < 2:
        raise checks.UserError(
            f"{path} has {len(raw.rewards)} rows; a transition needs two that follow "
            "each other. Collect more steps."
        )
    _check_actions(raw.actions, path)
    return raw


def _read(file: h5py.File, key: str, rank: int) -> np.ndarray:
    """Returns a finite float32 array; a column `[T, 1]` counts as rank 1."""
    array = file.get(key)
    if not isinstance(array, h5py.Dataset):
        raise checks.UserError(
            f"{file.filename} has no array {key!r}, only {sorted(file)}. Required are "
            "observations, actions, rewards and terminals. Write the file with them."
        )
    if array.dtype.kind not in "biuf":
        raise checks.UserError(
            f"{key!r} in {file.filename} has the type {array.dtype}; numbers are "
            "needed. Write it as float32."
        )
    shape = array.shape
    if rank == 1 and array.ndim == 2 and shape[1] == 1:
        shape = shape[:1]
    if len(shape) != rank or 0 in shape[1:]:
        raise checks.UserError(
            f"{key!r} in {file.filename} has the shape {array.shape}; allowed is "
            f"{'[T, size]' if rank == 2 else '[T] or [T, 1]'}, one row per step. "
            "Write it in that shape."
        )
    with np.errstate(over="ignore"):  # What overflows is refused just below.
        values = array[()].astype(np.float32).reshape(shape)
    bad = ~np.isfinite(values).all(axis=tuple(range(1, rank)))
    if bad.any():
        row = int(bad.argmax())
        raise checks.UserError(
            f"{key!r} in {file.filename} has {int(bad.sum())} rows with NaN or "
            f"infinity (in float32), first row {row}: {values[row]}. All must be "
            "finite. Remove those episodes or collect again."
        )
    return values


def _read_flags(file: h5py.File, key: str) -> np.ndarray:
    values = _read(file, key, 1)
    bad = (values != 0) & (values != 1)
    if bad.any():
        row = int(bad.argmax())
        raise checks.UserError(
            f"{key!r} in {file.filename} is {values[row]} in row {row}; it is a flag, "
            "0 or 1. Write it as booleans."
        )
    return values.astype(bool)


def _read_attributes(file: h5py.File) -> dict[str, Any]:
    attributes = {key: _plain(value) for key, value in file.attrs.items()}
    metadata = file.get("metadata")
    if isinstance(metadata, h5py.Group):
        for key, value in metadata.items():
            if isinstance(value, h5py.Dataset) and value.shape == ():
                attributes[f"metadata/{key}"] = _plain(value[()])
    return attributes


def _plain(value: Any) -> Any:
    """Returns text for bytes, and Python numbers and lists for NumPy's."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _check_actions(actions: np.ndarray, path: pathlib.Path) -> None:
    sizes = np.abs(actions)
    bad = (sizes > 1.0 + ACTION_TOLERANCE).any(axis=1)
    if bad.any():
        row = int(bad.argmax())
        worst = actions[row, sizes[row].argmax()]
        raise checks.UserError(
            f"'actions' in {path} leave [-1, 1] in {int(bad.sum())} rows, first row "
            f"{row} with the value {worst}. Policies here act in [-1, 1]. Rescale "
            "with the limits of the environment, 2 * (action - low) / (high - low) - "
            "1, and write the file again."
        )
