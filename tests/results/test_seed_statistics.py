"""Numbers over seeds."""

import numpy as np
import pytest
from scipy import stats

from samg_jax.results import seed_statistics


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_interval_is_scipys(count, level):
    values = np.random.default_rng(count).normal(50, 10, count)
    mean, half_width = seed_statistics.interval(values, level)
    expected = stats.ttest_1samp(values, 0).confidence_interval(level)
    assert mean - half_width == pytest.approx(expected.low)
    assert mean + half_width == pytest.approx(expected.high)


def test_interval_by_hand():
    # Four values 1, 2, 3, 4: t(0.975, 3) = 3.1824, deviation 1.2910, over root 4.
    mean, half_width = seed_statistics.interval([1, 2, 3, 4])
    assert mean == 2.5
    assert half_width == pytest.approx(3.1824 * 1.2910 / 2, rel=1e-4)


def test_interval_covers_as_often_as_it_says():
    samples = np.random.default_rng(0).normal(3, 2, (2_000, 4))
    intervals = np.array([seed_statistics.interval(sample, 0.9) for sample in samples])
    covered = np.abs(intervals[:, 0] - 3) <= intervals[:, 1]
    assert covered.mean() == pytest.approx(0.9, abs=0.02)


def test_one_value_has_no_interval():
    mean, half_width = seed_statistics.interval([7.0])
    assert mean == 7.0
    assert np.isnan(half_width)
