"""Dip, recovery, area and regret of a seed, by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from samg_jax.results import outcome_tables, pairing, seed_outcomes, tidy_table
from tests.fixtures import made_suite

STEPS = [0, 1000, 2000, 4000]


@pytest.mark.parametrize(
    ("steps", "scores", "change", "recovery"),
    [
        # The first evaluation after the switch is later than a fifth of 4,000 steps.
        (STEPS, [50, 42, 47, 50], -8, 4000),
        (STEPS, [50, 42, 47, 49], -8, math.inf),
        (STEPS, [50, 40, 60, 45], -10, 2000),
        (STEPS, [50, 51, 40, 50], 1, 0),
        # Two evaluations are in the first fifth; the score of the switch is none.
        ([0, 100, 200, 300, 1000], [50, 40, 46, 52, 60], -7, 300),
        ([0, 100, 200, 300, 1000], [50, 40, 60, 20, 60], 0, 0),
    ],
)
def test_the_dip_by_hand(steps, scores, change, recovery):
    assert seed_outcomes.dip(steps, scores) == (change, recovery)


def test_the_dip_begins_after_the_warm_up():
    steps, scores = np.arange(0, 1200, 100), [50, 50, 50, 40, 46, *[60] * 7]
    assert seed_outcomes.dip(steps, scores, 200) == (-10, 500)
    frame = tidy_table.check(made_suite.rows(scores=(50, 50, 40, 60)), "made")
    (row,) = seed_outcomes.of(frame.assign(warmup=1000)).to_dict("records")
    assert (row["dip"], row["recovery"]) == (-10, 3000)
    assert np.isnan(seed_outcomes.dip(steps, scores, 1100)).all()


def test_the_dip_is_not_biased_by_noise():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 5, (4000, 51))
    changes = [seed_outcomes.dip(np.arange(51), own).change for own in noise]
    lowest = np.mean(noise.min(axis=1) - noise[:, 0])
    assert abs(np.mean(changes)) < 0.3
    assert lowest < -10  # What a minimum would say of scores that do not change.


def test_a_seed_that_was_evaluated_once_has_no_dip():
    assert np.isnan(seed_outcomes.dip([0], [50])).all()


def test_the_area_by_hand():
    # 45 over the first thousand, 50 over the second, 55 over the last two.
    assert seed_outcomes.area(STEPS, [50, 40, 60, 50]) == (45 + 50 + 2 * 55) / 4
    assert math.isnan(seed_outcomes.area([0], [50]))


def test_a_seed_by_hand():
    regret = [np.nan, 1.0, 0.75]
    frame = tidy_table.check(
        made_suite.rows(scores=(40.0, 30.0, 46.0), regret=regret), "made"
    )
    (row,) = seed_outcomes.of(frame).to_dict("records")
    assert (row["start"], row["final"], row["steps"]) == (40, 46, 2000)
    assert (row["dip"], row["recovery"], row["area"]) == (-10, 2000, 36.5)
    assert (row["regret"], row["status"]) == (0.75, "")


def test_seeds_that_failed_or_are_under_way_are_left_out_and_named():
    rows = [
        made_suite.rows(seed=0).assign(failed=0),
        made_suite.rows(seed=1, scores=(40.0, 30.0)).assign(failed=0),
        made_suite.rows(seed=2).assign(failed=[0, 1, 1]),
        made_suite.rows(seed=3, scores=(40.0, 30.0, np.nan)).assign(failed=0),
    ]
    found = seed_outcomes.of(tidy_table.check(pd.concat(rows), "made"))
    assert list(found["status"]) == ["", "unfinished", "failed", "failed"]
    assert list(seed_outcomes.finished(found)["seed"]) == [0]
    assert seed_outcomes.left_out(found) == (
        "Left out of the statistics: failed hopper-local awac samg seed 2, 3; "
        "unfinished hopper-local awac samg seed 1."
    )
    assert seed_outcomes.left_out(seed_outcomes.finished(found)) == ""


def test_a_variant_with_fewer_steps_is_finished_and_warned_of():
    rows = [
        made_suite.rows(variant="vanilla", seed=0),
        made_suite.rows(variant="vanilla", seed=1),
        made_suite.rows(variant="samg", seed=0, scores=(40.0, 30.0)),
        made_suite.rows(variant="samg", seed=1, scores=(40.0,)),
    ]
    frame = tidy_table.check(pd.concat(rows), "made")
    found = seed_outcomes.of(frame).set_index(["variant", "seed"])["status"]
    assert found.to_dict() == {
        ("samg", 0): "",
        ("samg", 1): "unfinished",
        ("vanilla", 0): "",
        ("vanilla", 1): "",
    }
    assert tidy_table.disclaimer(frame) == (
        "Locally collected, not D4RL: hopper-local; "
        "Variants with different steps: hopper-local awac"
    )


def test_the_line_of_a_dataset_by_hand():
    rows = [
        made_suite.rows(seed=0, scores=(40.0, 30.0, 50.0)),
        made_suite.rows(seed=1, scores=(44.0, 40.0, 42.0)),
        made_suite.rows("bc", "offline", seed=0, scores=(7.0, 9.0), phase="offline"),
    ]
    frame = tidy_table.check(pd.concat(rows), "made")
    table = outcome_tables.of_dataset(frame, seed_outcomes.of(frame), "hopper-local")
    assert table.rows[0] == (
        "awac",
        "samg",
        "2",
        "2,000",
        "42.0 (40.0, 44.0)",
        "46.0 (50.0, 42.0)",
        "4.0 (10.0, -2.0)",
        "-7.0 (-10.0, -4.0)",
        "2,000 (1 of 2)",
        "39.5 (37.5, 41.5)",
        "-",
    )
    assert table.rows[1] == ("bc", "offline only", "1", "-", "9.0", *["-"] * 6)
    assert table.disclaimer == "Locally collected, not D4RL: hopper-local"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "-"),
        ([4.0, np.nan], "-"),
        ([4.0], "4.0"),
        ([4.0, 6.0], "5.0 (4.0, 6.0)"),
        ([1.0, 2.0, 3.0, 4.0], "2.5 (1.0, 2.0, 3.0, 4.0)"),
        # t(0.975, 4) = 2.776 times the standard error, the root of 2.5 / 5.
        ([1.0, 2.0, 3.0, 4.0, 5.0], "3.0 ± 2.0"),
        ([7.0] * 5, "7.0 (all 5)"),
    ],
)
def test_under_five_seeds_there_are_seeds_and_no_interval(values, words):
    assert outcome_tables.interval(values) == words


def test_the_budget_of_a_seed_has_its_pre_training_steps_and_networks():
    rows = [
        made_suite.rows(),
        made_suite.rows("awac", "offline", phase="offline", step=[10, 20, 30]),
        made_suite.rows("iql"),
    ]
    found = seed_outcomes.of(tidy_table.check(pd.concat(rows), "made"))
    budgets = list(pairing.budgets(found))
    assert budgets == [(30, 2000, ""), (-1, 2000, "")]
    assert pairing.budget_text((30_000, 2000, "256x256")) == (
        "30,000 updates, 2,000 steps, 256x256"
    )
    assert pairing.budget_text(budgets[1]) == "2,000 steps"
