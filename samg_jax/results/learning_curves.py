"""Learning curves of a dataset: the whole online phase, and around the switch."""

from __future__ import annotations

import numpy as np
import pandas as pd

from samg_jax.results import figures, pictures, seed_statistics, suite_table

AROUND = 0.1  # Share of the online steps that is shown on both sides of the switch.
FEWEST = 3  # Evaluations that are shown after the switch at least.


def draw_online(axis, frame: pd.DataFrame, algorithm: str, dataset: str) -> None:
    """Draws the online phase of every variant.

    Args:
        axis: to draw on.
        frame: from `results.read`.
        algorithm: whose runs are drawn.
        dataset: that they are of.
    """
    online = _of(frame[frame["phase"] == "online"], algorithm, dataset)
    _draw_variants(axis, online)
    _finish(axis, online, "online: environment steps")


def draw_switch(axis, frame: pd.DataFrame, algorithm: str, dataset: str) -> None:
    """Draws the last of pre-training and the first of fine-tuning.

    The last score of pre-training is there however long ago the one before it was; as
    a ring then, at the switch, around the first of fine-tuning.

    Takes what `draw_online` takes.
    """
    online = _of(frame[frame["phase"] == "online"], algorithm, dataset)
    reach = switch_reach(online)
    offline = suite_table.pretrained(_of(frame, algorithm, dataset))
    if len(offline):
        offline = offline.assign(step=offline["step"] - offline["step"].max())
        near = offline[offline["step"] >= -reach]
        look = {"color": pictures.OFFLINE_COLOR, "marker": "."}
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
    """Returns up to which step the close-up of the switch goes."""
    steps = np.sort(online["step"].unique())
    least = steps[min(FEWEST, len(steps) - 1)]
    return max(float(least), AROUND * float(steps[-1]))


def _of(frame, algorithm, dataset):
    """Returns the rows of the runs that stayed finite."""
    chosen = (frame["algorithm"] == algorithm) & (frame["dataset"] == dataset)
    rows = frame[chosen]
    bad = rows["failed"] | ~np.isfinite(rows["score"])
    return rows[~bad.groupby([rows[name] for name in suite_table.RUN]).transform("any")]


def _draw_variants(axis, online, marked=False):
    variants = suite_table.in_order(online["variant"])
    for variant in variants:
        look = pictures.style(variant, variants)
        own = online[online["variant"] == variant]
        if not marked and own["step"].nunique() > 15:
            look["marker"] = ""
        count = own["seed"].nunique()
        label = f"{figures.plain(variant, pictures.LETTERS)}, {count} seed"
        label += "s" if count > 1 else ""
        draw(axis, own, {**look, "label": label})


def draw(axis, rows: pd.DataFrame, look: dict[str, object]) -> None:
    """Draws mean and 95 % band at the steps that all seeds have reached.

    Seeds that are too few for an interval are thin lines instead of a band.

    Args:
        axis: to draw on.
        rows: of one variant, with `step`, `seed` and `score`.
        look: of the line, as matplotlib's `plot` takes it; with `color`.
    """
    table = rows.pivot(index="step", columns="seed", values="score").dropna()
    if table.empty:
        return
    means, widths = np.transpose(
        [seed_statistics.interval(row) for row in table.to_numpy()]
    )
    steps = table.index.to_numpy(float)
    axis.plot(steps, means, **{"linewidth": 1.8, "markersize": 4, **look})
    if table.shape[1] < suite_table.FEWEST_SEEDS:
        if table.shape[1] > 1:
            axis.plot(steps, table, color=look["color"], alpha=0.4, linewidth=0.8)
    elif np.isfinite(widths).any():
        axis.fill_between(
            steps,
            means - widths,
            means + widths,
            color=look["color"],
            alpha=0.14,
            linewidth=0,
        )


def _finish(axis, online, label):
    axis.set_xlabel(label)
    few = (online.groupby("variant")["seed"].nunique() < suite_table.FEWEST_SEEDS).all()
    shown = "thin: seeds" if few else "95 % band"
    axis.set_ylabel(f"{online['unit'].iloc[0]} ({shown})")
    figures.step_ticks(axis)
    pictures.legend(axis)
