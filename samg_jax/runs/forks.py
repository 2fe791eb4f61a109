"""Starting online runs from another run's offline checkpoint."""

from __future__ import annotations

import contextlib
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from samg_jax import checks, settings
from samg_jax.data import transitions
from samg_jax.experiment import config_checks, datasets, resolve, setting_values, spec
from samg_jax.experiment.resolved import Experiment
from samg_jax.guidance import models
from samg_jax.runs import checkpoints, locations
from samg_jax.training import offline_phase, seed_axis

# What the quantiles of p_int were read off.
QUANTILE_FIELDS = ("weight", "kind", "use_std", "delta", "constant")


def meta(source: pathlib.Path) -> dict[str, Any]:
    """The description of the newest checkpoint in a folder, checked."""
    with contextlib.closing(checkpoints.Store(source)) as store:
        return store.meta()


def meta_before(offline: pathlib.Path) -> dict[str, Any] | None:
    """The description of a complete offline checkpoint, None if there is none."""
    try:
        found = meta(offline)
    except checks.UserError:
        return None
    return found if found["complete"] else None


def fallback(error: Exception, offline: pathlib.Path, found: dict) -> tuple:
    """The warning, with its arguments, that an offline checkpoint replaces online ones.

    Args:
        error: says which cannot be read, and why.
        offline: folder of the checkpoint.
        found: its description.
    """
    reason = str(error).split(". Their files must")[0]
    step = offline / str(found["step"])
    return "%s. The checkpoint before them is used, %s.", reason, step


def check_data(
    dataset: spec.Dataset, origin: dict[str, Any] | None, found: str
) -> None:
    """Refuses data that are not those of the checkpoint that a run goes on from.

    Args:
        dataset: The run's settings of its data.
        origin: description of the checkpoint; None if the run begins, and without a
            fingerprint if an earlier version wrote it.
        found: fingerprint of the data.
    """
    before = origin and origin.get("data_fingerprint")
    if not before or before == found:
        return
    name = dataset.path or dataset.name
    raise checks.UserError(
        f"The dataset {name!r} has changed: its rows are not those that the "
        f"checkpoint was trained on ({origin['data_source']}). A run goes on with the "
        "data that it began with. Restore that dataset, or train on this one in "
        "another workdir=FOLDER, without config.offline.restore."
    )


def check(experiment: Experiment, saved: dict) -> None:
    """Raises UserError where the checkpoint cannot be fine-tuned with this config."""
    source = experiment.settings.offline.restore
    if not saved["complete"]:
        folder = locations.find_offline(source)
        newest = max(locations.steps(folder))
        if newest > saved["step"]:
            raise checks.UserError(_damaged(folder, newest, saved))
        raise checks.UserError(
            f"The offline phase in {source!r} stopped at update "
            f"{saved['offline_step']} and is not complete. Only complete ones can be "
            "forked from. Resume that run first, by the command that began it."
        )
    before = setting_values.flatten(config_checks.completed(saved["config"]))
    after = setting_values.flatten(experiment.record)
    sizes = {"observation_size", "action_size"}
    before |= {name: saved[name] for name in sizes}
    after |= {name: getattr(experiment.task, name) for name in sizes}
    must_agree = {
        "algorithm",
        *settings.agreeing(experiment.settings),
        *settings.agreeing(experiment.algorithm.config, "agent."),
    }
    different = [
        f"  {name}: {before.get(name)!r} in the checkpoint, {after.get(name)!r} now"
        for name in sorted(must_agree | sizes)
        if _plain(before.get(name)) != _plain(after.get(name))
    ]
    if different:
        raise checks.UserError(
            f"The offline checkpoint in {source!r} does not fit this config:\n"
            + "\n".join(different)
            + "\nThese must agree. Change the config, or restore another checkpoint."
        )
    missing = sorted({int(seed) for seed in experiment.seeds} - set(saved["seeds"]))
    if missing:
        raise checks.UserError(
            f"The offline checkpoint in {source!r} holds the seeds {saved['seeds']}, "
            f"not {missing}. Fine-tuned seeds are a part of the pre-trained ones. "
            "Change config.seed and config.num_seeds."
        )


def _damaged(folder: pathlib.Path, newest: int, saved: dict[str, Any]) -> str:
    """Says that the checkpoint of a complete offline phase cannot be read."""
    online = folder.parent / "online"
    before = f"rename {online}, then " if locations.steps(online) else ""
    return (
        f"The checkpoint {folder / str(newest)} cannot be read, and the one before it, "
        f"of update {saved['offline_step']}, is not complete. Only complete ones can "
        f"be forked from. Restore its files from a copy; or {before}give the command "
        "of that run again, which completes its offline phase from there."
    )


def first_fit_step(experiment: Experiment, saved: dict) -> int | None:
    """Returns from which model update on the fit must be made, None if it is there.

    The saved fit serves if it is that of an equal model. If only the quantiles of
    p_int or the codes of the kind "nearest" are missing, no update is needed but the
    data are.
    """
    if not experiment.fitted:
        return None
    before = resolve.saved(saved["config"], "The checkpoint forked from")
    if before.model != experiment.model:
        return 0
    fields = [
        [part.by_quantile, *(getattr(part.guidance, name) for name in QUANTILE_FIELDS)]
        for part in (before, experiment)
    ]
    codes = [_codes(part) for part in (before, experiment)]
    missing = codes[1] and codes[0] != codes[1]
    if (experiment.by_quantile and fields[0] != fields[1]) or missing:
        return 0 if experiment.model is None else experiment.model.settings.steps
    return None


def needs_dataset(experiment: Experiment, source: pathlib.Path) -> bool:
    """Returns whether forking opens the dataset; refuses what does not fit."""
    saved = meta(source)
    check(experiment, saved)
    return first_fit_step(experiment, saved) is not None


def restore(
    experiment: Experiment, source: pathlib.Path, measured: Any
) -> tuple[offline_phase.State, int | None]:
    """Returns the pre-trained state of these seeds, and what is left to fit.

    Args:
        experiment: The resolved experiment.
        source: folder of the checkpoint.
        measured: by a model that must be trained anew; may be None otherwise.

    Returns:
        The state, and what `first_fit_step` says.
    """
    with contextlib.closing(checkpoints.Store(source)) as store:
        saved = store.meta()
        origin = f"The checkpoint {source}"
        saved_experiment = resolve.saved(saved["config"], origin)
        state, _ = store.restore(template(saved_experiment))
    places = np.array([saved["seeds"].index(int(seed)) for seed in experiment.seeds])
    state = seed_axis.select(state, places)
    start = first_fit_step(experiment, saved)
    if experiment.model is None:
        state = state.replace(model=(), weight=())
    elif start == 0:
        fresh = offline_phase.init(experiment, state.preprocessing, measured)
        state = state.replace(model=fresh.model, weight=fresh.weight)
    elif _codes(experiment) != _codes(saved_experiment):
        # Only the kind "nearest" reads the codes.
        shapes = template(experiment).weight.normals.nearest
        empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
        normals = state.weight.normals.replace(nearest=empty)
        state = state.replace(weight=state.weight.replace(normals=normals))
    return state, start


def _codes(experiment: Experiment) -> int:
    return (
        experiment.model.codes if isinstance(experiment.model, models.CVAEModel) else 0
    )


def template(experiment: Experiment) -> offline_phase.State:
    """Returns the shapes of an offline state."""
    size = experiment.task.observation_size
    preprocessing = datasets.Preprocessing(
        transitions.Normalizer.identity(size), transitions.RewardTransform.identity()
    )
    return jax.eval_shape(lambda: offline_phase.init(experiment, preprocessing))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
