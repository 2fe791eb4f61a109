"""Finished runs side by side, as one Markdown table."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np

from samg_jax import checks
from samg_jax.experiment import config_checks, resolution
from samg_jax.results import (
    curves,
    guidance_curves,
    markup,
    seed_statistics,
    table_rows,
)
from samg_jax.results.seed_statistics import Course
from samg_jax.runs import checkpoints, lifecycle, lost_checkpoints, saved_configs

# What `training.csv` has of the guidance and a comparison tells.
GUIDANCE = ("weight_active", "weight_mean", "guidance_term")
# Group and field of a config, of those that a report reads.
NEEDED = {
    "algorithm": str,
    "env_id": str,
    "physics": str,
    "dataset.name": str,
    "dataset.path": (str, type(None)),
    "evaluation.episodes": int,
    "guidance.weight": str,
    "online.data": str,
    "online.steps": int,
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one run's workdir says.

    Attributes:
        algorithm: its name.
        variant: of fine-tuning, `offline` where nothing was fine-tuned.
        data_source: what the offline data are, in words.
        physics: `d4rl` or `stock`.
        normalized: whether the scores are D4RL's normalized ones.
        updates: offline updates before fine-tuning.
        steps: environment steps per seed, warm-up included.
        episodes: of an evaluation, per seed.
        courses: one per seed.
        guidance: name -> `[S]` last logged values of `GUIDANCE`; empty without any.
    """

    algorithm: str
    variant: str
    data_source: str
    physics: str
    normalized: bool
    updates: int
    steps: int
    episodes: int
    courses: tuple[Course, ...]
    guidance: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)

    @property
    def lasting(self) -> list[Course]:
        """The courses of the seeds that stayed finite."""
        return [course for course in self.courses if not course.failed]


def read(workdir: pathlib.Path) -> list[Outcome]:
    """Returns the outcome of the run in `workdir`; of a sweep, one per combination.

    Raises:
        checks.UserError: no run is there, or it is not complete.
    """
    config = read_config(workdir)
    saved_configs.check_kept(workdir, config.to_dict())
    phase = "online" if config.online.steps else "offline"
    meta = _meta(workdir / phase)
    done = meta is not None and (
        meta["step"] == config.online.steps if config.online.steps else meta["complete"]
    )
    if meta is None and lost_checkpoints.phase(workdir, config) == phase:
        raise checks.UserError(
            f"There is no checkpoint in {str(workdir / phase)!r}, though the tables go "
            "on to where one is due. It says whether the run is complete, and on which "
            "data. If it was deleted or moved, restore that folder from a copy."
        )
    if not done:
        raise checks.UserError(
            f"The run in {str(workdir)!r} is not complete; only complete runs are "
            "compared. The command that began it goes on where it stopped."
        )
    task = resolution.resolve_task(config)
    normalized = task.ref_min is not None
    path = workdir / "metrics.csv"
    rows = curves.read(path)
    if not any(row.phase == phase for row in rows):
        raise table_rows.damaged(path, f"it has no row of the phase {phase}")
    name = variant(config) if config.online.steps else "offline"
    return [
        Outcome(
            algorithm=config.algorithm,
            variant=f"{name} {label}".strip(),
            data_source=meta["data_source"],
            physics=config.physics,
            normalized=normalized,
            updates=meta["offline_step"],
            steps=config.online.steps,
            episodes=config.evaluation.episodes,
            courses=tuple(seed_statistics.courses(own, normalized)),
            guidance=_guidance(workdir, label),
        )
        for label, own in curves.by_combination(rows).items()
    ]


def _meta(folder: pathlib.Path) -> dict[str, Any] | None:
    """Returns what is said of the newest checkpoint; None if there is none."""
    if not folder.is_dir():  # It would be created.
        return None
    store = checkpoints.Store(folder)
    try:
        return store.meta() if store.latest() is not None else None
    finally:
        store.close()


def read_config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
    """Returns the config of the run in `workdir`.

    Raises:
        checks.UserError: no run is there, or its config is damaged.
    """
    path = workdir / "config.json"
    if not path.is_file():
        below = sorted(found.parent for found in workdir.glob("*/config.json"))
        hint = f" Runs are below it: {', '.join(map(str, below[:3]))}." if below else ""
        raise checks.UserError(
            f"There is no run in {str(workdir)!r}: it has no config.json.{hint} Name "
            "the workdir of a run of samg_jax.train, or the folder of a suite "
            "that has results."
        )
    found = load_json(path)
    if not isinstance(found, dict) or not fits(found):
        raise checks.UserError(
            f"{path} is not the config of a run: it is empty, cut or something else. "
            "It must be as the run wrote it. Restore the file, or name other runs."
        )
    return ml_collections.ConfigDict(found)


def load_json(path: pathlib.Path) -> Any:
    """Returns what a JSON file holds; None for one that is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None


def fits(config: dict[str, Any]) -> bool:
    """Returns whether a config has what a report reads."""
    flat = config_checks.flatten(config)
    return all(
        name in flat and isinstance(flat[name], kind) for name, kind in NEEDED.items()
    )


def paired(first: Outcome, other: Outcome) -> list[tuple[Course, Course]]:
    """Returns both courses of every seed that stayed finite in both runs, by seed."""
    of_other = {course.seed: course for course in other.lasting}
    own = sorted(first.lasting, key=lambda course: course.seed)
    return [
        (course, of_other[course.seed]) for course in own if course.seed in of_other
    ]


def variant(config: ml_collections.ConfigDict) -> str:
    """Returns the variant's name, with its preset if that is not the paper's."""
    preset = config.guidance.get("weight_preset", "paper")
    named = config.guidance.weight == "cvae" and preset != "paper"
    return lifecycle.variant(config) + (f" {preset}" if named else "")


def _guidance(workdir: pathlib.Path, label: str) -> dict[str, tuple[float, ...]]:
    series = guidance_curves.read(workdir / "training.csv", label)
    return {
        name: tuple(series[name].values[:, -1].tolist())
        for name in GUIDANCE
        if name in series
    }


def table(outcomes: Sequence[Outcome]) -> str:
    """Returns a Markdown table with one line per run, and what its numbers are.

    Means over seeds, each with the half-width of its 95 % Student-t interval. The dip
    is how far below its first online score a seed fell at any evaluation since.

    Args:
        outcomes: from `read`.

    Raises:
        checks.UserError: the runs' scores are on different data, physics or scales.
    """
    _check_comparable(outcomes)
    unit = "normalized score" if outcomes[0].normalized else "return"
    header = (
        "| algorithm | variant | seeds | updates | steps | offline | final | change "
        "| dip |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    lines = [_line(outcome) for outcome in outcomes]
    episodes = sorted({outcome.episodes for outcome in outcomes})
    notes = (
        f"Data: {markup.markdown(outcomes[0].data_source)}; physics "
        f"{outcomes[0].physics}. Each number is a {unit}: mean over the seeds ± "
        f"half-width of its 95 % interval (Student's t), "
        f"{' or '.join(map(str, episodes))} episodes per seed and evaluation. "
        "`change` is paired by seed; `dip` is how far below its first online score a "
        "seed fell at any later evaluation."
    )
    return "\n".join([header, *lines, "", notes])


def _line(outcome: Outcome) -> str:
    kept = outcome.lasting
    seeds = str(len(outcome.courses))
    if len(kept) < len(outcome.courses):
        seeds += f" ({len(outcome.courses) - len(kept)} failed, left out)"
    columns = [
        [course.start for course in kept],
        [course.end for course in kept],
        [course.end - course.start for course in kept],
        [course.start - course.lowest for course in kept],
    ]
    cells = [seed_statistics.interval_text(column) for column in columns]
    if not outcome.steps:  # There is one score only.
        cells[1:] = ["", "", ""]
    size = [f"{outcome.updates:,}", f"{outcome.steps:,}" if outcome.steps else ""]
    return markup.markdown_row(
        [outcome.algorithm, outcome.variant, seeds, *size, *cells]
    )


def below(outcomes: Sequence[Outcome], baseline: str) -> str:
    """Returns which runs end below the baseline's mean minus two standard errors.

    Args:
        outcomes: from `read`.
        baseline: algorithm of the run that the others are held against.
    """
    matching = [outcome for outcome in outcomes if outcome.algorithm == baseline]
    if not matching:
        raise checks.UserError(
            f"None of the runs is of the algorithm {baseline!r}. The baseline is one "
            "of the runs that are compared. Name one of: "
            f"{', '.join(sorted({outcome.algorithm for outcome in outcomes}))}."
        )
    ends = np.array([course.end for course in matching[0].lasting])
    error = ends.std(ddof=1) / np.sqrt(len(ends)) if len(ends) > 1 else 0.0
    bound = ends.mean() - 2 * error
    lower = [
        markup.markdown(f"{outcome.algorithm} {outcome.variant}")
        for outcome in outcomes
        if np.mean([course.end for course in outcome.lasting]) < bound
    ]
    name = markup.markdown(baseline)
    return (
        f"{name} minus two standard errors: {bound:.1f}. Below it: "
        f"{', '.join(lower) or 'none'}."
    )


def _check_comparable(outcomes: Sequence[Outcome]) -> None:
    for name in ("data_source", "physics", "normalized"):
        values = sorted({str(getattr(outcome, name)) for outcome in outcomes})
        if len(values) > 1:
            raise checks.UserError(
                f"These runs differ in {name}: {', '.join(values)}. Scores stand side "
                "by side only if data and simulator are the same. Report them apart."
            )
