"""Numbers over seeds."""

import numpy as np
import pytest
from scipy import stats

from samg_jax.results import curves, seed_statistics


def rows(phase, seed, values, failed=0):
    """Returns evaluations with these scores; the return is ten times the score."""
    return [
        curves.Row(phase, seed, 5, 10 * i, 10 * value, 0.0, value, 7.0, failed)
        for i, value in enumerate(values)
    ]


def cells(line):
    """Returns the numbers of a line behind its title of 18 characters."""
    return [float(cell.strip("±")) for cell in line[18:].split()]


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


def test_closing_table_by_hand():
    table = seed_statistics.closing_table(
        [
            *rows("offline", 0, [1, 99]),
            *rows("offline", 3, [1, 99]),
            *rows("online", 0, [20, 0, 50]),
            *rows("online", 3, [40, 0, 50]),
        ],
        normalized=True,
    )
    assert table.splitlines() == [
        "normalized score      offline      final     change",
        "seed 0                   20.0       50.0      +30.0",
        "seed 3                   40.0       50.0      +10.0",
        "mean                     30.0       50.0      +20.0",
        "95 % interval          ±127.1       ±0.0     ±127.1",
    ]


def test_rows_may_be_in_any_order_of_seeds():
    mixed = [*rows("online", 1, [1, 2]), *rows("online", 0, [3, 4])]
    ordered = sorted(mixed, key=lambda row: (row.env_step, row.seed))
    assert seed_statistics.closing_table(mixed, True) == seed_statistics.closing_table(
        ordered, True
    )


def test_returns_are_shown_where_there_is_no_reference():
    table = seed_statistics.closing_table(rows("online", 0, [20, 50]), normalized=False)
    title, line, *_ = table.splitlines()
    assert title.startswith("return ")
    assert cells(line) == [200, 500, 300]


def test_single_seed_has_a_mean_and_no_interval():
    table = seed_statistics.closing_table(rows("online", 4, [20, 50]), normalized=True)
    assert len(table.splitlines()) == 3
    assert cells(table.splitlines()[-1]) == [20, 50, 30]
    assert "nan" not in table


def test_failed_seeds_are_named_and_left_out_of_the_mean():
    table = seed_statistics.closing_table(
        [
            *rows("online", 0, [10, 30]),
            *rows("online", 1, [10, 1], failed=1),
            *rows("online", 2, [20, 50]),
        ],
        normalized=True,
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
    table = seed_statistics.closing_table(
        [*rows("online", 0, [1, 2], 1), *rows("online", 1, [1, 2], 1)], normalized=True
    )
    assert len(table.splitlines()) == 3
    assert "mean" not in table


def test_seed_that_fails_late_counts_as_failed():
    first, last = rows("online", 0, [1, 2])
    table = seed_statistics.closing_table([first, last._replace(failed=1)], True)
    assert "failed" in table


def test_without_fine_tuning_there_is_one_score_and_no_change():
    both = [*rows("offline", 0, [1, 60]), *rows("offline", 3, [1, 40])]
    title, *lines = seed_statistics.closing_table(both, normalized=True).splitlines()
    assert title == "normalized score      offline"
    assert [cells(line) for line in lines[:3]] == [[60], [40], [50]]
    assert "final" not in title
    (course, _) = seed_statistics.courses(both, True)
    assert (course.start, course.end) == (60, 60)
