"""D4RL files: where they are, and reading one into arrays.

The fifteen `-v2` files of the paper (Fu et al., 2020, license CC BY 4.0), a small
demo that comes with this package, and any file of one's own with the same keys.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.resources
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from samg_jax import checks
from samg_jax.data import array_checks, downloads, hdf5_files

BASE_URL = "http://rail.eecs.berkeley.edu/datasets/offline_rl/"
# Who else has D4RL's files, tried in turn after `BASE_URL`: the SHA-256 says whether
# what comes is right. `{path}` is a file's path there, `{name}` the end of it.
MIRRORS = (
    "https://rail.eecs.berkeley.edu/datasets/offline_rl/{path}",
    "https://huggingface.co/datasets/imone/D4RL/resolve/main/{name}",
)
DEMO = "hopper-demo"
VERSION = "-v2"
UNNAMED = "random|expert|full-replay"  # D4RL's other levels of locomotion.
KEYS = ("observations", "actions", "rewards", "terminals", "timeouts")
VECTORS = ("rewards", "terminals", "timeouts")  # The rest have a second axis.
FLAGS = ("terminals", "timeouts")


@dataclasses.dataclass(frozen=True)
class File:
    """One file of D4RL: path below `BASE_URL`, number of bytes, SHA-256, rows."""

    path: str
    size: int
    sha256: str
    rows: int = 1_000_000

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


@dataclasses.dataclass(frozen=True)
class Own(Raw):
    """The rows of a user's file, whose view is `transitions.own_view`.

    Attributes:
        next_observations: `[T, O]` float32, the true successor of each row; None where
            the file has none, and the successor is the following row.
    """

    next_observations: np.ndarray | None = None


def _locomotion(name: str, size: int, sha256: str, rows: int = 1_000_000) -> File:
    return File(f"gym_mujoco_v2/{name}-v2.hdf5", size, sha256, rows)


def _antmaze(maze: str, starts: bool, goals: bool, size: int, sha256: str) -> File:
    name = f"Ant_maze_{maze}_noisy_multistart_{starts}_multigoal_{goals}"
    return File(f"ant_maze_v2/{name}_sparse_fixed.hdf5", size, sha256)


# fmt: off
FILES: dict[str, File] = {
    "halfcheetah-medium-v2": _locomotion("halfcheetah_medium", 237727262,
        "41324e8487a9556d8cfa4538827f8937f4d63dae3030825ebc9f3a726ed08ca0"),
    "halfcheetah-medium-replay-v2": _locomotion("halfcheetah_medium_replay", 59448533,
        "48d494a4770c11f48260736dec090b78bdca8375647ed4d24bfa5b6610c7f683", 202_000),
    "halfcheetah-medium-expert-v2": _locomotion("halfcheetah_medium_expert", 474567252,
        "015db75dae5bbe8e94029b71fa0bafc2073365df0c94744e71031189f3f79c06", 2_000_000),
    "hopper-medium-v2": _locomotion("hopper_medium", 152756557,
        "5bdf1bc4a713c82941de44633df669b36c89850b652a25985166796d25cf71a0"),
    "hopper-medium-replay-v2": _locomotion("hopper_medium_replay", 75854457,
        "e121c5f7c9857a307baa9edc6a2c3b48e85fedb9ac316ecddd0f48ca7ef4e39b", 402_000),
    "hopper-medium-expert-v2": _locomotion("hopper_medium_expert", 304537315,
        "9d51ad87f8c905be3880d84c6140bcdb7fbf39a19e046a237f238ba34fec9e26", 1_999_906),
    "walker2d-medium-v2": _locomotion("walker2d_medium", 232254996,
        "cf00f43add04c17fdfc2958dd581dea0851b2e5bedbe6fda073758a8f841aeda"),
    "walker2d-medium-replay-v2": _locomotion("walker2d_medium_replay", 86323963,
        "e75de96a4f77acf7d4e0d6fdf0d7ccb177c26c44bb4388e4fd99f543ccfa18db", 302_000),
    "walker2d-medium-expert-v2": _locomotion("walker2d_medium_expert", 462197079,
        "6b8d7f868c45bbaedf460be797fb7271b46dee6ebe45fe7a64319f2005b59a04", 1_999_995),
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
        checks.UserError: for any other name. Where D4RL has a file of it, this says
            which.
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
    if "/" in name:
        raise checks.UserError(
            f"{name!r} is a path, but of no HDF5 file: it must end in .hdf5 or .h5. "
            "Name the file, or one of D4RL's datasets, such as hopper-medium."
        )
    known = [DEMO, *(key.removesuffix(VERSION) for key in FILES)]
    hint = checks.hint(name, [*known, *FILES])
    raise checks.UserError(
        f"Unknown dataset {name!r}. {hint}Known, each but the demo also with "
        f"{VERSION!r}: {', '.join(known)}. Your own file is given by its "
        "path, FILE.hdf5; in training, as config.dataset.path=FILE."
    )


def cache_dir() -> pathlib.Path:
    """Returns the folder of downloaded files, the same that D4RL itself uses."""
    folder = os.environ.get("D4RL_DATASET_DIR") or "~/.d4rl/datasets"
    try:
        return pathlib.Path(folder).expanduser()
    except RuntimeError as error:
        raise checks.UserError(
            f"The folder of D4RL's files, {folder!r}, cannot be found: {error} Set "
            "D4RL_DATASET_DIR to a folder."
        ) from error


def check_cache_dir() -> None:
    """Refuses a cache that is no folder, or that no file can be written into."""
    checks.folder(cache_dir(), "the environment variable D4RL_DATASET_DIR=FOLDER")


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
        checks.UserError: unknown name, or no file at `path`.
        DownloadError: the file is not in the cache and could or should not be fetched.
    """
    if path:
        return hdf5_files.existing(path)
    name = canonical_name(name)
    if name == DEMO:
        demo = importlib.resources.files(__package__) / f"{DEMO}.hdf5"
        return hdf5_files.existing(str(demo))
    file = FILES[name]
    local = cache_dir() / pathlib.PurePosixPath(file.path).name
    try:
        exists = local.is_file()
        blocked = not exists and local.exists()
    except OSError as error:
        raise checks.UserError(
            f"{local} cannot be looked for: {error.strerror}. Give yourself the right "
            "to the folder, or set D4RL_DATASET_DIR to another one."
        ) from error
    if blocked:
        raise checks.UserError(
            f"{local} is where the file of {name} belongs, but it is no file. Move it "
            "away, or set D4RL_DATASET_DIR to another folder."
        )
    if exists:
        if not has_original_size(name, local):
            size = local.stat().st_size
            log(f"{local} has {size} bytes, D4RL's file {file.size}; using it as it is")
        return local
    if not download:
        raise downloads.DownloadError(
            f"{name} is not in the cache and downloading is switched off.\n"
            + downloads.advice(file.url, local, file.size, file.sha256)
        )
    others = mirrors(file)
    check_cache_dir()
    log(f"Downloading {name} ({file.size / 1e6:.0f} MB) from {file.url} to {local}")
    return downloads.fetch(file.url, local, file.size, file.sha256, log, *others)


def mirrors(file: File) -> list[str]:
    """Further addresses of a file: those that `D4RL_MIRROR` names, then `MIRRORS`."""
    named = os.environ.get("D4RL_MIRROR", "").replace(",", " ").split()
    for base in named:
        if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", base):
            raise checks.UserError(
                f"D4RL_MIRROR is {' '.join(named)!r}. It must be the address of a "
                f"folder with D4RL's files below it, as in {BASE_URL}, or several, "
                f"separated by spaces; the file looked for is {file.path}. Correct "
                f"{base!r}, or unset it."
            )
    own = [f"{base.rstrip('/')}/{file.path}" for base in named]
    name = pathlib.PurePosixPath(file.path).name
    return own + [base.format(path=file.path, name=name) for base in MIRRORS]


def is_original(path: pathlib.Path) -> bool:
    """Whether a file given by its path is one of D4RL's, by name and, if known, size.

    Such a file is read as D4RL reads it, like a dataset that is named.
    """
    for file in FILES.values():
        if path.name == pathlib.PurePosixPath(file.path).name:
            return path.stat().st_size == file.size
    level = re.fullmatch(r"([a-z0-9]+)_(\w+)-v2\.hdf5", path.name)
    if not level or f"{level[1]}-medium{VERSION}" not in FILES:
        return False
    return level[2].replace("_", "-") in UNNAMED.split("|")


def has_original_size(name: str, path: pathlib.Path) -> bool:
    """Whether a file has as many bytes as D4RL's of that name."""
    return path.stat().st_size == FILES[canonical_name(name)].size


def difference(name: str, path: pathlib.Path) -> str | None:
    """What to tell the user of a file that is not D4RL's of that name, else None."""
    if canonical_name(name) == DEMO:
        return None
    if has_original_size(name, path):
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if digest == FILES[canonical_name(name)].sha256:
            return None
    return (
        f"{path} is not D4RL's file of {name}: its SHA-256 is another one. It is "
        "used as it is, but its scores may not compare with published ones. To have "
        "D4RL's own file, move this one away and run the same command."
    )


def load(path: str | os.PathLike[str]) -> Raw:
    """The rows of an HDF5 file with D4RL's keys, checked, as D4RL reads it.

    Stored next observations, `infos/...` and policy weights are not read: the next
    observation of a row is the observation of the following row.

    Args:
        path: file with `observations`, `actions`, `rewards`, `terminals` and, unless
            its time limit is to be inferred, `timeouts`.

    Raises:
        checks.UserError: what would make training fail later, or silently wrong.
    """
    return Raw(**_load(path))


def load_own(path: str | os.PathLike[str]) -> Own:
    """The same rows, and the `next_observations` that the file may have."""
    return Own(**_load(path, ("next_observations",)))


def _load(path: Any, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """Field -> value of `Raw`, and the arrays in `more`, None where there is none."""
    with hdf5_files.opened(path) as file:
        names = hdf5_files.names(file)
        found = {
            key: hdf5_files.find(file, key, 1 if key in VECTORS else 2)
            for key in (*KEYS, *more)
        }
        arrays = {key: array for key, array in found.items() if array is not None}
        for key in KEYS:
            if key not in arrays and key != "timeouts":
                raise checks.UserError(_lacking(file.filename, key, names))
        hdf5_files.check_sizes(file, arrays)
        values = dict.fromkeys(found)
        for key, array in arrays.items():
            what = f"{key!r} in {file.filename}"
            numbers = hdf5_files.read(file, key, array)
            if key in FLAGS:
                values[key] = array_checks.flags(numbers, what)
            else:
                values[key] = array_checks.numbers(
                    numbers, what, 1 if key in VECTORS else 2
                )
        attributes = _read_attributes(file)
    array_checks.check_actions(values["actions"], f"'actions' in {path}")
    return {**values, "attributes": attributes}


def _lacking(file: str, key: str, names: list[str]) -> str:
    """What to say of a file that lacks an array."""
    if any(re.fullmatch(r"episode_\d+", name) for name in names):
        advice = "It looks like a file of Minari's: name that dataset, minari:ID."
    else:
        advice = f"{checks.hint(key, names)}Write the file with them."
    return (
        f"{file} has no array {key!r}, only {names[:20]}. Required are observations, "
        f"actions, rewards and terminals. {advice}"
    )


def _read_attributes(file: h5py.File) -> dict[str, Any]:
    """Attributes and scalar metadata; those that cannot be read are left out."""
    attributes = {}
    with contextlib.suppress(*hdf5_files.DAMAGE):
        for key in file.attrs:
            with contextlib.suppress(*hdf5_files.DAMAGE):
                attributes[key] = _plain(file.attrs[key])
    with contextlib.suppress(*hdf5_files.DAMAGE):
        hard = isinstance(file.get("metadata", getlink=True), h5py.HardLink)
        metadata = file["metadata"] if hard else None
        for key in metadata if isinstance(metadata, h5py.Group) else ():
            if isinstance(metadata.get(key, getlink=True), h5py.HardLink):
                value = metadata[key]
                if isinstance(value, h5py.Dataset) and value.shape == ():
                    attributes[f"metadata/{key}"] = _plain(value[()])
    return attributes


def _plain(value: Any) -> Any:
    """Returns text for bytes, and Python numbers and lists for NumPy's."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    return value.decode(errors="replace") if isinstance(value, bytes) else value
