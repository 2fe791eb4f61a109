"""Minari datasets (Younis et al., 2024): the local ones, read into the same rows.

The library is an extra of this package, `minari`; nothing is imported or downloaded
before a dataset of it is named. Minari's data are not D4RL's, whatever their names.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import warnings
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np

from samg_jax import checks
from samg_jax.data import array_checks, d4rl, hdf5_files, minari_trust

# What stands before the id in a dataset's name.
PREFIX = "minari:"
# Arrays of an episode, and their ranks.
FIELDS = {"actions": 2, "rewards": 1, "terminations": 1, "truncations": 1}
# What the library raises of metadata that it does not expect.
METADATA = (
    ImportError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    gymnasium.error.Error,
)


def load(dataset_id: str) -> d4rl.Raw:
    """Returns the rows of a dataset, episode after episode.

    Terminations become terminals and truncations timeouts. The last row of every
    episode is one of the two, a termination if both were recorded, so that no
    transition leads into the next episode. The observation after it is not a row: as
    in D4RL, a transition whose successor is not a row is left out.

    Args:
        dataset_id: as in `minari.load_dataset`.

    Raises:
        checks.UserError: for data that are not there or cannot be used.
    """
    dataset = _open(dataset_id)
    _check_actions(dataset.action_space, dataset_id)
    steps = _total_steps(dataset, dataset_id)
    if steps < 2:
        raise checks.UserError(
            f"The Minari dataset {dataset_id!r} has {steps} steps; a transition needs "
            "two that follow each other. Collect more."
        )
    # Declared sizes, links and filters first: the library reads whatever there is.
    source = f"the Minari dataset {dataset_id!r}"
    try:
        for file in sorted(_folder(dataset_id).glob("data/*.hdf5")):
            hdf5_files.check_all(file)
        episodes = [_rows(dataset, episode) for episode in dataset]
    except checks.UserError as error:
        raise checks.UserError(f"T{source[1:]} cannot be read: {error}") from error
    except (*hdf5_files.DAMAGE, AttributeError, AssertionError, IndexError) as error:
        raise checks.UserError(
            f"T{source[1:]} cannot be read: {_reason(error)}. Its data are damaged, or "
            "do not fit its metadata. Download or collect it again; keep this one "
            "until then."
        ) from error
    if not episodes:
        raise checks.UserError(
            f"T{source[1:]} has no episodes, as its metadata say. Download or collect "
            "it again; keep this one until then."
        )
    values = [np.concatenate(parts) for parts in zip(*episodes, strict=True)]
    ranks = {"observations": 2, "actions": 2, "rewards": 1}
    rows = {
        key: array_checks.numbers(column, f"{key!r} of {source}", ranks[key])
        if key in ranks
        else array_checks.flags(column, f"{key!r} of {source}")
        for key, column in zip(d4rl.KEYS, values, strict=True)
    }
    array_checks.check_lengths(
        {key: len(column) for key, column in rows.items()}, source
    )
    array_checks.check_actions(
        rows["actions"],
        f"As fractions of the bounds of its action space, 'actions' of {source}",
        "They leave the bounds, and what the environment made of them is not known. "
        "Record clipped actions.",
    )
    attributes = {"minari_id": dataset_id}
    if dataset.env_spec is not None:
        attributes["env_id"] = dataset.env_spec.id
    return d4rl.Raw(**rows, attributes=attributes)


def _total_steps(dataset: Any, dataset_id: str) -> int:
    """Number of steps, which the library takes from the metadata."""
    try:
        return int(dataset.total_steps)
    except (*METADATA, *hdf5_files.DAMAGE) as error:
        raise checks.UserError(
            f"The Minari dataset {dataset_id!r} cannot be read: the number of steps in "
            f"its metadata is none ({_reason(error)}). Download or collect it again; "
            "keep this one until then."
        ) from error


def _rows(dataset: Any, episode: Any) -> tuple[np.ndarray, ...]:
    """Returns the arrays of `d4rl.Raw`, in its order, of one episode of T steps."""
    observations = flatten(dataset.observation_space, episode.observations)
    given = {}
    for name, rank in FIELDS.items():
        what = f"{name!r} of episode {episode.id}"
        given[name] = np.asarray(getattr(episode, name))
        array_checks.check_kind(given[name].dtype, what)
        shape = array_checks.check_shape(given[name].shape, what, rank)
        given[name] = given[name].reshape(shape)
    ends = [
        array_checks.flags(given[name], f"{name!r} of episode {episode.id}")
        for name in ("terminations", "truncations")
    ]
    terminals, timeouts = ends
    steps = len(terminals)
    lengths = {
        "observations": len(observations) - 1,
        "actions": len(given["actions"]),
        "rewards": len(given["rewards"]),
        "terminations": steps,
        "truncations": len(timeouts),
    }
    if not steps or len(set(lengths.values())) > 1:
        raise checks.UserError(
            f"episode {episode.id} has arrays of different or no steps: {lengths}, of "
            "observations one more. Remove the episode, or collect again."
        )
    timeouts[-1] = True
    return (
        observations[:steps],
        rescale(given["actions"], dataset.action_space.low, dataset.action_space.high),
        given["rewards"],
        terminals,
        timeouts & ~terminals,
    )


def env_id(dataset_id: str) -> str:
    """Returns the gymnasium id on which a dataset was recorded.

    Raises:
        checks.UserError: where an id does not say what the environment was.
    """
    spec = _open(dataset_id).env_spec
    remedy = (
        "Register the environment with gymnasium under an id of its own, and set "
        "config.env_id=ID."
    )
    if spec is None:
        raise checks.UserError(
            f"The Minari dataset {dataset_id!r} does not say on which environment it "
            f"was recorded; policies need one to act in. {remedy}"
        )
    changes = _changes(spec)
    if changes:
        raise checks.UserError(
            f"The Minari dataset {dataset_id!r} was recorded on {spec.id!r} with "
            f"{'; '.join(changes)}. An id stands for the environment as it is "
            f"registered. {remedy}"
        )
    return spec.id


def flatten(space: gymnasium.Space, values: Any) -> np.ndarray:
    """Returns observations `[T, O]` float32, the parts of a Dict by sorted keys.

    The same numbers in the same order as `tasks.make_gymnasium` gives of a Dict.

    Args:
        space: Box, or Dict of such and of Dicts.
        values: array `[T, ...]`, or name -> such.
    """
    if isinstance(space, gymnasium.spaces.Dict):
        parts = [flatten(space[key], values[key]) for key in sorted(space.spaces)]
        return np.concatenate(parts, axis=1)
    if isinstance(space, gymnasium.spaces.Box):
        values = np.asarray(values)
        array_checks.check_kind(values.dtype, "'observations'")
        with np.errstate(over="ignore"):  # What overflows is refused by `load`.
            values = values.astype(np.float32)
        return values.reshape(len(values), -1)
    raise checks.UserError(
        f"The Minari dataset has observations of the space {space}; allowed are Box, "
        "and Dict of them. Choose another dataset."
    )


def rescale(actions: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Returns actions `[T, A]` float32 as fractions of their range, in [-1, 1].

    Args:
        actions: `[T, A]` in the units of the environment.
        low: `[A]`.
        high: `[A]`.
    """
    if (low == -1.0).all() and (high == 1.0).all():
        return np.asarray(actions, np.float32)  # Exactly, without rounding.
    actions, low, high = (np.asarray(x, np.float64) for x in (actions, low, high))
    return (2.0 * (actions - low) / (high - low) - 1.0).astype(np.float32)


def _library() -> ModuleType:
    try:
        import minari  # Optional, and slow to import.
    except ImportError as error:
        raise checks.UserError(
            f"Datasets named {PREFIX}ID need the library Minari, which cannot be "
            f"imported: {error}. It is an extra of this package. Install it: "
            'pip install -e ".[minari]".'
        ) from error
    return minari


def _open(dataset_id: str) -> Any:
    """Returns the `minari.MinariDataset`."""
    minari = _library()
    minari_trust.check(dataset_id)
    try:
        return minari.load_dataset(dataset_id)
    except FileNotFoundError as error:
        raise checks.UserError(
            f"There is no Minari dataset {dataset_id!r} on this machine; there are: "
            f"{_known(minari)}. Get it by: minari download {dataset_id}. Minari looks "
            f"in $MINARI_DATASETS_PATH, by default ~/.minari/datasets; here in "
            f"{_folder(dataset_id)}. To resume what no longer opens the data, set "
            "config.env_id=ENVIRONMENT instead."
        ) from error
    except OSError as error:
        raise checks.UserError(
            f"The Minari dataset {dataset_id!r} cannot be opened in "
            f"{_folder(dataset_id)}: {_reason(error)}. Set MINARI_DATASETS_PATH to the "
            "folder of Minari's datasets, or give yourself the right to it."
        ) from error
    except METADATA as error:
        raise checks.UserError(
            f"The Minari dataset {dataset_id!r} cannot be read: {_reason(error)}. The "
            "id must be that of a dataset which `minari list local` shows, with "
            "metadata of a version and data of a format that the installed Minari "
            f"{minari.__version__} reads. Correct it, or install what is missing."
        ) from error


def _folder(dataset_id: str) -> pathlib.Path:
    """Where the library looks for a dataset."""
    base = os.environ.get("MINARI_DATASETS_PATH")
    if base is None:
        base = os.path.join(os.path.expanduser("~"), ".minari", "datasets")
    return pathlib.Path(base, dataset_id)


def _known(minari: ModuleType) -> str:
    """The ids of the local datasets, as far as the library can list them."""
    with contextlib.suppress(OSError, *METADATA), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ", ".join(minari.list_local_datasets()) or "none"
    return "some that cannot be listed"


def _reason(error: Exception) -> str:
    """What an exception of the library says in one line, with its type if brief."""
    text = " ".join(str(error).split())
    if isinstance(error, KeyError):
        return f"there is no {text}"
    return text if len(text) > 10 else f"{type(error).__name__} {text}".strip()


def _changes(spec: gymnasium.envs.registration.EnvSpec) -> list[str]:
    """Returns what is different from the environment registered under the same id."""
    registered = gymnasium.registry.get(spec.id)
    if registered is None:
        return []  # Refused, with the ids that there are, where it would be made.
    defaults = _plain(registered.kwargs)
    changes = [
        f"{name}={value!r}"
        for name, value in _plain(spec.kwargs).items()
        if name != "render_mode" and (name not in defaults or value != defaults[name])
    ]
    if spec.max_episode_steps != registered.max_episode_steps:
        changes.append(f"max_episode_steps={spec.max_episode_steps}")
    changes += [f"the wrapper {wrapper.name}" for wrapper in spec.additional_wrappers]
    return changes


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns arguments as Minari's metadata hold them."""
    return json.loads(json.dumps(arguments, default=str))


def _check_actions(space: gymnasium.Space, name: str) -> None:
    box = isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1
    if not box or not space.is_bounded() or not (space.low < space.high).all():
        raise checks.UserError(
            f"The Minari dataset {name!r} has the action space {space}; allowed are "
            "Box spaces of rank 1 with finite bounds. Choose another dataset."
        )
