"""The report of a diagnosis as tables that read well in a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from samg_jax.diagnosis import discrimination
from samg_jax.results import markup

YARDSTICK = "nearest neighbors"


def text(report: dict[str, Any]) -> str:
    """The whole report as text and tables."""
    parts = [heading(report), main_table(report), share_table(report)]
    parts.append(quantile_table(report))
    return "\n\n".join(parts)


def heading(report: dict[str, Any]) -> str:
    """The heading: data, seeds, machine."""
    about = ", ".join(f"{name} {value}" for name, value in report["machine"].items())
    load = report["load_average"]
    about += f"; load {load:.2f}" if load is not None else "; load unknown"
    unit = "whole episodes" if report["held_out"] == "episodes" else "single rows"
    data = (
        f"- data: {markup.markdown(report['dataset'])}; {report['judged_rows']:,} of "
        f"{report['held_out_rows']:,} held-out pairs, held out by {unit}"
    )
    seeds = ", ".join(str(seed) for seed in report["seeds"])
    return "\n".join(
        [
            f"    {markup.one_line(report['command'])}",
            "",
            data,
            f"- seeds: {seeds}; mean and standard deviation over them",
            f"- {about}",
        ]
    )


def main_table(report: dict[str, Any]) -> str:
    """The AUROC of held-out pairs against the others, of every weight."""
    other = report["other"]
    columns = [discrimination.UNIFORM, "noise 0.3", "noise 1", other]
    rows = []
    for name, found in everything(report):
        health = [spread(found.get(key)) for key in ("kl", "mean_std")]
        label = markup.markdown(name)
        if any(found.get("collapsed", [])):
            label = markup.Markdown(f"{label} **collapsed**")
        curve = np.array(found["p_by_noise"], float).mean(axis=1)
        rows.append(
            [
                label,
                *health,
                *(spread(found["auroc"][column]) for column in columns),
                f"{curve[0]:.2f} to {curve[-1]:.2f}",
                "yes" if all(found["p_falls"]) else markup.Markdown("**no**"),
            ]
        )
    header = ["weight", "KL", "std of means"]
    header += [f"AUROC: {column}" for column in columns]
    header += ["mean p, noise 0 to 1", "falls"]
    return markup.markdown_table(header, rows)


def share_table(report: dict[str, Any]) -> str:
    """The share of pairs that a hard cut zeroes, at several thresholds."""
    sets = [discrimination.HELD_OUT, discrimination.UNIFORM, report["other"]]
    levels = [f"{t:g}" for t in discrimination.THRESHOLDS]
    rows = [
        [name, which, *(mean(found["share_zeroed"][which][t]) for t in levels)]
        for name, found in everything(report)
        for which in sets
    ]
    return markup.markdown_table(
        ["weight", "pairs", *(f"zeroed at {t}" for t in levels)], rows
    )


def quantile_table(report: dict[str, Any]) -> str:
    """The quantiles of p_int on held-out pairs."""
    found = list(everything(report))
    names = list(found[0][1]["p_int_quantiles"])
    rows = [[w, *(mean(f["p_int_quantiles"][q]) for q in names)] for w, f in found]
    header = ["p_int, held-out", *(f"{int(q[-2:])} %" for q in names)]
    return markup.markdown_table(header, rows)


def everything(report: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Yields name and findings of every weight, then of the baseline."""
    yield from report["weights"].items()
    yield YARDSTICK, report["yardstick"]


def spread(values: Sequence[float | None] | None) -> str:
    """Mean and standard deviation over seeds; a dash without values."""
    values = [np.nan if value is None else value for value in values or []]
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"


def mean(values: Sequence[float]) -> str:
    """The mean over seeds."""
    return f"{np.mean(np.array(values, float)):.2f}"
