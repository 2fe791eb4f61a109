"""Time, memory and speed of the runs, and what they ran on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from samg_jax.results import report_tables, tidy_table
from samg_jax.results.report_tables import NONE, Table

MEGABYTE = 1e6


def costs(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per dataset, algorithm, phase and variant, with means over the seeds.

    Further columns: `seeds`, `steps`, `seconds` of the whole job, `per_second` (steps
    per second), and `memory` in MB.
    """
    online = frame[frame["phase"] == tidy_table.ONLINE]
    rows = pd.concat([tidy_table.pretrained(frame).assign(variant=""), online])
    keys = ["dataset", "algorithm", "phase", "variant"]
    seeds = rows.groupby([*keys, "seed"], as_index=False).agg(
        steps=("step", "max"),
        seconds=("wall_time", "max"),
        memory=("peak_memory", "max"),
    )
    seeds["per_second"] = seeds["steps"] / seeds["seconds"].where(seeds["seconds"] > 0)
    seeds["memory"] /= MEGABYTE
    names = ["steps", "seconds", "per_second", "memory"]
    found = seeds.groupby(keys)[names].mean()
    found.insert(0, "seeds", seeds.groupby(keys).size())
    shown = {
        name: index for index, name in enumerate(tidy_table.in_order(rows["variant"]))
    }
    return found.reset_index().sort_values(
        keys, key=lambda own: own.map(shown) if own.name == "variant" else own
    )


def table(frame: pd.DataFrame) -> Table:
    """`costs` as a table."""

    def number(value):
        return f"{value:,.0f}" if np.isfinite(value) else NONE

    rows = [
        {
            "dataset": row.dataset,
            "algorithm": row.algorithm,
            "phase": row.phase,
            "variant": row.variant or NONE,
            "seeds": str(row.seeds),
            "steps": number(row.steps),
            "time, s": number(row.seconds),
            "updates/s or steps/s": number(row.per_second),
            "peak memory, MB": number(row.memory),
        }
        for row in costs(frame).itertuples()
    ]
    note = (
        "Time and memory are those of a suite's whole job; seeds that trained in one "
        "job share them. The time includes start, compilation, evaluations and, "
        "offline, the fit of the weight, so that short jobs look slower than training "
        "is; samg_jax.benchmark measures training alone. On a machine that does other "
        "work, times mean little."
    )
    disclaimer = tidy_table.disclaimer(frame)
    return report_tables.of_rows("compute", "Compute", rows, note, disclaimer)


def runs(frame: pd.DataFrame) -> Table:
    """Table of data, machine and versions of the runs."""
    names = {
        "data source": "data_source",
        "physics": "physics",
        "algorithms": "algorithm",
        "seeds": "seed",
        **{name: name for name in tidy_table.MACHINE},
        "versions": "versions",
        "commit": "git_commit",
    }
    rows = []
    for dataset, own in frame.groupby("dataset"):
        row = {"dataset": str(dataset)}
        for heading, name in names.items():
            sign = "; " if heading in ("versions", *tidy_table.MACHINE) else ", "
            values = map(str, sorted(set(own[name]) - {""}))
            row[heading] = sign.join(values) or NONE
        rows.append(row)
    disclaimer = tidy_table.disclaimer(frame)
    return report_tables.of_rows("runs", "What was run", rows, "", disclaimer)
