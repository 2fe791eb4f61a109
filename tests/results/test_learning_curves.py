"""What the lines of the learning curves are: of a report, and of a run."""

import functools
import itertools
import pathlib
import shutil

import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from samg_jax.results import (
    aggregate_pictures,
    figures,
    learning_curves,
    pairing,
    pictures,
    seed_outcomes,
    tidy_table,
)
from samg_jax.runs import lifecycle
from tests.fixtures import made_suite, small_runs

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
    return tidy_table.check(pd.concat(rows), "made")


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
    frame = tidy_table.check(pd.concat(rows), "made")
    frame = frame.assign(step=frame["step"] // 1000 * 1250 * scale)
    paired = pairing.differences(seed_outcomes.of(frame), "final")
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
    frame = tidy_table.check(pd.concat(rows), "made")
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


def of_run(phase, seeds=(0, 1), scores=(51.0, 52.0, 53.0), variant="", **changes):
    """The rows of a run whose seeds are one point apart."""
    tables = [
        made_suite.rows(
            "", variant or phase, "", seed, np.add(scores, seed), phase=phase
        )
        for seed in seeds
    ]
    return pd.concat(tables).assign(**changes)


@pytest.fixture
def run_drawn(tmp_path, figures):
    """Draws a run; returns the axes, and checks the picture."""

    def run_drawn(*tables):
        path = tmp_path / "curve.png"
        frame = tidy_table.check(pd.concat(tables), "made")
        assert learning_curves.draw_run(frame, path, "a title") == path
        (figure,) = figures
        height, width, _ = image.imread(path).shape
        assert (width, height) == tuple(figure.get_size_inches() * 150)
        assert figure.get_suptitle() == "a title"
        return figure.axes

    return run_drawn


def legend(axis):
    (found,) = axis.figure.legends
    return [text.get_text() for text in found.get_texts()]


def test_both_phases_of_a_run_are_drawn_side_by_side(run_drawn):
    offline, online = run_drawn(of_run("offline"), of_run("online"))
    assert offline.get_xlabel() == "offline: gradient updates"
    assert online.get_xlabel() == "online: environment steps"
    assert offline.get_ylabel() == "normalized score"
    for axis in (offline, online):
        heights = [list(line.get_ydata()) for line in axis.lines]
        assert heights == [[51, 52, 53], [52, 53, 54], [51.5, 52.5, 53.5]]
    assert legend(online) == ["seed 0", "seed 1", "mean of seeds 0-1, 95 % band"]
    # Student's t of two seeds that are 1 apart.
    (band,) = online.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(51.5 - 12.7062 / 2, rel=1e-4)
    assert heights.max() == pytest.approx(53.5 + 12.7062 / 2, rel=1e-4)


def test_the_combinations_of_a_sweep_have_a_shade_each(run_drawn):
    labels = ["threshold=0.3", "threshold=1e-2"]
    swept = [of_run("online", (4,), variant=label) for label in labels]
    offline, online = run_drawn(of_run("offline", (4,)), *swept)
    assert len(offline.lines) == 2
    assert legend(online) == [f"{label}, seed 4" for label in labels]
    assert len({tuple(line.get_color()) for line in online.lines}) == 2


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ((3, 9, 40), "mean of seeds 3, 9, 40, 95 % band"),
        (tuple(range(12)), "mean of seeds 0-11, 95 % band"),
        (tuple(range(0, 24, 2)), "mean of seeds 0, ..., 22 (12), 95 % band"),
    ],
)
def test_the_legend_of_a_run_names_its_seeds_below_the_axes(run_drawn, seeds, words):
    (axis,) = run_drawn(of_run("online", seeds))
    names = legend(axis)
    assert names[-1] == words
    assert len(names) == (1 + len(seeds) if len(seeds) <= learning_curves.NAMED else 1)
    (box,) = axis.figure.legends
    assert box.get_window_extent().y1 < axis.get_window_extent().y0


def test_a_run_without_reference_or_with_one_evaluation_is_drawn(run_drawn):
    one = of_run("online", (5,), (3.0,), normalized_score=np.nan)
    (axis,) = run_drawn(one)
    assert axis.get_ylabel() == "return"
    assert axis.lines[-1].get_marker() == "o"
    assert axis.lines[-1].get_ydata() == 32 * 8


def test_a_run_on_a_file_of_any_name_ends_with_its_pictures(dataset, tmp_path, capsys):
    path = tmp_path / f"cost$ & %_<b> {'x' * 200}.hdf5"
    shutil.copy(dataset, path)
    workdir = tmp_path / "run"
    shorter = {"offline__updates": 10, "online__steps": 10, "online__warmup_steps": 5}
    small_runs.run("awac_samg", path, workdir, pictures=True, **shorter)
    assert f"learning curves: {workdir / 'curve.png'}" in capsys.readouterr().out
    assert image.imread(workdir / "curve.png").size
    assert image.imread(workdir / "guidance.png").size
    config = small_runs.config("awac_samg", path)
    with config.unlocked():
        config.sweep = ("guidance.threshold=0.1,0.2",) * 30
    folders = pathlib.Path(lifecycle.default_workdir(config.to_dict())).parts
    assert all(len(part.encode()) <= 255 for part in folders)
