"""Differences of runs from the first of them, paired by seed."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from samg_jax.results import pairing
from samg_jax.results.seed_statistics import SeedOutcome
from tests.fixtures import made_outcomes


def course(seed, scores, failed=False):
    values = list(scores.values())
    return SeedOutcome(seed, values[0], values[-1], min(values), failed, scores)


def outcome(variant, courses, guidance=None):
    return made_outcomes.made(
        variant=variant, courses=tuple(courses), guidance=guidance or {}
    )


ENDS = {"paper": [40.0, 50.0, 33.0], "best": [41.0, 55.0, 30.0]}


def made(variant):
    courses = [
        course(seed, {0: 1000.0, 10: end + 2.0 * seed, 20: end})
        for seed, end in enumerate(ENDS[variant])
    ]
    return outcome(variant, courses)


def test_the_paired_difference_is_scipys_paired_interval():
    lines = pairing.table([made("paper"), made("best")]).splitlines()
    assert lines[2] == "| awac | paper | | | | - | - |"
    interval = stats.ttest_rel(ENDS["best"], ENDS["paper"]).confidence_interval(0.95)
    mean, width = np.mean(interval), (interval.high - interval.low) / 2
    cells = lines[3].strip("| ").split(" | ")
    assert cells[2:4] == ["3", f"{mean:+.1f} ± {width:.1f}"]
    # Both gain the same between the evaluations; the score at the switch is no part.
    assert cells[4] == cells[3]


def test_only_seeds_that_stayed_finite_in_both_are_paired():
    first = outcome(
        "paper",
        [course(0, {0: 1.0, 5: 2.0}), course(1, {0: 1.0, 5: 90.0}, failed=True)],
    )
    other = outcome("best", [course(0, {0: 1.0, 5: 6.0}), course(1, {0: 1.0, 5: 7.0})])
    ends, means = pairing.differences(first, other)
    np.testing.assert_array_equal([ends, means], [[4.0], [4.0]])
    assert "| 1 | +4.0 | +4.0 |" in pairing.table([first, other])


def test_what_the_guidance_was_is_a_mean_over_seeds():
    guidance = {"weight_active": (0.2, 0.4), "guidance_term": (0.01, 0.02)}
    first = dataclasses.replace(made("paper"), guidance=guidance)
    line = pairing.table([first, made("best")]).splitlines()[2]
    assert line.endswith("| 0.30 | 0.015 |")


def test_the_json_has_every_score():
    read = json.loads(pairing.text([made("paper"), made("best")], "bash x"))
    assert read["command"] == "bash x"
    assert [run["variant"] for run in read["runs"]] == ["paper", "best"]
    scores = [seed["scores"]["20"] for seed in read["runs"][1]["seeds"]]
    assert scores == ENDS["best"]


def test_one_run_or_one_without_fine_tuning_has_nothing_to_be_paired():
    offline = dataclasses.replace(made("best"), steps=0, variant="offline")
    for compared in ([made("paper")], [made("paper"), offline]):
        with pytest.raises(ValueError, match="leave paired out"):
            pairing.table(compared)
