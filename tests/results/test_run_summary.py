"""The picture of a run that is under way."""

import math

import numpy as np
import pytest
from matplotlib import image

from samg_jax.results import curves, run_summary
from samg_jax.runs import evaluation, live_run, run_output
from tests.fixtures import small_runs


@pytest.fixture
def run(dataset, tmp_path):
    """A run of two seeds that has evaluated once."""
    writer = run_output.Writer(tmp_path, np.array([0, 1]), tensorboard=False)
    scores = evaluation.Scores(np.ones((2, 3)), np.array([40.0, 50.0]), np.ones(2))
    writer.evaluation("offline", (10, 0), scores, np.array([True, True]))
    config = small_runs.config("awac_samg", dataset)
    yield live_run.Run(config, None, tmp_path, None, None, writer=writer)
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

    monkeypatch.setattr(curves, "draw", bad)
    for _ in range(3):
        run_summary.redraw(run)
    assert caplog.text.count("ZeroDivisionError: a bug of ours") == 1
    assert run.next_drawing == math.inf
