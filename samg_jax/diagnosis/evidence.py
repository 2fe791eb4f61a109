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
from samg_jax.experiment import config_checks, datasets, resolve, size_limits
from samg_jax.experiment.resolved import Experiment
from samg_jax.guidance import collapse, normals
from samg_jax.runs import forks
from samg_jax.training import offline_phase

OWN = "checkpoint"


@dataclasses.dataclass(frozen=True)
class Request:
    """What to judge, and on which data.

    Attributes:
        checkpoint: the workdir of a run with a complete offline phase.
        out: the folder of the results; None for `diagnosis/` in the workdir.
        presets: the presets of weights to train.
        settings: settings of more weights to train, as `candidates.parse` reads them.
        steps: the updates of newly trained weights; None for the checkpoint's number.
        kinds: the kinds of probability, beside the configured one.
        data: the file with the checkpoint's data, if they have moved.
        other: a file or dataset of other pairs; None for a random policy's.
        rows: the largest number of pairs per set.
        seed: the seed of all draws made here.
        command: the command that requested it.
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
    """Judges, writes `diagnosis.json`, `diagnosis.md` and figures; returns the report.

    Raises:
        checks.UserError: Something cannot be used; raised before any compute.
        DownloadError: A D4RL file is missing and cannot be downloaded.
    """
    checkpoint = candidates.read(request.checkpoint)
    trained = plan(checkpoint, request)
    folder = checkpoint.folder.parent / "diagnosis"
    if request.out is not None:
        folder = pathlib.Path(request.out).expanduser()
    checks.folder(folder, "out=FOLDER")
    with compilation.matmul_precision(checkpoint.experiment.settings.matmul_precision):
        report = plain(examine(checkpoint, trained, request))
    keep(report, folder)
    report["pictures"] = [str(path) for path in diagnosis_plots.draw(report, folder)]
    return report


def keep(report: dict[str, Any], folder: pathlib.Path) -> None:
    """Writes a report as JSON and as text.

    Raises:
        checks.UserError: The disk accepts no more data; the text is then printed, so
            that a long computation is not lost with the disk.
    """
    text = diagnosis_tables.text(report) + "\n"
    try:
        durable.write_result(folder / "diagnosis.json", json.dumps(report) + "\n")
        durable.write_result(folder / "diagnosis.md", text)
    except checks.UserError:
        print(text)
        raise


def examine(
    checkpoint: Checkpoint, trained: list[tuple[str, Experiment]], request: Request
) -> dict[str, Any]:
    """The report, without its figures.

    Args:
        checkpoint: The checkpoint whose weight is judged.
        trained: The weights from `plan`.
        request: What to judge, and on which data.
    """
    dataset, source = load(checkpoint, request)
    rng = np.random.default_rng(request.seed)
    split = offline_phase.held_out(checkpoint.experiment, dataset)
    sets, other = make_sets(
        checkpoint.experiment, dataset, split.held_out, request, rng
    )

    judged = fitted(checkpoint, trained, (dataset, split), request.kinds)
    ruler = nearest_pairs.fit(
        judged_pairs.take(dataset, split.train), sets[discrimination.HELD_OUT], rng
    )
    return {
        **circumstances(request.command),
        "matmul_precision": checkpoint.experiment.settings.matmul_precision,
        "checkpoint": request.checkpoint,
        "dataset": source,
        "other": other,
        "held_out": split.unit,
        "held_out_rows": len(split.held_out),
        "judged_rows": len(sets[discrimination.HELD_OUT].actions),
        "seeds": checkpoint.experiment.seeds,
        "weights": {weight.label: judge(weight, sets) for weight, _ in judged},
        "yardstick": judge_yardstick(ruler, sets),
    }


def plan(checkpoint: Checkpoint, request: Request) -> list[tuple[str, Experiment]]:
    """The name and the experiment of every weight to train.

    Raises:
        checks.UserError: A kind, a preset or a field is unknown, or there is nothing to
            judge.
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
    if checkpoint.experiment.guidance.weight == "none" and not asked:
        raise checks.UserError(
            f"The checkpoint in {str(checkpoint.folder)!r} has no C-VAE and no other "
            "weight: its run had config.guidance.weight 'none'. Use a checkpoint of "
            "SAMG, as of configs/awac_samg.py, or train weights on its data here with "
            "presets=paper,best."
        )
    result = []
    for name, fields in asked:
        record = checkpoint.experiment.record
        changed = candidates.with_settings(record, fields, request.steps)
        config_checks.check_annealing(changed["guidance"])
        experiment = resolve.from_fields(changed)
        task = experiment.task
        sizes = task.observation_size, task.action_size
        size_limits.check_weight(f"The weight {name!r}: ", experiment.record, *sizes)
        result.append((name, experiment))
    return result


def load(checkpoint: Checkpoint, request: Request) -> tuple[transitions.Dataset, str]:
    """Returns the checkpoint's offline data, and what they are."""
    experiment = checkpoint.experiment
    if request.data is not None:
        named = dataclasses.replace(experiment.settings.dataset, path=request.data)
        changed = dataclasses.replace(experiment.settings, dataset=named)
        experiment = dataclasses.replace(experiment, settings=changed)
    dataset, _, source = datasets.load(
        *(experiment, logs.LOGGER.info, logs.LOGGER.warning),
        functools.partial(
            forks.check_data, experiment.settings.dataset, checkpoint.meta
        ),
    )
    return dataset, source


def make_sets(
    experiment: Experiment,
    dataset: transitions.Dataset,
    rows: np.ndarray,
    request: Request,
    rng: np.random.Generator,
) -> tuple[dict[str, Pairs], str]:
    """The sets of pairs to judge weights on, by name, and the name of the other set."""
    chosen = judged_pairs.choose(rows, request.rows, rng)
    familiar = judged_pairs.take(dataset, chosen)
    sets = {
        discrimination.HELD_OUT: familiar,
        discrimination.UNIFORM: judged_pairs.with_uniform_actions(familiar, rng),
    }
    if request.other is None:
        other = "random policy"
        sets[other] = judged_pairs.of_random_policy(experiment, request.rows, rng)
    else:
        sample, other = judged_pairs.of_dataset(
            experiment, request.other, request.rows, rng
        )
        sets[other] = sample
    noise = rng.normal(size=familiar.actions.shape)
    for level in judged_pairs.NOISE_LEVELS:
        name = discrimination.noise_set(level)
        sets[name] = judged_pairs.with_noise(familiar, level, noise)
    return sets, other


def fitted(
    checkpoint: Checkpoint,
    trained: list[tuple[str, Experiment]],
    data: tuple[transitions.Dataset, collapse.Split],
    kinds: tuple[str, ...],
) -> list[tuple[Candidate, Experiment]]:
    """The weights to judge, after training the new ones."""
    result = []

    def add(name, experiment, state):
        if "nearest" in kinds:
            state = candidates.with_codes(experiment, state, *data)
        own = candidates.of_state(name, experiment, state, kinds)
        result.extend((weight, experiment) for weight in own)

    if checkpoint.experiment.guidance.weight != "none":
        add(OWN, checkpoint.experiment, checkpoint.state)
    for name, experiment in trained:
        preprocessing = checkpoint.state.preprocessing
        add(name, experiment, candidates.train(experiment, *data, preprocessing, name))
    return result


def judge(weight: Candidate, sets: dict[str, Pairs]) -> dict[str, Any]:
    """The findings about one weight."""
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
    """The findings about the baseline, the distance to the nearest offline pairs."""
    p_int = {name: ruler.p_int(sample)[None] for name, sample in sets.items()}
    near = {name: -ruler.distances(sample)[None] for name, sample in sets.items()}
    found = discrimination.judge(p_int, judged_pairs.NOISE_LEVELS, near)
    return {
        "neighbors": ruler.index.n_neighbors,
        "reference_rows": ruler.index.n_samples_fit_,
        **found,
    }


def circumstances(command: str) -> dict[str, Any]:
    """The command, the machine and its load, for the report."""
    return {
        "command": command,
        "machine": {**provenance.describe(), **provenance.versions("scikit-learn")},
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def plain(value: Any) -> Any:
    """Nested results in JSON's types; non-finite numbers become None."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        return plain(np.asarray(value).tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
