"""What the lines of the learning curves are."""

import functools
import itertools

import numpy as np
import pandas as pd
import pytest

from samg_jax.results import (
    aggregate_pictures,
    aggregates,
    figures,
    learning_curves,
    pictures,
    seed_outcomes,
    suite_table,
)
from tests.fixtures import made_suite

WHAT = {"algorithm": "awac", "dataset": "hopper-local"}


@pytest.fixture
def frame():
    """Two seeds, a third that is under way, a fourth that failed; offline before."""
    rows = [
        made_suite.rows(seed=0, scores=(40.0, 30.0, 44.0, 50.0), failed=0),
        made_suite.rows(seed=1, scores=(44.0, 36.0, 42.0, 52.0), failed=0),
        made_suite.rows(seed=2, scores=(42.0, 30.0), failed=0),
        made_suite.rows(seed=3, scores=(0.0, 0.0, 0.0, 0.0), failed=[0, 1, 1, 1]),
        made_suite.rows("awac", "offline", scores=(1.0, 39.0, 40.0), failed=0).assign(
            phase="offline", step=[1000, 19_000, 20_000]
        ),
    ]
    return suite_table.check(pd.concat(rows), "made")


def drawn(draw, frame):
    """Returns label -> steps and means of the lines with one."""
    figure, axes = figures.subplots(1)
    draw(axes[0, 0], frame, "awac", "hopper-local")
    lines = {
        line.get_label(): np.array(line.get_data()).tolist()
        for line in axes[0, 0].get_lines()
        if not line.get_label().startswith("_")
    }
    figures.plt.close(figure)
    return lines


def test_the_mean_is_of_all_seeds_that_stayed_finite(frame):
    lines = drawn(learning_curves.draw_online, frame)
    assert lines == {"samg, 3 seeds": [[0, 1000], [42, 32]]}
    lines = drawn(learning_curves.draw_online, frame[frame["seed"] != 2])
    expected = [[0, 1000, 2000, 3000], [42, 33, 43, 51]]
    assert lines == {"samg, 2 seeds": expected}


def labels_touch(figure, axis):
    """Whether labels of the ticks that are in view overlap."""
    figure.canvas.draw()
    low, high = axis.get_xlim()
    boxes = [
        tick.label1.get_window_extent()
        for tick in axis.xaxis.get_major_ticks()
        if low <= tick.get_loc() <= high
    ]
    assert len(boxes) > 1
    boxes.sort(key=lambda box: box.x0)
    pairs = itertools.pairwise(boxes)
    return any(one.x1 + 2 > other.x0 for one, other in pairs)


@pytest.mark.parametrize("scale", [1, 7, 100_000])
def test_labels_of_ticks_do_not_touch_nor_legends_cover_data(scale):
    rows = [
        made_suite.rows(variant=variant, seed=seed, scores=(-12.5, seed, 5.0 + gain))
        for variant, gain in (("vanilla", 7.0), ("no_data", 3.0), ("samg", 0.0))
        for seed in range(5)
    ]
    frame = suite_table.check(pd.concat(rows), "made")
    frame = frame.assign(step=frame["step"] // 1000 * 1250 * scale)
    paired = aggregates.differences(seed_outcomes.of(frame), "final")
    paired = paired.assign(values=[own * 1.1 * scale for own in paired["values"]])
    paired = paired.assign(mean=paired["mean"] * scale, width=paired["width"] * scale)
    for drawing in (
        functools.partial(learning_curves.draw_online, frame=frame, **WHAT),
        functools.partial(learning_curves.draw_switch, frame=frame, **WHAT),
        functools.partial(aggregate_pictures.draw_differences, differences=paired),
    ):
        figure = pictures._draw("title", "mark", drawing, pictures.HEIGHT)
        (axis,) = figure.axes
        assert not labels_touch(figure, axis)
        for legend in figure.legends:
            assert not legend.get_window_extent().overlaps(axis.get_window_extent())
        figures.plt.close(figure)


@pytest.mark.parametrize(("seeds", "thin", "bands"), [(4, 4, 0), (5, 0, 1)])
def test_a_band_takes_five_seeds(seeds, thin, bands):
    rows = [
        made_suite.rows(seed=seed, scores=(40.0, 42.0 + seed)) for seed in range(seeds)
    ]
    frame = suite_table.check(pd.concat(rows), "made")
    figure, axes = figures.subplots(1)
    learning_curves.draw_online(axes[0, 0], frame, "awac", "hopper-local")
    figures.plt.close(figure)
    assert len(axes[0, 0].get_lines()) == 1 + thin
    assert len(axes[0, 0].collections) == bands
    words = "95 % band" if bands else "thin: seeds"
    assert axes[0, 0].get_ylabel() == f"normalized score ({words})"


def test_the_close_up_has_the_last_of_pre_training_before_the_switch(frame):
    frame = frame[frame["seed"] != 2]
    lines = drawn(learning_curves.draw_switch, frame)
    assert lines["offline, shared"] == [[-1000, 0], [39, 40]]
    assert lines["samg, 2 seeds"][0] == [0, 1000, 2000, 3000]


def test_the_close_up_has_the_score_at_the_switch_of_rare_evaluations(frame):
    frame = frame[(frame["seed"] != 2) & (frame["step"] != 19_000)]
    lines = drawn(learning_curves.draw_switch, frame)
    assert lines["offline, shared"] == [[0], [40]]


def test_the_close_up_is_a_tenth_but_three_evaluations_at_least():
    steps = pd.DataFrame({"step": np.arange(0, 101_000, 1000)})
    assert learning_curves.switch_reach(steps) == 10_000
    assert learning_curves.switch_reach(steps[steps["step"] <= 5000]) == 3000
    assert learning_curves.switch_reach(steps[:2]) == 1000
