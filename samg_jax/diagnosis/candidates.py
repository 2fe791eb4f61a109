"""The weights that a diagnosis judges: a checkpoint's own, and newly trained ones."""

from __future__ import annotations

import ast
import copy
import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from samg_jax import checks
from samg_jax.data import transitions
from samg_jax.diagnosis.judged_pairs import Pairs
from samg_jax.experiment import resolve
from samg_jax.experiment.datasets import Preprocessing
from samg_jax.experiment.resolved import Experiment
from samg_jax.guidance import (
    collapse,
    cvae,
    cvae_settings,
    embedding,
    models,
    nearest,
    normals,
    presets,
    quantiles,
    weights,
)
from samg_jax.runs import checkpoints, environments, forks, locations, schedule
from samg_jax.training import offline_phase

# The built-in weight models, by their names in a config.
MODELS = {"cvae": cvae.Config, "embedding": embedding.Config}
FLAG = "settings=NAME:FIELD=VALUE,..."


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A weight to be judged, of any kind.

    Attributes:
        name: the name of its settings.
        config: the config of its guidance.
        weight: the arrays that its function reads, stacked over seeds.
        p_int: a function from pairs to probabilities `[S, M]` before any cut.
        health: a function from held-out pairs to findings about the weight's model,
            `[S]` each, such as `kl` and `collapsed` for a C-VAE; empty without a model.
    """

    name: str
    config: weights.GuidanceConfig
    weight: Any
    p_int: Callable[[Pairs], np.ndarray]
    health: Callable[[Pairs], Mapping[str, np.ndarray]]

    @property
    def label(self) -> str:
        """The name of the weight, with the kind that distinguishes it."""
        return f"{self.name}, {_variant(self.config)}"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An offline checkpoint that was read."""

    folder: pathlib.Path
    meta: dict[str, Any]
    experiment: Experiment
    state: offline_phase.State


def read(workdir: str) -> Checkpoint:
    """Read the offline checkpoint of a run.

    Raises:
        checks.UserError: There is no checkpoint, or it is not complete.
    """
    folder = locations.find_offline(workdir, "checkpoint")
    store = checkpoints.Store(folder)
    try:
        meta = store.meta()
        if not meta["complete"]:
            raise checks.UserError(
                f"The offline phase in {str(folder)!r} stopped before its end. Only a "
                "complete one has a fitted weight. Resume that run first, by the "
                "command that began it."
            )
        fields = {**meta["config"], "sweep": ()}  # A sweep concerns fine-tuning only.
        experiment = resolve.saved(fields, f"The checkpoint {folder}")
        experiment = environments.try_out(experiment, len(experiment.seeds))
        state, _ = store.restore(forks.template(experiment))
    finally:
        store.close()
    return Checkpoint(folder, meta, experiment, state)


def of_state(
    name: str, experiment: Experiment, state: offline_phase.State, kinds: Iterable[str]
) -> list[Candidate]:
    """The fitted weight of an offline state, in its own kind and in others.

    Args:
        name: The name of the weight's settings.
        experiment: The experiment of the state.
        state: The state with a fitted weight; for the kind "nearest" from `with_codes`.
        kinds: The kinds of probability to add to the configured one, for a C-VAE.
    """
    own = experiment.guidance
    configs = [own]
    if own.weight == "cvae":
        others = [kind for kind in kinds if kind != own.kind]
        if own.use_std or own.fit == "pooled":
            others = [kind for kind in others if kind not in normals.MEANS_ONLY]
        configs += [dataclasses.replace(own, kind=kind) for kind in others]

    def health(pairs: Pairs) -> Mapping[str, np.ndarray]:
        return (
            {}
            if experiment.model is None
            else experiment.model.examine(state.model, *pairs)
        )

    return [
        Candidate(name, config, state.weight, _uncut(experiment, config, state), health)
        for config in configs
    ]


def with_settings(
    record: Mapping[str, Any], fields: dict[str, Any], steps: int | None
) -> dict[str, Any]:
    """A complete config with another weight, as nested dictionaries.

    Args:
        record: The complete config of the checkpoint.
        fields: dotted fields of `config.guidance`, those left out as they were.
        steps: updates of its model, to which the annealing of a C-VAE is fitted; None
            to leave both.
    """
    guidance = copy.deepcopy(record["guidance"])
    # What it decides is decided; from here on None means what the settings say.
    guidance.pop("weight_preset", None)
    if "cvae" not in guidance:  # A vanilla run has none; the task fills in None.
        guidance |= {name: dataclasses.asdict(make()) for name, make in MODELS.items()}
        guidance["cvae"].update(dict.fromkeys(cvae_settings.Settings._fields))
    if guidance["weight"] == "none":
        guidance["weight"] = "cvae"
    for field, value in fields.items():
        parent, _, leaf = field.rpartition(".")
        (guidance[parent] if parent else guidance)[leaf] = value
    result, _ = resolve.complete({**record, "guidance": guidance})
    if steps is not None:
        settings = result["guidance"]["cvae"]
        for name in ("kl_warmup_start", "kl_warmup_steps"):
            if name not in {field.removeprefix("cvae.") for field in fields}:
                settings[name] = settings[name] * steps // max(settings["steps"], 1)
        settings["steps"] = result["guidance"]["embedding"]["steps"] = steps
    return result


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the fields, with dots, of `NAME:FIELD=VALUE,FIELD=VALUE`."""
    name, colon, rest = text.partition(":")
    pairs = [pair.partition("=") for pair in rest.split(",") if pair]
    if not (name and colon and pairs and all(equals for _, equals, _ in pairs)):
        raise checks.UserError(
            f"settings is {text!r}. It must be a name and fields of config.guidance, "
            f"as in {FLAG}. Write, for example, "
            "settings=narrow:kind=joint,cvae.beta=0.1."
        )
    known = [field.name for field in dataclasses.fields(weights.GuidanceConfig)]
    known = [name for name in known if name not in MODELS]
    # All weights are judged on the same pairs, so none may train on other rows.
    known += [
        f"{name}.{field.name}"
        for name, settings in MODELS.items()
        for field in dataclasses.fields(settings)
        if field.name != "holdout"
    ]
    for field, _, _ in pairs:
        checks.choice("a field of settings", field, known, f"Correct {FLAG}.")
    return name, {field: _value(value) for field, _, value in pairs}


def train(
    experiment: Experiment,
    dataset: transitions.Dataset,
    split: collapse.Split,
    preprocessing: Preprocessing,
    name: str,
) -> offline_phase.State:
    """Train and fit a weight alone; returns the offline state.

    Args:
        experiment: The experiment, with its seeds.
        dataset: The offline data, on the host.
        split: The split of the data's rows.
        preprocessing: The preprocessing of the checkpoint.
        name: The name for the progress bar.
    """
    model = experiment.model
    if model is None:
        return offline_phase.init(experiment, preprocessing)
    columns = dataset.observations, dataset.actions, dataset.next_observations
    state = offline_phase.init(experiment, preprocessing, model.measure(*columns))
    dataset = jax.device_put(dataset)
    updates = offline_phase.make_model_updates(experiment)
    total = model.settings.steps
    with tqdm(total=total, unit="update", desc=f"{model.title} {name}") as bar:
        for begin, end in schedule.segments(0, total, []):
            inputs = dataset, split.train
            state, _ = updates(state, inputs, begin, length=end - begin)
            jax.block_until_ready(state)  # Without this, the bar would run ahead.
            bar.update(end - begin)
    state, _ = offline_phase.fit_weight(experiment, state, dataset, split)
    return state


def with_codes(
    experiment: Experiment,
    state: offline_phase.State,
    dataset: transitions.Dataset,
    split: collapse.Split,
) -> offline_phase.State:
    """Add the latents that the kind "nearest" reads, if the state's fit has none.

    Args:
        experiment: The experiment of the state.
        state: The state with a fitted weight.
        dataset: The offline data.
        split: The split of the data's rows with which the weight's model was trained.
    """
    model = experiment.model
    if not isinstance(model, models.CVAEModel) or model.codes:
        return state
    encode = jax.vmap(model.cvae.encode, in_axes=(0, None, None))
    columns = dataset.observations, dataset.actions
    stored = experiment.guidance.references
    codes = nearest.fit(encode, state.weight.params, *columns, split.train, stored)
    fitted = state.weight.normals.replace(nearest=codes)
    return state.replace(weight=state.weight.replace(normals=fitted))


def preset_fields(name: str) -> dict[str, Any]:
    """The fields of a preset, with dots."""
    return {"weight": "cvae", **presets.fields(name)}


def _variant(config):
    return config.kind if config.weight == "cvae" else config.weight


def _value(text):
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text  # It is a name, such as `joint`.


def _uncut(experiment, config, state):
    """A function `pairs -> p_int [S, M]` for any registered weight."""
    fn = offline_phase.probabilities(dataclasses.replace(experiment, guidance=config))
    inputs = state.seeds, state.weight
    return lambda pairs: quantiles.offline_probabilities(fn, inputs, *pairs)
