"""The weights that a diagnosis judges: a checkpoint's own, others trained afresh."""

from __future__ import annotations

import ast
import copy
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from tqdm import tqdm

from samg_jax import losses
from samg_jax.analysis.pairs import Pairs
from samg_jax.data import transitions
from samg_jax.guidance import collapse, cvae, normals, presets, validation, weights
from samg_jax.training import checkpoints, forking, offline, online, schedule
from samg_jax.training import parts as parts_lib
from samg_jax.training import seeds as seeds_lib
from samg_jax.training.parts import Parts, Preprocessing

BATCH_ROWS = 16_384
FLAG = "--settings=NAME:FIELD=VALUE,..."


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A weight to be judged, whatever it is made of.

    Attributes:
        name: of its settings.
        config: of the guidance that it belongs to.
        guidance: stacked over seeds, without frozen values.
        p_int: pairs -> probabilities `[S, M]` before any cut.
        health: `held-out pairs -> {"mean_std", "kl", "collapsed"}`, `[S]` each, of its
            encoder; empty where it has none.
    """

    name: str
    config: weights.GuidanceConfig
    guidance: weights.Guidance
    p_int: Callable[[Pairs], np.ndarray]
    health: Callable[[Pairs], dict[str, np.ndarray]]

    @property
    def label(self) -> str:
        """Returns its name and what tells it from others of that name."""
        return f"{self.name}, {_variant(self.config)}"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An offline checkpoint, read back."""

    folder: pathlib.Path
    meta: dict[str, Any]
    config: ml_collections.ConfigDict
    parts: Parts
    state: offline.State


def read(workdir: str) -> Checkpoint:
    """Returns the offline checkpoint of a run.

    Raises:
        ValueError: where there is none, or one that is not complete.
    """
    folder = checkpoints.find_offline(workdir, "--checkpoint")
    store = checkpoints.Store(folder)
    try:
        meta = store.meta()
        if not meta["complete"]:
            raise ValueError(
                f"The offline phase in {str(folder)!r} stopped before its end. Only a "
                "complete one has a fitted weight. Resume that run first, by the "
                "command that began it."
            )
        config = ml_collections.ConfigDict(meta["config"])
        parts = parts_lib.resolve(config)
        state, _ = store.restore(forking.template(parts))
    finally:
        store.close()
    return Checkpoint(folder, meta, config, parts, state)


def of_state(
    name: str, parts: Parts, state: offline.State, kinds: Iterable[str]
) -> list[Candidate]:
    """Returns the fitted weight of an offline state, and its other kinds.

    Args:
        name: of its settings.
        parts: of the state.
        state: with a fitted weight.
        kinds: of probability to add to the configured one, for a C-VAE.
    """
    own = parts.guidance
    configs = [own]
    if parts.cvae is not None:
        others = [kind for kind in kinds if kind != own.kind]
        if own.use_std:
            others = [kind for kind in others if kind not in normals.MEANS_ONLY]
        configs += [dataclasses.replace(own, kind=kind) for kind in others]
    # The frozen values are of no concern here, only what weighs.
    guidance = online.freeze(parts, state).replace(offline=())
    health = functools.partial(_health, parts, guidance)
    return [
        Candidate(name, config, guidance, _uncut(config, guidance, state.seeds), health)
        for config in configs
    ]


def with_settings(
    config: ml_collections.ConfigDict, fields: dict[str, Any], steps: int | None
) -> ml_collections.ConfigDict:
    """Returns the experiment with another weight.

    Args:
        config: of the checkpoint.
        fields: dotted fields of `config.guidance`, those left out as they were.
        steps: updates of a C-VAE, to which its annealing is fitted; None to leave both.
    """
    guidance = copy.deepcopy(config.guidance.to_dict())
    if "cvae" not in guidance:  # A vanilla run's; the task fills in what is None.
        guidance["cvae"] = dataclasses.asdict(cvae.Config())
        guidance["cvae"].update(dict.fromkeys(parts_lib.CVAE_DEFAULTS))
    if guidance["weight"] == "none":
        guidance["weight"] = "cvae"
    for field, value in fields.items():
        parent, _, leaf = field.rpartition(".")
        (guidance[parent] if parent else guidance)[leaf] = value
    result = ml_collections.ConfigDict(config.to_dict())
    result.guidance = guidance
    parts_lib.complete(result)
    if steps is not None:
        settings = result.guidance.cvae
        for name in ("kl_warmup_start", "kl_warmup_steps"):
            if name not in {field.removeprefix("cvae.") for field in fields}:
                settings[name] = settings[name] * steps // max(settings.steps, 1)
        settings.steps = steps
    return result


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Returns name and dotted fields of `NAME:FIELD=VALUE,FIELD=VALUE`."""
    name, colon, rest = text.partition(":")
    pairs = [pair.partition("=") for pair in rest.split(",") if pair]
    if not (name and colon and pairs and all(equals for _, equals, _ in pairs)):
        raise ValueError(
            f"--settings is {text!r}. It must be a name and fields of config.guidance, "
            f"as in {FLAG}. For example --settings=narrow:kind=joint,cvae.beta=0.1."
        )
    known = [field.name for field in dataclasses.fields(weights.GuidanceConfig)]
    inner = dataclasses.fields(cvae.Config)
    # All are judged on the same pairs, so none may train on other rows.
    known += [f"cvae.{field.name}" for field in inner if field.name != "holdout"]
    for field, _, _ in pairs:
        validation.choice("a field of --settings", field, known, f"Correct {FLAG}.")
    return name, {field: _value(value) for field, _, value in pairs}


def train(
    parts: Parts, dataset: transitions.Dataset, preprocessing: Preprocessing, name: str
) -> offline.State:
    """Returns an offline state whose weight alone is trained and fitted.

    Args:
        parts: of the experiment, with its seeds.
        dataset: offline data, on the host.
        preprocessing: of the checkpoint.
        name: for the progress bar.
    """
    if parts.cvae is None:
        return offline.init(parts, preprocessing)
    scale = parts.cvae.measure_target_scale(dataset.actions, dataset.next_observations)
    state = offline.init(parts, preprocessing, scale)
    rows = jnp.asarray(offline.held_out(parts, dataset).train)
    dataset = jax.device_put(dataset)
    updates = offline.make_cvae_updates(parts)
    total = parts.guidance.cvae.steps
    with tqdm(total=total, unit="update", desc=f"C-VAE {name}") as bar:
        for begin, end in schedule.segments(0, total, []):
            state, _ = updates(state, (dataset, rows), begin, length=end - begin)
            jax.block_until_ready(state)  # Else the bar would run ahead.
            bar.update(end - begin)
    state, _ = offline.fit_weight(parts, state, dataset)
    return state


def preset_fields(name: str) -> dict[str, Any]:
    """Returns the dotted fields of a preset."""
    return {"weight": "cvae", **presets.fields(name)}


def _variant(config):
    return config.kind if config.weight == "cvae" else config.weight


def _value(text):
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text  # A name, such as `joint`.


def _uncut(config, guidance, seeds):
    """Returns `pairs -> p_int [S, M]` of any registered weight."""
    # A hard cut at 0 leaves every weight as it is, so this holds for all of them.
    fn = weights.weights(dataclasses.replace(config, cut="hard"))
    guidance = guidance.replace(threshold=jnp.zeros_like(guidance.threshold))

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, 0, None, None))
    def batch(seed, guidance, pairs, start):
        key = seeds_lib.stream(seed, "diagnosis", start)
        return fn(guidance, *pairs, key)

    def p_int(pairs: Pairs) -> np.ndarray:
        found = []
        for start in range(0, len(pairs.actions), BATCH_ROWS):
            rows = Pairs(*(field[start : start + BATCH_ROWS] for field in pairs))
            found.append(np.asarray(batch(seeds, guidance, rows, start)))
        return np.concatenate(found, axis=1)

    return p_int


def _health(parts, guidance, pairs):
    if parts.cvae is None:
        return {}

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, None))
    def health(params, observations, actions):
        means, stds = parts.cvae.encode(params, observations, actions)
        return collapse.health(means, losses.kl_divergence(means, stds))

    found = health(guidance.weight.params, pairs.observations, pairs.actions)
    return {name: np.asarray(value) for name, value in found.items()}
