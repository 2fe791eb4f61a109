"""The outcome of each seed's fine-tuning: end, dip, recovery, area and regret."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import integrate

from samg_jax.results import tidy_table

FAILED, UNFINISHED = "failed", "unfinished"
EARLY = 1 / 5  # The part of the online phase in which a dip is looked for.
SAME = ["data_source", "physics", "unit", "networks", "updates", "regret"]
NUMBERS = ["steps", "start", "final", "dip", "recovery", "area", "regret"]


class Dip(NamedTuple):
    """The change of a seed's score just after the switch to the online phase.

    Attributes:
        change: Mean score of the first fifth of the steps with updates minus the score
            at the switch; negative if the score falls. The lowest score would be
            biased: the more evaluations and the noisier they are, the lower their
            minimum. A mean is not.
        recovery: Steps from the switch to the first evaluation after that fifth that
            reaches the score at the switch; 0 without a fall, infinite if none does.
    """

    change: float
    recovery: float


def dip(steps: Sequence[float], scores: Sequence[float], warmup: float = 0) -> Dip:
    """A seed's dip; NaN if nothing was evaluated after the first update.

    Args:
        steps: `[T]` environment steps of the evaluations, rising.
        scores: `[T]` scores.
        warmup: First steps without updates, in which the policy stays as it was.
    """
    steps, scores = np.asarray(steps, float), np.asarray(scores, float)
    begin = steps[0] + warmup
    later = steps[steps > begin]
    if not len(later):
        return Dip(math.nan, math.nan)
    # If evaluations are rare, the first one may be later than a fifth.
    end = max(begin + EARLY * (steps[-1] - begin), later[0])
    early = (steps > begin) & (steps <= end)
    change = float(scores[early].mean() - scores[0])
    back = steps[(steps > end) & (scores >= scores[0])]
    if change >= 0:
        return Dip(change, 0.0)
    return Dip(change, float(back[0] - steps[0]) if len(back) else math.inf)


def area(steps: Sequence[float], scores: Sequence[float]) -> float:
    """The mean height of a learning curve; NaN for a single evaluation.

    Args:
        steps: `[T]` steps, rising.
        scores: `[T]` scores, joined by straight lines.
    """
    if len(steps) < 2:
        return math.nan
    length = steps[-1] - steps[0]
    return float(integrate.trapezoid(scores, steps) / length)


def of(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per fine-tuned seed.

    The columns are those of `tidy_table.RUN` and `SAME`; `steps` taken; `start` and
    `final`, the first and the last online score; `dip` and its `recovery`; `area`;
    `regret`, the share of failures among all training episodes, NaN without successes;
    and `status`: empty, `failed` if the seed became non-finite, or `unfinished` if
    another seed of the same variant has more steps. (Another variant may have been
    given more steps; `tidy_table.disclaimer` says so.) Only rows with an empty status
    belong in statistics.
    """
    online = frame[frame["phase"] == tidy_table.ONLINE]
    budget = online.groupby(tidy_table.VARIANT)["step"].transform("max")
    runs = online.assign(budget=budget).groupby(tidy_table.RUN)
    columns = [*tidy_table.RUN, *SAME[:-1], *NUMBERS, "status"]
    rows = pd.DataFrame([_outcome(own) for _, own in runs], columns=columns)
    # Without fine-tuning there are no rows; the columns are numbers nevertheless.
    return rows.astype(dict.fromkeys(NUMBERS, float))


def _outcome(own: pd.DataFrame) -> dict:
    steps, scores = own["step"].to_numpy(float), own["score"].to_numpy(float)
    last = own.iloc[-1]
    status = UNFINISHED if last["step"] < last["budget"] else ""
    if own["failed"].any() or not np.isfinite(scores).all():
        status = FAILED
    change, recovery = dip(steps, scores, last["warmup"])
    return {
        **last[[*tidy_table.RUN, *SAME]],
        "steps": steps[-1],
        "start": scores[0],
        "final": scores[-1],
        "dip": change,
        "recovery": recovery,
        "area": area(steps, scores),
        "status": status,
    }


def finished(outcomes: pd.DataFrame) -> pd.DataFrame:
    """The outcomes that belong in statistics."""
    return outcomes[outcomes["status"] == ""]


def left_out(outcomes: pd.DataFrame) -> str:
    """A sentence on the seeds that are in no statistics, and why; may be empty."""
    others = outcomes[outcomes["status"] != ""]
    parts = []
    for keys, own in others.groupby(["status", "dataset", "algorithm", "variant"]):
        seeds = ", ".join(str(seed) for seed in own["seed"])
        parts.append(f"{' '.join(keys)} seed {seeds}")
    return "Left out of the statistics: " + "; ".join(parts) + "." if parts else ""
