"""How runs differ from the first of them, seed by seed: a table, and all scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from samg_jax import checks
from samg_jax.results import markup, run_comparison, seed_statistics
from samg_jax.results.run_comparison import Outcome


def table(outcomes: Sequence[Outcome]) -> str:
    """Returns a Markdown table of the differences from the first run, and its notes.

    Means over the seeds that stayed finite in both, each with the half-width of its
    95 % Student-t interval; and what the guidance was at the end, the first's included.

    Args:
        outcomes: from `run_comparison.read`, forked from one checkpoint.

    Raises:
        checks.UserError: there is no second run, or a run has no online scores.
    """
    if len(outcomes) < 2 or not all(outcome.steps for outcome in outcomes):
        names = ", ".join(outcome.variant for outcome in outcomes) or "none"
        raise checks.UserError(
            f"The runs to compare seed by seed are {names}. Two or more are needed, "
            "all fine-tuned. Name the workdirs of such runs, or leave paired out."
        )
    header = (
        "| algorithm | variant | seeds paired | final score, minus the first's | mean "
        "of the online scores, minus the first's | share of p > 0 at the end | "
        "guidance term at the end |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    first = outcomes[0]
    lines = [_line(first, outcome) for outcome in outcomes]
    name = markup.markdown(f"{first.algorithm} {first.variant}")
    note = (
        f"Paired by seed with {name}: mean ± half-width of "
        "the 95 % interval (Student's t). An interval that includes 0 establishes no "
        "difference. The online scores are those after the switch."
    )
    return "\n".join([header, *lines, "", note])


def as_json(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Returns what is known of each run, the scores of every seed included."""
    return [
        {
            "algorithm": outcome.algorithm,
            "variant": outcome.variant,
            "data": outcome.data_source,
            "physics": outcome.physics,
            "normalized": outcome.normalized,
            "offline_updates": outcome.updates,
            "online_steps": outcome.steps,
            "episodes": outcome.episodes,
            "seeds": [
                {
                    "seed": course.seed,
                    "failed": course.failed,
                    "scores": {str(step): s for step, s in course.scores.items()},
                }
                for course in outcome.courses
            ],
            "guidance_at_the_end": {k: list(v) for k, v in outcome.guidance.items()},
        }
        for outcome in outcomes
    ]


def text(outcomes: Sequence[Outcome], command: str | None) -> str:
    """Returns all of that as a JSON file."""
    return json.dumps({"command": command, "runs": as_json(outcomes)}, indent=1) + "\n"


def differences(first: Outcome, other: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Returns per seed, `[S]`, by how much the other's score is higher.

    The last score's, and the mean's of the scores after the switch; of the seeds that
    stayed finite in both.
    """
    pairs = run_comparison.paired(first, other)
    ends = [after.end - before.end for before, after in pairs]
    means = [_mean_online(after) - _mean_online(before) for before, after in pairs]
    return np.array(ends), np.array(means)


def _mean_online(course: seed_statistics.SeedOutcome) -> float:
    return float(np.mean([score for step, score in course.scores.items() if step]))


def _line(first: Outcome, outcome: Outcome) -> str:
    cells = ["", "", ""]
    if outcome is not first:
        ends, means = differences(first, outcome)
        gains = (seed_statistics.interval_text(own, sign="+") for own in (ends, means))
        cells = [str(len(ends)), *gains]
    active, term = (
        f"{np.mean(outcome.guidance[name]):{form}}" if outcome.guidance else "-"
        for name, form in [("weight_active", ".2f"), ("guidance_term", ".3f")]
    )
    row = [outcome.algorithm, outcome.variant, *cells, active, term]
    return markup.markdown_row(row)
