"""Reading a run's table, and its picture."""

import itertools
import pathlib
import shutil

import matplotlib
import numpy as np
import pytest
from matplotlib import image

from samg_jax.results import curves
from samg_jax.runs import evaluation, lifecycle, run_output
from tests.fixtures import small_runs


def rows(phase, seeds=(0, 1), steps=3, score=50.0):
    return [
        curves.Row(
            phase=phase,
            seed=seed,
            offline_step=100 if phase == "online" else 10 * step,
            env_step=20 * step if phase == "online" else 0,
            return_mean=3.0 * step + seed,
            return_std=1.0,
            normalized_score=score + step + seed,
            episode_length=9.0,
            failed=0,
        )
        for step in range(1, steps + 1)
        for seed in seeds
    ]


@pytest.fixture
def drawn(tmp_path, figures):
    """Draws; returns what is in the figure, and checks the picture."""

    def drawn(table):
        path = tmp_path / "curve.png"
        assert curves.draw(table, path, "a title") == path
        (figure,) = figures
        height, width, _ = image.imread(path).shape
        assert (width, height) == tuple(figure.get_size_inches() * 150)
        assert figure.get_suptitle() == "a title"
        return figure.axes

    return drawn


def legend(axis):
    (found,) = axis.figure.legends
    return [text.get_text() for text in found.get_texts()]


def lines(axis):
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axis.lines]


def test_no_display_is_needed():
    assert matplotlib.get_backend().lower() == "agg"


def test_table_is_read_as_the_writer_wrote_it(tmp_path):
    writer = run_output.Writer(tmp_path, np.array([4, 7]), tensorboard=False)
    scores = evaluation.Scores(
        returns=np.array([[1.0, 3.0], [0.1, 0.1]]),
        normalized=np.array([12.345678901234567, np.nan]),
        lengths=np.array([10.0, 20.5]),
    )
    writer.evaluation("online", (100, 30), scores, np.array([True, False]))
    writer.close()
    first, second = curves.read(tmp_path / "metrics.csv")
    assert first == ("online", 4, 100, 30, 2.0, 1.0, 12.345678901234567, 10.0, 0, "")
    assert second[:6] == ("online", 7, 100, 30, 0.1, 0.0)
    assert np.isnan(second.normalized_score)
    assert second[7:] == (20.5, 1, "")
    assert curves.Row._fields == (
        *run_output.EVALUATION_COLUMNS,
        run_output.SWEEP_COLUMN,
    )


def test_a_sweep_has_a_column_a_curve_and_a_tag_per_combination(tmp_path, drawn):
    writer = run_output.Writer(tmp_path, np.array([4]), sweep=True)
    tags = []
    writer._events.add_scalars = lambda values, _: tags.extend(values)
    scores = evaluation.Scores(np.ones((1, 2)), np.array([50.0]), np.ones(1))
    writer.evaluation("offline", (100, 0), scores, np.array([True]))
    labels = ("threshold=0.3 tau=1", "threshold=1e-2 tau=1")
    writer.places = [(4, label) for label in labels]
    scores = evaluation.Scores(np.ones((2, 2)), np.array([50.0, 60.0]), np.ones(2))
    writer.evaluation("online", (100, 0), scores, np.array([True, True]))
    writer.training("online", (100, 0), {"loss": np.array([1.0, 2.0])})
    writer.close()

    table = curves.read(tmp_path / "metrics.csv")
    assert [row.sweep for row in table] == ["", *labels]
    assert list(curves.by_combination(table)) == list(labels)
    assert [row.normalized_score for row in table] == [50.0, 50.0, 60.0]
    lines_ = (tmp_path / "training.csv").read_text().splitlines()
    assert lines_[1:] == [
        f"online,4,{label},100,0,loss,{value}"
        for label, value in zip(labels, (1.0, 2.0), strict=True)
    ]
    assert "offline/normalized_score/seed_4" in tags
    assert "online/loss/seed_4_threshold_0.3_tau_1" in tags
    assert "online/loss/seed_4_threshold_1e_2_tau_1" in tags

    offline, online = drawn(table)
    assert len(offline.lines) == 2
    texts = legend(online)
    assert texts == [f"{label}, seed 4" for label in labels]
    shades = {tuple(line.get_color()) for line in online.lines}
    assert len(shades) == 2


def test_both_phases_are_drawn_side_by_side(drawn):
    offline, online = drawn([*rows("offline"), *rows("online")])
    assert offline.get_xlabel() == "offline: gradient updates"
    assert online.get_xlabel() == "online: environment steps"
    assert offline.get_ylabel() == "normalized score"
    assert lines(offline) == [
        ([10, 20, 30], [51, 52, 53]),
        ([10, 20, 30], [52, 53, 54]),
        ([10, 20, 30], [51.5, 52.5, 53.5]),
    ]
    assert lines(online)[-1] == ([20, 40, 60], [51.5, 52.5, 53.5])
    assert legend(online) == ["seed 0", "seed 1", "mean of seeds 0-1, 95 % band"]
    # Student's t of two seeds that are 1 apart.
    (band,) = online.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(51.5 - 12.7062 / 2, rel=1e-4)
    assert heights.max() == pytest.approx(53.5 + 12.7062 / 2, rel=1e-4)


def test_the_labels_of_the_steps_do_not_touch(drawn):
    table = [row._replace(env_step=100 * row.env_step) for row in rows("online")]
    table += [row._replace(env_step=12_000) for row in rows("online", steps=1)]
    offline, online = drawn([*rows("offline"), *table])
    for axis in (offline, online):
        boxes = [
            label.get_window_extent()
            for label in axis.get_xticklabels()
            if label.get_text()
            and 0
            <= axis.transAxes.inverted().transform(
                label.get_window_extent().get_points().mean(axis=0)
            )[0]
            <= 1
        ]
        assert len(boxes) > 2
        assert all(left.x1 + 4 < right.x0 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ((3, 9, 40), "mean of seeds 3, 9, 40, 95 % band"),
        (tuple(range(12)), "mean of seeds 0-11, 95 % band"),
        (tuple(range(0, 24, 2)), "mean of seeds 0, ..., 22 (12), 95 % band"),
    ],
)
def test_the_legend_names_the_seeds_below_the_axes(drawn, seeds, words):
    (axis,) = drawn(rows("online", seeds=seeds))
    names = legend(axis)
    assert names[-1] == words
    assert len(names) == (1 + len(seeds) if len(seeds) <= curves.NAMED else 1)
    (box,) = axis.figure.legends
    assert box.get_window_extent().y1 < axis.get_window_extent().y0


@pytest.mark.parametrize("phase", ["offline", "online"])
def test_one_phase_is_drawn_alone(drawn, phase):
    (axis,) = drawn(rows(phase, seeds=(5,)))
    assert axis.get_xlabel().startswith(f"{phase}: ")
    assert len(axis.lines) == 2
    assert lines(axis)[0] == lines(axis)[1]  # One seed is its own mean.


def test_returns_are_drawn_where_there_is_no_reference(drawn):
    (axis,) = drawn(rows("online", score=np.nan))
    assert axis.get_ylabel() == "return"
    assert lines(axis)[-1] == ([20, 40, 60], [3.5, 6.5, 9.5])


def test_single_evaluation_is_a_visible_point(drawn):
    (axis,) = drawn(rows("online", steps=1))
    assert axis.lines[-1].get_marker() == "o"


def test_nothing_to_draw_is_still_a_picture(drawn):
    (axis,) = drawn([])
    assert not axis.lines


def test_a_run_on_a_file_of_any_name_ends_with_its_pictures(dataset, tmp_path, capsys):
    path = tmp_path / f"cost$ & %_<b> {'x' * 200}.hdf5"
    shutil.copy(dataset, path)
    workdir = tmp_path / "run"
    shorter = {"offline__updates": 10, "online__steps": 10, "pictures": True}
    small_runs.run("awac_samg", path, workdir, **shorter, online__warmup_steps=5)
    assert f"learning curves: {workdir / 'curve.png'}" in capsys.readouterr().out
    assert image.imread(workdir / "curve.png").size
    assert image.imread(workdir / "guidance.png").size
    config = small_runs.config("awac_samg", path)
    with config.unlocked():
        config.sweep = ("guidance.threshold=0.1,0.2",) * 30
    folders = pathlib.Path(lifecycle.default_workdir(config)).parts
    assert all(len(part.encode()) <= 255 for part in folders)
