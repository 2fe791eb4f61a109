"""Statistics across datasets, against numbers by hand and by simulation."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from rliable import metrics

from samg_jax.results import aggregates, pairing, seed_outcomes, tidy_table
from tests.fixtures import made_suite


def outcomes_of(ends, **changes):
    """Returns outcomes that end in `{(variant, dataset, seed): score}`."""
    rows = [
        made_suite.rows(variant=v, dataset=d, seed=s, scores=(10.0, end), **changes)
        for (v, d, s), end in ends.items()
    ]
    return seed_outcomes.of(tidy_table.check(pd.concat(rows), "made"))


def group_of(**scores):
    """Returns a group with these scores, variant -> `[N, T]`."""
    scores = {name: np.array(own, float) for name, own in scores.items()}
    seeds, tasks = next(iter(scores.values())).shape
    named = tuple(("awac", f"task {index}") for index in range(tasks))
    return aggregates.Group("D4RL", "awac", named, tuple(range(seeds)), scores)


def test_iqm_and_optimality_gap_by_hand():
    # The middle four of eight are 20, 30, 50 and 60; shortfalls from 100 sum to 390.
    group = group_of(samg=[[10, 20], [30, 50], [60, 120], [0, 140]])
    row = aggregates.summary(group, reps=20).iloc[0]
    assert row["iqm"] == 40
    assert row["gap"] == (90 + 80 + 70 + 50 + 40 + 100) / 8


def test_one_seed_has_no_interval():
    group = group_of(vanilla=[[10, 20]], samg=[[30, 50]])
    row = aggregates.summary(group, reps=20).iloc[0]
    assert np.isnan([row["iqm_low"], row["iqm_high"], row["gap_low"]]).all()
    assert np.isnan(aggregates.improvements(group, 20)[["low", "high"]]).all(axis=None)
    _, bands = aggregates.profiles(group, np.array([0.0, 25.0]), 20)
    assert np.isnan(bands["samg"]).all()


def test_the_interval_of_the_iqm_covers_what_it_should():
    # Tables of 10 seeds and 4 tasks of one normal law, whose true IQM is its mean. With
    # so few seeds a percentile bootstrap covers a little less than it is meant to.
    rng, covered, runs = np.random.default_rng(0), 0, 120
    for _ in range(runs):
        scores = rng.normal(50, 10, size=(10, 4))
        row = aggregates.summary(group_of(samg=scores), reps=100).iloc[0]
        covered += row["iqm_low"] <= 50 <= row["iqm_high"]
    assert 0.86 < covered / runs < 0.99


def test_profiles_by_hand():
    group = group_of(samg=[[10, 20], [30, 40]])
    thresholds = np.array([0.0, 10.0, 25.0, 40.0])
    for name, scores in group.scores.items():  # An interval takes five seeds.
        group.scores[name] = np.tile(scores, (3, 1))
    group = dataclasses.replace(group, seeds=tuple(range(6)))
    shares, bands = aggregates.profiles(group, thresholds, 50)
    share, (low, high) = shares["samg"], bands["samg"]
    np.testing.assert_array_equal(share, [1.0, 0.75, 0.5, 0.0])
    assert (low <= share).all()
    assert (share <= high).all()


def test_the_probability_of_improvement_by_hand_and_by_rliable():
    # Task 0: of four pairs SAMG wins two and ties one; task 1: it wins all four.
    group = group_of(vanilla=[[10, 1], [30, 2]], samg=[[20, 5], [10, 6]])
    group.scores["no_data"] = np.array([[20.0, 5.0], [10.0, 6.0]])
    group = dataclasses.replace(group, seeds=tuple(range(6)))
    for name, scores in group.scores.items():
        group.scores[name] = np.tile(scores, (3, 1))
    table = aggregates.improvements(group, 50).set_index("over")
    assert table.loc["vanilla", "probability"] == ((1 + 0.5) / 4 + 1) / 2
    assert table.loc["no_data", "probability"] == 0.5
    assert (table["low"] <= table["probability"]).all()
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, size=(2, 6, 3)).astype(float)
    expected = metrics.probability_of_improvement(first, second)
    np.testing.assert_allclose(aggregates.chance(first, second), [expected])


def test_reports_repeat_and_leave_the_global_generator_alone():
    group = group_of(vanilla=[[10], [30], [35]], samg=[[20], [10], [50]])
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    tables = [aggregates.improvements(group, 50) for _ in range(2)]
    assert np.random.random() == expected  # noqa: NPY002
    pd.testing.assert_frame_equal(*tables)


def test_a_group_has_the_tasks_and_seeds_that_every_variant_finished():
    names = itertools.product(("vanilla", "samg"), ("a", "b", "c"), (0, 1, 2))
    ends = {name: 10.0 * index for index, name in enumerate(names)}
    del ends["samg", "c", 0], ends["samg", "c", 1], ends["samg", "c", 2]
    del ends["vanilla", "a", 1]
    (group,) = aggregates.groups(outcomes_of(ends))
    assert group.tasks == (("awac", "a"), ("awac", "b"))
    assert group.seeds == (0, 2)
    assert group.scores["samg"].tolist() == [
        [ends["samg", "a", 0], ends["samg", "b", 0]],
        [ends["samg", "a", 2], ends["samg", "b", 2]],
    ]


def test_a_variant_of_few_tasks_takes_none_from_the_others():
    names = itertools.product(("vanilla", "samg"), ("a", "b"), (0, 1))
    ends = {name: 10.0 * index for index, name in enumerate(names)}
    expected = aggregates.groups(outcomes_of(ends))
    more = {**ends, ("samg_best", "a", 0): 1.0, ("samg_best", "a", 1): 2.0}
    (group,) = aggregates.groups(outcomes_of(more))
    assert group.tasks == expected[0].tasks == (("awac", "a"), ("awac", "b"))
    assert list(group.scores) == ["vanilla", "samg"]


def test_sources_are_never_pooled_and_returns_not_at_all():
    ends = {(v, "a", s): 1.0 for v in ("vanilla", "samg") for s in (0, 1)}
    local = outcomes_of(ends)
    d4rl = outcomes_of({(v, "b", s): x for (v, _, s), x in ends.items()}).assign(
        data_source="D4RL"
    )
    more = d4rl.assign(algorithm="iql")
    groups = aggregates.groups(pd.concat([local, d4rl, more]))
    assert [(group.source, group.label) for group in groups] == [
        ("D4RL", "awac"),
        ("D4RL", "iql"),
        ("D4RL", aggregates.ALL),
        ("locally collected", "awac"),
    ]
    assert groups[2].tasks == (("awac", "b"), ("iql", "b"))
    assert aggregates.groups(outcomes_of(ends, normalized_score=np.nan)) == []


def test_paired_differences_by_hand():
    ends = {
        ("vanilla", "a", 0): 10.0,
        ("vanilla", "a", 1): 40.0,
        ("vanilla", "a", 2): 99.0,  # Has no partner.
        ("samg", "a", 0): 14.0,
        ("samg", "a", 1): 38.0,
    }
    (row,) = pairing.differences(outcomes_of(ends), "final").to_dict("records")
    assert row["values"].tolist() == [4.0, -2.0]
    assert (row["over"], row["mean"], row["wins"]) == ("vanilla", 1.0, 1)
    assert row["width"] == pytest.approx(12.7062 * 3, rel=1e-4)


def ends_of(gains, seeds=5, **changes):
    """Returns ends of vanilla, and of SAMG above it by the gain on each dataset."""
    ends = {}
    for dataset, gain in gains.items():
        for seed in range(seeds):
            ends["vanilla", dataset, seed] = 30.0 + seed
            ends["samg", dataset, seed] = 30.0 + seed + gain + 0.1 * seed
    return outcomes_of(ends, **changes)


def test_a_pooled_number_takes_three_datasets():
    two = aggregates.groups(ends_of({"a": 20.0, "b": -20.0}))
    three = aggregates.groups(ends_of({"a": 20.0, "b": -20.0, "c": 5.0}))
    assert [aggregates.poolable(group) for group in (*two, *three)] == [False, True]
    # Three algorithms on one dataset are one dataset.
    rows = [ends_of({"a": 20.0}, algorithm=name) for name in ("awac", "iql", "cql")]
    groups = aggregates.groups(pd.concat(rows))
    assert groups[-1].label == aggregates.ALL
    assert not any(map(aggregates.poolable, groups))


def test_an_interval_without_width_is_none():
    # SAMG wins all seeds of two tasks and loses all of a third, whatever is resampled.
    (group,) = aggregates.groups(ends_of({"a": 20.0, "b": -20.0, "c": 25.0}))
    (row,) = aggregates.improvements(group, 50).to_dict("records")
    assert row["probability"] == pytest.approx(2 / 3)
    assert np.isnan([row["low"], row["high"]]).all()
    assert row["above"] == 2
    # The scores themselves do vary with the seeds.
    table = aggregates.summary(group, 50)
    assert (table["iqm_low"] < table["iqm_high"]).all()


def test_four_seeds_have_no_interval_and_five_do():
    for seeds, known in ((4, False), (5, True)):
        rng = np.random.default_rng(0)
        scores = {name: rng.normal(50, 10, (seeds, 3)) for name in ("vanilla", "samg")}
        group = group_of(**scores)
        table = aggregates.improvements(group, 50)
        assert np.isfinite(table[["low", "high"]]).all(axis=None) == known
        _, bands = aggregates.profiles(group, np.array([50.0]), 50)
        assert np.isfinite(bands["samg"]).all() == known


def with_budget(outcomes, dataset, variant=None, **budget):
    """Returns the outcomes with another budget where dataset and variant are these."""
    outcomes = outcomes.copy()
    chosen = outcomes["dataset"] == dataset
    if variant:
        chosen &= outcomes["variant"] == variant
    for name, value in budget.items():
        outcomes.loc[chosen, name] = value
    return outcomes


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"steps": 5000.0}, "5,000 steps"),
        ({"updates": 700}, "700 updates, 1,000 steps"),
        ({"networks": "64x64"}, "1,000 steps, 64x64"),
    ],
)
def test_different_budgets_are_never_pooled(budget, words):
    found = ends_of({"a": 5.0, "b": 6.0, "c": 7.0, "d": 8.0})
    (whole,) = aggregates.groups(found)
    assert len(whole.tasks) == 4
    groups = aggregates.groups(with_budget(found, "d", **budget))
    labels = {group.label: group.tasks for group in groups}
    assert labels == {
        "awac, 1,000 steps": (("awac", "a"), ("awac", "b"), ("awac", "c")),
        f"awac, {words}": (("awac", "d"),),
    }
    # Variants of one task with different budgets are in no pool, nor a difference.
    unequal = with_budget(found, "d", "samg", **budget)
    (group,) = aggregates.groups(unequal)
    assert len(group.tasks) == 3
    assert set(pairing.differences(unequal, "final")["dataset"]) == {"a", "b", "c"}
    assert pairing.incomparable(unequal) == [("awac", "d", "vanilla")]


@pytest.mark.parametrize(
    ("values", "known"),
    [
        ([1.0, 1.1, 0.9, 1.0, 1.2], True),
        ([-1.0, -1.1, -0.9, -1.0, -1.2], True),
        ([1.0, -1.1, 0.9, -1.0, 1.2], False),
        ([1.0, 1.1, 0.9, 1.0], False),  # Four seeds.
        ([2.0] * 5, False),  # An interval without a width.
        ([0.1 + 0.2, 0.3, 0.3, 0.3, 0.3], False),
    ],
)
def test_what_an_interval_establishes(values, known):
    assert pairing.established(np.array(values)) is known
