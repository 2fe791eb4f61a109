"""Time, memory and speed of the runs, and what the guidance costs.

A suite records the time of whole jobs. No table separates the updates from compilation
and evaluations.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from samg_jax.results import aggregates, suite_table
from samg_jax.results.report_tables import Table

NONE = "-"
MEGABYTE = 1e6
PLAIN = "no_data"  # SAMG without guidance, and nothing else.


def costs(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per algorithm, variant, dataset and phase, with means over the seeds.

    Further columns: `seeds`, `steps`, `seconds` of the whole job, `per_second` (steps
    per second), `memory` in MB, and `guidance`. The latter is the share of SAMG's
    online time that `no_data` saves, over the seeds that have both; NaN for other rows.

    Args:
        frame: from `results.read`.
    """
    offline = suite_table.pretrained(frame)
    rows = pd.concat([offline, frame[frame["phase"] == "online"]])
    keys = ["dataset", "algorithm", "phase", "variant"]
    seeds = rows.groupby([*keys, "seed"], as_index=False).agg(
        steps=("step", "max"),
        seconds=("wall_time", "max"),
        memory=("peak_memory", "max"),
    )
    seeds["per_second"] = seeds["steps"] / seeds["seconds"].where(seeds["seconds"] > 0)
    seeds["memory"] /= MEGABYTE
    found = []
    for (dataset, algorithm, phase), own in seeds.groupby(keys[:3]):
        for variant in suite_table.in_order(own["variant"]):
            one = own[own["variant"] == variant]
            names = ["steps", "seconds", "per_second", "memory"]
            share = np.nan
            if phase == "online" and variant.startswith(aggregates.SAMG):
                share = guidance_share(one, own[own["variant"] == PLAIN])
            found.append(
                {
                    "dataset": dataset,
                    "algorithm": algorithm,
                    "phase": phase,
                    "variant": variant if phase == "online" else "",
                    "seeds": len(one),
                    **one[names].mean().to_dict(),
                    "guidance": share,
                }
            )
    return pd.DataFrame(found)


def guidance_share(guided: pd.DataFrame, plain: pd.DataFrame) -> float:
    """`1 - plain / guided` of the times per step, mean over common seeds."""
    times = [rows.set_index("seed").eval("seconds / steps") for rows in (guided, plain)]
    both = pd.concat(times, axis=1, keys=["guided", "plain"]).dropna()
    return float((1 - both["plain"] / both["guided"]).mean()) if len(both) else np.nan


def table(frame: pd.DataFrame) -> Table:
    """`costs` as a table."""
    rows = [
        (
            row.dataset,
            row.algorithm,
            row.phase,
            row.variant or NONE,
            str(row.seeds),
            f"{row.steps:,.0f}",
            _number(row.seconds, ",.0f"),
            _number(row.per_second, ",.0f"),
            _number(row.memory, ",.0f"),
            _number(100 * row.guidance, "+.0f"),
        )
        for row in costs(frame).itertuples()
    ]
    return Table(
        name="compute",
        title="Compute",
        header=(
            "dataset",
            "algorithm",
            "phase",
            "variant",
            "seeds",
            "steps",
            "time, s",
            "updates/s or steps/s",
            "peak memory, MB",
            "guidance, % of time",
        ),
        rows=tuple(rows),
        note=(
            "Time and memory are those of a whole job; seeds that trained in one job "
            "share them. The time includes start, compilation, evaluations and, "
            "offline, the fit of the weight. Updates/s (offline) and environment "
            "steps/s (online) are those of a seed in that time. Short jobs look slower "
            "than training is; samg_jax.benchmark measures training alone. On a "
            "machine that does other work, times mean little. Guidance: share of the "
            "time per step that no_data, the same run without guidance, saves; a "
            "negative share is noise."
        ),
        caution=suite_table.caution(frame),
    )


def _number(value: float, form: str) -> str:
    return f"{value:{form}}" if np.isfinite(value) else NONE
