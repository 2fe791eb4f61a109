"""The picture of a run that is under way."""

import math

import numpy as np
import pytest
from matplotlib import image

from samg_jax.analysis import curves, summary
from samg_jax.training import evaluation, metrics
from samg_jax.training import runs as training_runs
from tests import runs


@pytest.fixture
def run(dataset, tmp_path):
    """A run of two seeds that has evaluated once."""
    writer = metrics.Writer(tmp_path, np.array([0, 1]), tensorboard=False)
    scores = evaluation.Scores(np.ones((2, 3)), np.array([40.0, 50.0]), np.ones(2))
    writer.evaluation("offline", (10, 0), scores, np.array([True, True]))
    config = runs.config("awac_samg", dataset)
    yield training_runs.Run(config, None, tmp_path, None, None, writer=writer)
    writer.close()


def test_a_run_under_way_is_drawn_but_not_at_every_moment(run, monkeypatch):
    path = run.workdir / "curve.png"
    now = 100.0
    monkeypatch.setattr(summary.time, "monotonic", lambda: now)
    summary.redraw(run)
    assert image.imread(path).size
    assert run.next_drawing == now + summary.PAUSE_S
    path.unlink()
    now += summary.PAUSE_S - 1
    summary.redraw(run)
    assert not path.exists()
    now += 1
    summary.redraw(run)
    assert path.exists()


def test_a_slow_drawing_is_repeated_less_often(run, monkeypatch):
    times = iter([100.0, 103.0])  # It takes three seconds.
    monkeypatch.setattr(summary.time, "monotonic", lambda: next(times))
    summary.redraw(run)
    assert run.next_drawing == 103.0 + summary.PAUSE_TIMES * 3.0


def test_a_drawing_that_fails_is_one_warning(run, monkeypatch, caplog):
    def bad(*_):
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(curves, "draw", bad)
    for _ in range(3):
        summary.redraw(run)
    assert caplog.text.count("ZeroDivisionError: a bug of ours") == 1
    assert run.next_drawing == math.inf
