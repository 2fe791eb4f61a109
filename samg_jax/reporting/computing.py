"""What the runs took: time and memory of a phase, updates per second, guidance.

A suite writes down the time of whole jobs; how much of it the updates took, and what
went into compilation and evaluations, is in no table.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from samg_jax.reporting import aggregates, results
from samg_jax.reporting.tables import Table

NONE = "-"
MEGABYTE = 1e6
PLAIN = "no_data"  # SAMG without guidance, and nothing else.


def costs(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per algorithm, variant, dataset and phase, means over the seeds.

    Its columns beside those: `seeds`, `steps`, `seconds` of the whole job,
    `per_second` of these, `memory` in MB, and `guidance`: of SAMG online, the share of
    its time that `no_data` does not need, by the seeds that have both; NaN elsewhere.

    Args:
        frame: from `results.read`.
    """
    offline = results.pretrained(frame)
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
        for variant in results.in_order(own["variant"]):
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
    """Returns `1 - plain / guided` of the times per step, mean over common seeds."""
    times = [rows.set_index("seed").eval("seconds / steps") for rows in (guided, plain)]
    both = pd.concat(times, axis=1, keys=["guided", "plain"]).dropna()
    return float((1 - both["plain"] / both["guided"]).mean()) if len(both) else np.nan


def table(frame: pd.DataFrame) -> Table:
    """Returns `costs` as a table."""
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
            "time of the job, s",
            "updates/s, online steps/s, of the whole job",
            "peak memory, MB",
            "guidance, % of time",
        ),
        rows=tuple(rows),
        note=(
            "Of a seed's job; seeds that trained as one job share its time and memory. "
            "Updates/s: updates of a seed per second of the whole job, which includes "
            "start, compilation, evaluations and, offline, the fit of the weight; "
            "online environment steps per second, whatever updates each of them had. "
            "The shorter a job, the further below the speed of training; that is what "
            "samg_jax.benchmark measures. On a machine that did other work they say "
            "little. Guidance: share of the time of a guided job's step that no_data, "
            "the same without guidance, does not need; below 0 it was noise."
        ),
        caution=results.caution(frame),
    )


def _number(value: float, form: str) -> str:
    return f"{value:{form}}" if np.isfinite(value) else NONE
