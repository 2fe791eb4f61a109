"""Dip, recovery, area and regret of a seed, by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from samg_jax.reporting import courses, results, summaries
from tests.reporting import made

STEPS = [0, 1000, 2000, 4000]


@pytest.mark.parametrize(
    ("scores", "depth", "recovery"),
    [
        ([50, 42, 47, 50], 8, 4000),
        ([50, 42, 47, 49], 8, math.inf),
        ([50, 51, 52, 50], 0, 0),
        # It was back at once, but fell further later on: that is its dip.
        ([50, 45, 55, 40], 10, math.inf),
        ([50, 40, 60, 45], 10, 2000),
    ],
)
def test_the_dip_by_hand(scores, depth, recovery):
    assert courses.dip(STEPS, scores) == (depth, recovery)


def test_the_area_by_hand():
    # 45 over the first thousand, 50 over the second, 55 over the last two.
    assert courses.area(STEPS, [50, 40, 60, 50]) == (45 + 50 + 2 * 55) / 4
    assert math.isnan(courses.area([0], [50]))


def test_a_seed_by_hand():
    regret = [np.nan, 1.0, 0.75]
    frame = results.check(made.rows(scores=(40.0, 30.0, 46.0), regret=regret), "made")
    (row,) = courses.of(frame).to_dict("records")
    assert (row["start"], row["final"], row["steps"]) == (40, 46, 2000)
    assert (row["depth"], row["recovery"], row["area"]) == (10, 2000, 36.5)
    assert (row["regret"], row["status"]) == (0.75, "")


def test_seeds_that_failed_or_are_under_way_are_left_out_and_named():
    rows = [
        made.rows(seed=0).assign(failed=0),
        made.rows(seed=1, scores=(40.0, 30.0)).assign(failed=0),
        made.rows(seed=2).assign(failed=[0, 1, 1]),
        made.rows(seed=3, scores=(40.0, 30.0, np.nan)).assign(failed=0),
    ]
    found = courses.of(results.check(pd.concat(rows), "made"))
    assert list(found["status"]) == ["", "unfinished", "failed", "failed"]
    assert list(courses.finished(found)["seed"]) == [0]
    assert courses.left_out(found) == (
        "Left out of the statistics: failed hopper-local awac samg seed 2, 3; "
        "unfinished hopper-local awac samg seed 1."
    )
    assert courses.left_out(courses.finished(found)) == ""


def test_a_variant_with_fewer_steps_is_finished_and_warned_of():
    rows = [
        made.rows(variant="vanilla", seed=0),
        made.rows(variant="vanilla", seed=1),
        made.rows(variant="samg", seed=0, scores=(40.0, 30.0)),
        made.rows(variant="samg", seed=1, scores=(40.0,)),
    ]
    frame = results.check(pd.concat(rows), "made")
    found = courses.of(frame).set_index(["variant", "seed"])["status"]
    assert found.to_dict() == {
        ("samg", 0): "",
        ("samg", 1): "unfinished",
        ("vanilla", 0): "",
        ("vanilla", 1): "",
    }
    assert results.caution(frame) == (
        "Locally collected, not D4RL: hopper-local; "
        "Variants with different steps: hopper-local awac"
    )


def test_the_line_of_a_dataset_by_hand():
    rows = [
        made.rows(seed=0, scores=(40.0, 30.0, 50.0)),
        made.rows(seed=1, scores=(44.0, 40.0, 42.0)),
        made.rows("bc", "offline", seed=0, scores=(7.0, 9.0), phase="offline"),
    ]
    frame = results.check(pd.concat(rows), "made")
    table = summaries.of_dataset(frame, courses.of(frame), "hopper-local")
    assert table.rows[0] == (
        "awac",
        "samg",
        "2",
        "2,000",
        "42.0 (40.0, 44.0)",
        "46.0 (50.0, 42.0)",
        "4.0 (10.0, -2.0)",
        "7.0 (10.0, 4.0)",
        "2,000 (1 of 2)",
        "39.5 (37.5, 41.5)",
        "-",
    )
    assert table.rows[1] == ("bc", "offline only", "1", "-", "9.0", *["-"] * 6)
    assert table.caution == "Locally collected, not D4RL: hopper-local"


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
    assert summaries.interval(values) == words


def test_the_budget_of_a_seed_has_its_pre_training_steps_and_networks():
    rows = [
        made.rows(),
        made.rows("awac", "offline", phase="offline", step=[10, 20, 30]),
        made.rows("iql"),
    ]
    found = courses.of(results.check(pd.concat(rows), "made"))
    budgets = list(courses.budgets(found))
    assert budgets == [(30, 2000, ""), (-1, 2000, "")]
    assert courses.budget_text((30_000, 2000, "256x256")) == (
        "30,000 updates, 2,000 steps, 256x256"
    )
    assert courses.budget_text(budgets[1]) == "2,000 steps"
