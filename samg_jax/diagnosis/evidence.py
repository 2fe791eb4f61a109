"""The evidence about the weight p(s, a) of an offline checkpoint, as one report."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import pathlib
from typing import Any

import jax
import numpy as np

from samg_jax import checks, compilation, durable, logs, provenance
from samg_jax.data import transitions
from samg_jax.diagnosis import (
    candidates,
    diagnosis_plots,
    diagnosis_tables,
    discrimination,
    judged_pairs,
    nearest_pairs,
)
from samg_jax.diagnosis.candidates import Candidate, Checkpoint
from samg_jax.diagnosis.judged_pairs import Pairs
from samg_jax.experiment import config_checks, resolution, size_limits
from samg_jax.experiment.resolution import Parts
from samg_jax.guidance import collapse, normals
from samg_jax.runs import forks
from samg_jax.training import offline_phase

OWN = "checkpoint"


@dataclasses.dataclass(frozen=True)
class Request:
    """What is to be judged, and on what.

    Attributes:
        checkpoint: workdir of a run with a complete offline phase.
        out: folder of the results; None for `diagnosis/` in the workdir.
        presets: of weights to train afresh.
        settings: further ones, as `candidates.parse` reads them.
        steps: updates of those that are trained afresh; None for the checkpoint's.
        kinds: of probability, beside the configured one.
        data: file with the checkpoint's data, if they have moved.
        other: file or dataset of other pairs; None for a random policy's.
        rows: pairs per set at most.
        seed: of all draws made here.
        command: that asked for it.
    """

    checkpoint: str
    out: str | None = None
    presets: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    steps: int | None = None
    kinds: tuple[str, ...] = normals.KINDS
    data: str | None = None
    other: str | None = None
    rows: int = 5_000
    seed: int = 0
    command: str = ""


def run(request: Request) -> dict[str, Any]:
    """Judges, writes `diagnosis.json`, `diagnosis.md` and pictures; returns the report.

    Raises:
        checks.UserError: before any compute, where something cannot be used.
        DownloadError: for a D4RL file that is not there and cannot be had.
    """
    checkpoint = candidates.read(request.checkpoint)
    trained = plan(checkpoint, request)
    folder = checkpoint.folder.parent / "diagnosis"
    if request.out is not None:
        folder = pathlib.Path(request.out).expanduser()
    checks.folder(folder, "out=FOLDER")
    with compilation.matmul_precision(compilation.precision_of(checkpoint.config)):
        report = plain(examine(checkpoint, trained, request))
    keep(report, folder)
    report["pictures"] = [str(path) for path in diagnosis_plots.draw(report, folder)]
    return report


def keep(report: dict[str, Any], folder: pathlib.Path) -> None:
    """Writes a report, as JSON and as text.

    Raises:
        checks.UserError: the disk takes no more; the text is then printed, so that what
            took long is not lost with the disk.
    """
    text = diagnosis_tables.text(report) + "\n"
    try:
        durable.write_result(folder / "diagnosis.json", json.dumps(report) + "\n")
        durable.write_result(folder / "diagnosis.md", text)
    except checks.UserError:
        print(text)
        raise


def examine(
    checkpoint: Checkpoint, trained: list[tuple[str, Parts]], request: Request
) -> dict[str, Any]:
    """Returns the report without its pictures.

    Args:
        checkpoint: whose weight is judged.
        trained: from `plan`.
        request: what is to be judged, and on what.
    """
    dataset, source = load(checkpoint, request)
    rng = np.random.default_rng(request.seed)
    split = offline_phase.held_out(checkpoint.parts, dataset)
    sets, other = make_sets(checkpoint.parts, dataset, split.held_out, request, rng)

    judged = fitted(checkpoint, trained, (dataset, split), request.kinds)
    ruler = nearest_pairs.fit(
        judged_pairs.take(dataset, split.train), sets[discrimination.HELD_OUT], rng
    )
    return {
        **circumstances(request.command),
        "matmul_precision": compilation.precision_of(checkpoint.config),
        "checkpoint": request.checkpoint,
        "dataset": source,
        "other": other,
        "held_out": split.unit,
        "held_out_rows": len(split.held_out),
        "judged_rows": len(sets[discrimination.HELD_OUT].actions),
        "seeds": checkpoint.parts.seeds,
        "weights": {weight.label: judge(weight, sets) for weight, _ in judged},
        "yardstick": judge_yardstick(ruler, sets),
    }


def plan(checkpoint: Checkpoint, request: Request) -> list[tuple[str, Parts]]:
    """Returns name and parts of every weight to train afresh.

    Raises:
        checks.UserError: for unknown kinds, presets or fields, and where nothing is
            left to be judged.
    """
    for kind in request.kinds:
        checks.choice("kinds", kind, normals.KINDS)
    asked = [(name, candidates.preset_fields(name)) for name in request.presets]
    asked += [candidates.parse(text) for text in request.settings]
    names = [OWN, *(name for name, _ in asked)]
    if len(set(names)) < len(names):
        raise checks.UserError(
            f"The weights to judge are called {', '.join(names)}. Each needs a name of "
            f"its own, and {OWN!r} is the checkpoint's. Set "
            "settings=NAME:... to others."
        )
    if checkpoint.parts.guidance.weight == "none" and not asked:
        raise checks.UserError(
            f"The checkpoint in {str(checkpoint.folder)!r} has no C-VAE and no other "
            "weight: its run had config.guidance.weight 'none'. Give a checkpoint of "
            "SAMG, as of configs/awac_samg.py, or train weights on its data here with "
            "presets=paper,best."
        )
    result = []
    for name, fields in asked:
        config = candidates.with_settings(checkpoint.config, fields, request.steps)
        config_checks.check_annealing(config)
        parts = resolution.resolve(config)
        sizes = parts.task.observation_size, parts.task.action_size
        size_limits.check_weight(f"The weight {name!r}: ", config, *sizes)
        result.append((name, parts))
    return result


def load(checkpoint: Checkpoint, request: Request) -> tuple[transitions.Dataset, str]:
    """Returns the checkpoint's offline data, and what they are."""
    config = checkpoint.config.copy_and_resolve_references()
    if request.data is not None:
        config.dataset.path = request.data
    dataset, _, source = resolution.load_dataset(
        *(config, checkpoint.parts.task, logs.LOGGER.info, logs.LOGGER.warning),
        functools.partial(forks.check_data, config, checkpoint.meta),
    )
    return dataset, source


def make_sets(
    parts: Parts,
    dataset: transitions.Dataset,
    rows: np.ndarray,
    request: Request,
    rng: np.random.Generator,
) -> tuple[dict[str, Pairs], str]:
    """Returns name -> pairs to judge weights on, and the name of the other ones."""
    chosen = judged_pairs.choose(rows, request.rows, rng)
    familiar = judged_pairs.take(dataset, chosen)
    sets = {
        discrimination.HELD_OUT: familiar,
        discrimination.UNIFORM: judged_pairs.with_uniform_actions(familiar, rng),
    }
    if request.other is None:
        other = "random policy"
        sets[other] = judged_pairs.of_random_policy(parts, request.rows, rng)
    else:
        sample, other = judged_pairs.of_dataset(parts, request.other, request.rows, rng)
        sets[other] = sample
    noise = rng.normal(size=familiar.actions.shape)
    for level in judged_pairs.NOISE_LEVELS:
        name = discrimination.noise_set(level)
        sets[name] = judged_pairs.with_noise(familiar, level, noise)
    return sets, other


def fitted(
    checkpoint: Checkpoint,
    trained: list[tuple[str, Parts]],
    data: tuple[transitions.Dataset, collapse.Split],
    kinds: tuple[str, ...],
) -> list[tuple[Candidate, Parts]]:
    """Returns the weights to judge, those to be trained trained."""
    result = []

    def add(name, parts, state):
        if "nearest" in kinds:
            state = candidates.with_codes(parts, state, *data)
        own = candidates.of_state(name, parts, state, kinds)
        result.extend((weight, parts) for weight in own)

    if checkpoint.parts.guidance.weight != "none":
        add(OWN, checkpoint.parts, checkpoint.state)
    for name, parts in trained:
        preprocessing = checkpoint.state.preprocessing
        add(name, parts, candidates.train(parts, *data, preprocessing, name))
    return result


def judge(weight: Candidate, sets: dict[str, Pairs]) -> dict[str, Any]:
    """Returns what is said of one weight."""
    p_int = {name: weight.p_int(sample) for name, sample in sets.items()}
    familiar = sets[discrimination.HELD_OUT]
    return {
        "name": weight.name,
        "settings": dataclasses.asdict(weight.config),
        **weight.health(familiar),
        **discrimination.judge(p_int, judged_pairs.NOISE_LEVELS),
    }


def judge_yardstick(
    ruler: nearest_pairs.Yardstick, sets: dict[str, Pairs]
) -> dict[str, Any]:
    """Returns the same of the distance to the nearest offline pairs."""
    p_int = {name: ruler.p_int(sample)[None] for name, sample in sets.items()}
    near = {name: -ruler.distances(sample)[None] for name, sample in sets.items()}
    found = discrimination.judge(p_int, judged_pairs.NOISE_LEVELS, near)
    return {
        "neighbors": ruler.index.n_neighbors,
        "reference_rows": ruler.index.n_samples_fit_,
        **found,
    }


def circumstances(command: str) -> dict[str, Any]:
    """Returns with what a report is made, and how busy the machine is with it."""
    return {
        "command": command,
        "machine": {**provenance.describe(), **provenance.versions("scikit-learn")},
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def plain(value: Any) -> Any:
    """Returns nested results as JSON has them; what is not finite becomes None."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        return plain(np.asarray(value).tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
