"""The picture of a run that is under way, and its closing table."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from samg_jax.experiment import resolve
from samg_jax.results import learning_curves, run_files, run_summary, seed_statistics
from samg_jax.runs import evaluation, live_run, run_output
from tests.fixtures import small_runs


@pytest.fixture
def run(dataset, tmp_path):
    """A run of two seeds that has evaluated once."""
    writer = run_output.Writer(tmp_path, np.array([0, 1]), tensorboard=False)
    scores = evaluation.Scores(np.ones((2, 3)), np.array([40.0, 50.0]), np.ones(2))
    writer.evaluation("offline", (10, 0), scores, np.array([True, True]))
    experiment = resolve.experiment(small_runs.config("awac_samg", dataset))
    yield live_run.Run(experiment, tmp_path, None, None, writer=writer)
    writer.close()


def test_a_run_under_way_is_drawn_but_not_at_every_moment(run, monkeypatch):
    path = run.workdir / "curve.png"
    now = 100.0
    monkeypatch.setattr(run_summary.time, "monotonic", lambda: now)
    run_summary.redraw(run)
    assert image.imread(path).size
    assert run.next_drawing == now + run_summary.PAUSE_S
    path.unlink()
    now += run_summary.PAUSE_S - 1
    run_summary.redraw(run)
    assert not path.exists()
    now += 1
    run_summary.redraw(run)
    assert path.exists()


def test_a_slow_drawing_is_repeated_less_often(run, monkeypatch):
    times = iter([100.0, 103.0])  # It takes three seconds.
    monkeypatch.setattr(run_summary.time, "monotonic", lambda: next(times))
    run_summary.redraw(run)
    assert run.next_drawing == 103.0 + run_summary.PAUSE_TIMES * 3.0


def test_a_drawing_that_fails_is_one_warning(run, monkeypatch, caplog):
    def bad(*_):
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(learning_curves, "draw_run", bad)
    for _ in range(3):
        run_summary.redraw(run)
    assert caplog.text.count("ZeroDivisionError: a bug of ours") == 1
    assert run.next_drawing == math.inf


def rows(phase, seed, values, failed=0):
    """Returns evaluations with these scores; the return is ten times the score."""
    return [
        run_files.Row(phase, seed, 5 + i, 10 * i, 10 * value, 0.0, value, 7.0, failed)
        for i, value in enumerate(values)
    ]


def cells(line):
    """Returns the numbers of a line behind its title of 18 characters."""
    return [float(cell.strip("±")) for cell in line[18:].split()]


def closed(rows):
    """Returns the closing table of these rows."""
    return run_summary.closing_tables(pd.DataFrame(rows))


def test_closing_table_by_hand():
    table = closed(
        [
            *rows("offline", 0, [1, 99]),
            *rows("offline", 3, [1, 99]),
            *rows("online", 0, [20, 0, 50]),
            *rows("online", 3, [40, 0, 50]),
        ],
    )
    assert table.splitlines() == [
        "normalized score      offline      final     change",
        "seed 0                   20.0       50.0      +30.0",
        "seed 3                   40.0       50.0      +10.0",
        "mean                     30.0       50.0      +20.0",
        "95 % interval          ±127.1       ±0.0     ±127.1",
    ]


def test_returns_are_shown_where_there_is_no_reference():
    made = rows("online", 0, [20, 50])
    table = closed([row._replace(normalized_score=np.nan) for row in made])
    title, line, *_ = table.splitlines()
    assert title.startswith("return ")
    assert cells(line) == [200, 500, 300]


def test_single_seed_has_a_mean_and_no_interval():
    table = closed(rows("online", 4, [20, 50]))
    assert len(table.splitlines()) == 3
    assert cells(table.splitlines()[-1]) == [20, 50, 30]
    assert "nan" not in table


def test_failed_seeds_are_named_and_left_out_of_the_mean():
    table = closed(
        [
            *rows("online", 0, [10, 30]),
            *rows("online", 1, [10, 1], failed=1),
            *rows("online", 2, [20, 50]),
        ],
    )
    lines = table.splitlines()
    assert [line.endswith("failed") for line in lines] == [0, 0, 1, 0, 0, 0]
    assert (
        lines[4]
        == "mean                     15.0       40.0      +25.0  of 2 that lasted"
    )
    assert cells(lines[5])[2] == pytest.approx(
        seed_statistics.interval([20.0, 30.0])[1], abs=0.05
    )


def test_all_seeds_failed():
    table = closed([*rows("online", 0, [1, 2], 1), *rows("online", 1, [1, 2], 1)])
    assert len(table.splitlines()) == 3
    assert "mean" not in table


def test_seed_that_fails_late_counts_as_failed():
    first, last = rows("online", 0, [1, 2])
    table = closed([first, last._replace(failed=1)])
    assert "failed" in table


def test_without_fine_tuning_there_is_one_score_and_no_change():
    both = [*rows("offline", 0, [1, 60]), *rows("offline", 3, [1, 40])]
    title, *lines = closed(both).splitlines()
    assert title == "normalized score      offline"
    assert [cells(line) for line in lines[:3]] == [[60], [40], [50]]
    assert "final" not in title
