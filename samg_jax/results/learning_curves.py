"""Learning curves: of a run, of a dataset's variants, and around the switch."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from samg_jax.results import figures, pictures, seed_statistics, tidy_table

AROUND = 0.1  # The share of the online steps that is shown on both sides of the switch.
FEWEST = 3  # Evaluations that are shown after the switch at least.
# Inches of a run's axis and of a row of its legend; letters of the legend per inch.
WIDTH, HEIGHT, ROW, LETTERS = 5.0, 3.6, 0.2, 15
NAMED = 10  # The legend of a run names this many seeds one by one.


def draw(
    axis,
    rows: pd.DataFrame,
    look: Mapping[str, Any],
    fewest: int = tidy_table.FEWEST_SEEDS,
    seed_looks: Mapping[int, Mapping[str, Any]] | None = None,
) -> None:
    """Draw mean and 95 % band at the steps that all seeds have reached.

    Args:
        axis: The axis to draw on.
        rows: The rows of one variant, with `step`, `seed` and `score`.
        look: The look of the line, as matplotlib's `plot` takes it; with `color`.
        fewest: With fewer seeds than this there is no band; the seeds are thin lines.
        seed_looks: The look of each seed's thin line, drawn in any case if given.
    """
    table = rows.pivot(index="step", columns="seed", values="score")
    if not seed_looks:  # A run's own picture shows where a seed stopped.
        table = table.dropna()
    if table.empty:
        return
    if seed_looks or 1 < table.shape[1] < fewest:
        thin = {"color": look["color"], "alpha": 0.4, "linewidth": 0.8}
        for seed, own in table.items():
            axis.plot(own.index, own, **thin | dict((seed_looks or {}).get(seed, {})))
    means, widths = np.transpose(
        [seed_statistics.interval(row) for row in table.to_numpy()]
    )
    steps = table.index.to_numpy(float)
    axis.plot(steps, means, **{"linewidth": 1.8, "markersize": 4, **look})
    if table.shape[1] >= fewest and np.isfinite(widths).any():
        band = {"color": look["color"], "alpha": 0.14, "linewidth": 0}
        axis.fill_between(steps, means - widths, means + widths, **band)


def draw_run(frame: pd.DataFrame, path: pathlib.Path, title: str) -> pathlib.Path:
    """Draw both phases of a run side by side: seeds thin, their mean and band thick.

    Args:
        frame: The rows of one run, from `tidy_table.check`.
        path: The path of the PNG.
        title: The title of the picture.
    """
    phases = [phase for phase in tidy_table.PHASES if (frame["phase"] == phase).any()]
    figure, axes = figures.subplots(len(phases), width=WIDTH, height=HEIGHT, share=True)
    for axis, phase in zip(axes[0], phases, strict=True):
        own = frame[frame["phase"] == phase]
        _draw_phase(axis, own)
        unit = "gradient updates" if phase == "offline" else "environment steps"
        axis.set_xlabel(f"{phase}: {unit}")
        figures.step_ticks(axis)
    axes[0, 0].set_ylabel(frame["unit"].iloc[0])
    handles, labels = axes[0, -1].get_legend_handles_labels()
    letters = int(LETTERS * WIDTH * len(phases))
    rows = figures.legend_below(figure, handles, labels, letters, fontsize="small")
    figure.set_figheight(HEIGHT + ROW * (rows - 1))
    figure.suptitle(figures.wrapped(title, 45 * len(phases)))
    return figures.save(figure, path)


def _draw_phase(axis, rows: pd.DataFrame) -> None:
    """Draw every combination of a sweep; without one each seed has its own color."""
    variants = list(dict.fromkeys(rows["variant"]))
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(variants)))
    for variant, shade in zip(variants, shades, strict=True):
        own = rows[rows["variant"] == variant]
        seeds = tuple(sorted(set(own["seed"])))
        looks = {seed: {"color": shade, "alpha": 0.3} for seed in seeds}
        color, name = shade, f"{figures.plain(variant, 60)}, "
        if len(variants) == 1:
            color, name = "black", ""
            named = 1 < len(seeds) <= NAMED
            looks = {
                seed: {"color": shade, "alpha": 0.7}
                | ({"label": f"seed {seed}"} if named else {})
                for seed, shade in figures.seed_colors(seeds).items()
            }
        marker = "o" if own["step"].nunique() == 1 else None
        look = {"color": color, "linewidth": 2, "marker": marker}
        draw(axis, own, {**look, "label": name + _mean_of(seeds)}, 2, looks)


def _mean_of(seeds: tuple[int, ...]) -> str:
    """The label of the thick line, such as `mean of seeds 0-4, 95 % band`."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    names = ", ".join(map(str, seeds))
    if seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        names = f"{seeds[0]}-{seeds[-1]}"
    elif len(seeds) > NAMED:
        names = f"{seeds[0]}, ..., {seeds[-1]} ({len(seeds)})"
    return f"mean of seeds {names}, 95 % band"


def draw_online(axis, frame: pd.DataFrame, algorithm: str, dataset: str) -> None:
    """Draw the online phase of every variant."""
    online = _of(frame[frame["phase"] == "online"], algorithm, dataset)
    _draw_variants(axis, online)
    _finish(axis, online, "online: environment steps")


def draw_switch(axis, frame: pd.DataFrame, algorithm: str, dataset: str) -> None:
    """Draw the end of pre-training and the begin of fine-tuning.

    The last score of pre-training is shown even if the one before it is far away. It
    is then a ring at the switch, around the first score of fine-tuning.

    Takes the arguments of `draw_online`.
    """
    online = _of(frame[frame["phase"] == "online"], algorithm, dataset)
    reach = switch_reach(online)
    offline = tidy_table.pretrained(_of(frame, algorithm, dataset))
    if len(offline):
        offline = offline.assign(step=offline["step"] - offline["step"].max())
        near = offline[offline["step"] >= -reach]
        look: dict[str, Any] = {"color": pictures.OFFLINE_COLOR, "marker": "."}
        if near["step"].nunique() == 1:
            look |= {"marker": "o", "markersize": 9, "fillstyle": "none"}
        draw(axis, near, {**look, "label": "offline, shared"})
    _draw_variants(axis, online[online["step"] <= reach], marked=True)
    axis.axvline(0, color=pictures.OFFLINE_COLOR, linewidth=1, linestyle=":")
    # Nothing is drawn left of the switch if offline scores are farther away.
    earlier = offline["step"].between(-reach, 0, inclusive="left").any()
    label = "switch  ▸  environment steps"
    _finish(axis, online, f"offline updates  ◂  {label}" if earlier else label)


def switch_reach(online: pd.DataFrame) -> float:
    """The step at which the close-up of the switch ends."""
    steps = np.sort(online["step"].unique())
    least = steps[min(FEWEST, len(steps) - 1)]
    return max(float(least), AROUND * float(steps[-1]))


def _of(frame, algorithm, dataset):
    """The rows of the runs that stayed finite."""
    rows = frame[(frame["algorithm"] == algorithm) & (frame["dataset"] == dataset)]
    bad = rows["failed"] | ~np.isfinite(rows["score"])
    return rows[~bad.groupby([rows[name] for name in tidy_table.RUN]).transform("any")]


def _draw_variants(axis, online, marked=False):
    variants = tidy_table.in_order(online["variant"])
    for variant in variants:
        look = pictures.style(variant, variants)
        own = online[online["variant"] == variant]
        if not marked and own["step"].nunique() > 15:
            look["marker"] = ""
        count = own["seed"].nunique()
        label = f"{figures.plain(variant, pictures.LETTERS)}, {count} seed"
        draw(axis, own, {**look, "label": label + ("s" if count > 1 else "")})


def _finish(axis, online, label):
    axis.set_xlabel(label)
    seeds = online.groupby("variant")["seed"].nunique()
    shown = "thin: seeds" if (seeds < tidy_table.FEWEST_SEEDS).all() else "95 % band"
    axis.set_ylabel(f"{online['unit'].iloc[0]} ({shown})")
    figures.step_ticks(axis)
    pictures.legend(axis)
