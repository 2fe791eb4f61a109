"""What each seed's fine-tuning came to: its end, dip, recovery, area and regret."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import integrate

from samg_jax.results import suite_table

FAILED, UNFINISHED = "failed", "unfinished"


class Dip(NamedTuple):
    """How far a seed fell below the score with which fine-tuning began.

    Attributes:
        depth: first score minus the lowest since, at least 0.
        recovery: steps from the switch to the first evaluation, from the lowest on,
            that reaches the first score again; infinite if none does.
    """

    depth: float
    recovery: float


def dip(steps: Sequence[float], scores: Sequence[float]) -> Dip:
    """Returns a seed's dip.

    Args:
        steps: `[T]` environment steps of the evaluations, rising.
        scores: `[T]`.
    """
    steps, scores = np.asarray(steps, float), np.asarray(scores, float)
    lowest = int(np.argmin(scores))
    back = steps[lowest:][scores[lowest:] >= scores[0]]
    recovery = back[0] - steps[0] if len(back) else math.inf
    return Dip(float(scores[0] - scores[lowest]), float(recovery))


def area(steps: Sequence[float], scores: Sequence[float]) -> float:
    """Returns the area under a curve by its length, the mean score while fine-tuning.

    Args:
        steps: `[T]`, rising; of a single one the area is NaN.
        scores: `[T]`, joined by straight lines.
    """
    if len(steps) < 2:
        return math.nan
    length = steps[-1] - steps[0]
    return float(integrate.trapezoid(scores, steps) / length)


def of(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per fine-tuned seed.

    Its columns: those of `suite_table.RUN`, `data_source`, `physics`, `unit` and
    `networks`; `updates` of the pre-training, -1 where unknown, and `steps` taken;
    `start` and `final`, the first and the last online score; `depth` and `recovery` of
    the dip; `area`; `regret`, the share of failures among all training episodes, NaN
    where there is no success; and `status`: empty, `failed` where the seed became
    non-finite, `unfinished` where another seed of the same variant has gone further:
    another variant may have been given more steps, of which `suite_table.caution`
    warns. Only those with an empty status belong in statistics.

    Args:
        frame: from `results.read`.
    """
    online = frame[frame["phase"] == "online"]
    furthest = online.groupby(suite_table.VARIANT)["step"].transform("max")
    online = online.assign(budget=furthest)
    rows = [_course(own) for _, own in online.groupby(suite_table.RUN)]
    # A suite without fine-tuning has no rows; its columns are numbers nevertheless.
    courses = pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(NUMBERS, float))
    known = {
        task: suite_table.updates(own) for task, own in frame.groupby(suite_table.TASK)
    }
    tasks = zip(*(courses[name] for name in suite_table.TASK), strict=True)
    counts = [known[task] for task in tasks]
    courses["updates"] = [-1 if count is None else count for count in counts]
    return courses


COLUMNS = [
    *suite_table.RUN,
    "data_source",
    "physics",
    "unit",
    "networks",
    "updates",
    "steps",
    "start",
    "final",
    "depth",
    "recovery",
    "area",
    "regret",
    "status",
]
NUMBERS = ("steps", "start", "final", "depth", "recovery", "area", "regret")


def _course(own: pd.DataFrame) -> dict:
    steps, scores = own["step"].to_numpy(float), own["score"].to_numpy(float)
    last = own.iloc[-1]
    status = UNFINISHED if last["step"] < last["budget"] else ""
    if own["failed"].any() or not np.isfinite(scores).all():
        status = FAILED
    fell = dip(steps, scores)
    names = [*suite_table.RUN, "data_source", "physics", "unit", "networks", "regret"]
    return {
        **{name: last[name] for name in names},
        "steps": steps[-1],
        "start": scores[0],
        "final": scores[-1],
        "depth": fell.depth,
        "recovery": fell.recovery,
        "area": area(steps, scores),
        "status": status,
    }


def finished(courses: pd.DataFrame) -> pd.DataFrame:
    """Returns those that belong in statistics."""
    return courses[courses["status"] == ""]


def budgets(courses: pd.DataFrame) -> pd.Series:
    """What a run's score may depend on beside its variant: lengths and networks."""
    names = ("updates", "steps", "networks")
    columns = (courses[name] for name in names)
    rows = list(zip(*columns, strict=True))
    return pd.Series(rows, index=courses.index, dtype=object)


def budget_text(budget: tuple[float, float, str]) -> str:
    """A budget in words, such as `10,000 updates, 3,000 steps, 256x256`."""
    updates, steps, networks = budget
    parts = [f"{updates:,.0f} updates"] if updates >= 0 else []
    parts.append(f"{steps:,.0f} steps")
    return ", ".join([*parts, networks] if networks else parts)


def left_out(courses: pd.DataFrame) -> str:
    """Returns which seeds are in no statistics, and why; empty for none."""
    others = courses[courses["status"] != ""]
    parts = []
    for keys, own in others.groupby(["status", "dataset", "algorithm", "variant"]):
        seeds = ", ".join(str(seed) for seed in own["seed"])
        parts.append(f"{' '.join(keys)} seed {seeds}")
    return "Left out of the statistics: " + "; ".join(parts) + "." if parts else ""
