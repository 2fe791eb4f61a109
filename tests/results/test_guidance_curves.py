"""The picture of what the guidance did."""

import numpy as np
import pytest
from matplotlib import collections

from samg_jax.results import figures, guidance_curves
from samg_jax.runs import run_output

QUANTILES = ("q05", "q25", "q50", "q75", "q95")
NAMES = (
    *(f"fresh_p_int_{name}" for name in QUANTILES),
    *("fresh_weight_active", "weight_active", "guidance_term"),
    *("value_online", "value_offline", "value_gap"),
    *("td_error_guided", "td_error_unguided", "threshold", "fresh_weight_q50"),
)


@pytest.fixture
def table(tmp_path):
    """Writes a table as a run does: two seeds, two times, each name its own numbers."""
    writer = run_output.Writer(tmp_path, np.array([3, 4]), tensorboard=False)
    writer.training("offline", (10, 0), {"guidance_term": np.array([9.0, 9.0])})
    for time, step in enumerate([20, 30]):
        values = {
            name: np.array([0.01, 0.02]) * (number + 1) + 0.1 * time
            for number, name in enumerate(NAMES)
        }
        writer.training("online", (10, step), values)
    writer.training("online", (10, 30), {"critic_loss": np.array([1.0, np.nan])})
    writer.close()
    return tmp_path / "training.csv"


def test_series_are_read_by_seed_and_step(table):
    series = guidance_curves.read(table)
    steps, lines, seeds = series["guidance_term"]
    assert seeds == (3, 4)
    np.testing.assert_array_equal(steps, [20, 30])
    np.testing.assert_allclose(lines, [[0.08, 0.18], [0.16, 0.26]])
    steps, lines, _ = series["critic_loss"]
    np.testing.assert_array_equal(steps, [30])
    np.testing.assert_array_equal(lines, [[1.0], [np.nan]])


def test_every_quantity_is_drawn_with_its_unit(table, tmp_path, figures):
    series = guidance_curves.read(table)
    path = guidance_curves.draw(series, tmp_path / "guidance.png", "a title")
    assert path.stat().st_size > 10_000
    (figure,) = figures
    weights, _, term, values, _, errors = figure.axes
    assert {axis.get_xlabel() for axis in figure.axes} == {"environment steps"}
    assert all(axis.get_ylabel() for axis in figure.axes)
    np.testing.assert_allclose(term.lines[0].get_ydata(), [0.08, 0.18])
    np.testing.assert_allclose(term.lines[2].get_ydata(), [0.12, 0.22])
    legends = [
        [text.get_text() for text in axis.get_legend().get_texts()]
        for axis in (weights, values, errors)
    ]
    assert legends == [
        [
            "p_int, 5 to 95 %, mean over seeds",
            "p_int, 25 to 75 %, mean over seeds",
            "threshold",
            "median of p_int",
            "median of p",
        ],
        ["online", "frozen"],
        ["where p > 0", "where p = 0"],
    ]
    np.testing.assert_allclose(errors.lines[-1].get_ydata(), [0.195, 0.295])
    assert "p_int" in weights.get_ylabel()
    # p as it is stored, which is what a soft cut leaves of p_int.
    stored = [line for line in weights.lines if line.get_linestyle() == "--"]
    expected = series["fresh_weight_q50"].values
    found = [line.get_ydata() for line in stored]
    np.testing.assert_allclose(found, [*expected, expected.mean(axis=0)])
    (thresholds,) = (
        found
        for found in weights.collections
        if isinstance(found, collections.LineCollection)
    )
    heights = [path[0, 1] for path in thresholds.get_segments()]
    np.testing.assert_allclose(heights, [0.24, 0.38])  # The last, of either seed.
    # Each seed has one color in all panels, which the picture's legend explains.
    (legend,) = figure.legends
    found = dict(
        zip(
            [text.get_text() for text in legend.get_texts()],
            [line.get_color() for line in legend.get_lines()],
            strict=True,
        )
    )
    assert list(found) == ["seed 3", "seed 4", "mean"]
    assert len(set(found.values())) == 3
    expected = [found["seed 3"], found["seed 4"], found["mean"]]
    for axis in figure.axes:
        drawn = [line.get_color() for line in axis.lines]
        assert drawn == expected * (len(drawn) // 3)
    # Two quantities of a panel differ by the kind of line.
    assert [line.get_linestyle() for line in values.lines] == ["-"] * 3 + ["--"] * 3


def test_a_run_without_guidance_has_no_picture(table, tmp_path):
    series = guidance_curves.read(table)
    del series["fresh_p_int_q50"]
    path = tmp_path / "guidance.png"
    assert guidance_curves.draw(series, path, "a title") is None
    assert not path.exists()


@pytest.mark.parametrize("count", [1, 4, 10, 11, 30])
def test_no_two_seeds_share_a_color(count):
    seeds = tuple(range(5, 5 + count))
    found = figures.seed_colors(seeds)
    assert tuple(found) == seeds
    assert len(set(found.values())) == count
