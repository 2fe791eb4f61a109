"""The three sentences on top of the report, from results whose outcome is known."""

import pandas as pd
import pytest

from samg_jax.results import seed_outcomes, tidy_table, verdict
from tests.fixtures import made_suite


def said(gains, seeds=5, noise=0.2, **changes):
    """Returns the sentences on a suite in which SAMG gains that much on each dataset.

    Args:
        gains: dataset -> mean difference of the final scores, SAMG minus vanilla.
        seeds: of each variant.
        noise: by which the difference of a seed is above that of the one before it.
        **changes: of `made.rows`.
    """
    tables = []
    for dataset, gain in gains.items():
        for seed in range(seeds):
            level = 40.0 + seed
            own = level + gain + noise * (seed - (seeds - 1) / 2)
            for variant, end in (("vanilla", level), ("samg", own)):
                scores = (30.0, 35.0, end)
                given = {"dataset": dataset, "seed": seed, **changes}
                tables.append(made_suite.rows("awac", variant, scores=scores, **given))
    return sentences(tables)


def sentences(tables):
    frame = tidy_table.check(pd.concat(tables), "made")
    found = verdict.sentences(frame, seed_outcomes.of(frame))
    assert len(found) == 3
    assert all(text.endswith(".") and "  " not in text for text in found)
    return [text.replace("\u00a0", " ") for text in found]


OFFLINE = made_suite.rows(
    "awac", "offline", "a", scores=(1.0, 2.0), phase="offline", step=[5000, 10_000]
)


def test_what_was_compared_has_its_data_and_lengths():
    rows = [OFFLINE]
    rows += [
        made_suite.rows(variant=v, dataset="a") for v in ("samg", "own", "vanilla")
    ]
    assert sentences(rows)[0] == (
        "This report compares vanilla, samg and own for awac with 1 seed on locally "
        "collected data (a), after 10,000 offline updates and 2,000 environment steps."
    )
    more = [
        made_suite.rows("iql", "samg", f"d{place}", seed=place % 2, data_source="D4RL")
        for place in range(6)
    ]
    assert sentences(rows + more)[0] == (
        "This report compares vanilla, samg and own for awac and iql with 1 seed on "
        "D4RL data (d0, d1, d2 and 3 more of 6 datasets) and locally collected data "
        "(a), after 10,000 offline updates and 2,000 environment steps."
    )


# Five seeds whose differences are 0.2 apart have the half-width
# t(0.975, 4) * sqrt(0.1 / 5) = 2.776 * 0.1414 = 0.39.
@pytest.mark.parametrize(("gain", "word"), [(3.0, "above"), (-3.0, "below")])
def test_samg_helps_or_hurts(gain, word):
    _, known, left = said({"a": gain})
    assert known == (
        "Established, as the 95 % paired interval of the final score excludes 0: samg "
        f"ends {word} vanilla on a for awac ({gain:+.1f} ± 0.4)."
    )
    assert left == "No comparison of samg with another variant is left open."


def test_it_helps_here_and_hurts_there():
    _, known, left = said({"a": 3.0, "b": -3.0, "c": 0.1})
    assert known.endswith(
        "samg ends above vanilla on a for awac (+3.0 ± 0.4); below vanilla on b for "
        "awac (-3.0 ± 0.4)."
    )
    assert left == (
        "Not established: the interval does not exclude 0 against vanilla on c for "
        "awac (+0.1 ± 0.4)."
    )


def test_nothing_is_established():
    _, known, left = said({"a": 0.2, "b": -0.1})
    assert known == (
        "Nothing is established: no 95 % paired interval of the final score between "
        "samg and another variant excludes 0."
    )
    assert left == (
        "Not established: the interval does not exclude 0 against vanilla on a for "
        "awac (+0.2 ± 0.4) and on b for awac (-0.1 ± 0.4)."
    )


@pytest.mark.parametrize(
    ("seeds", "words"), [(1, "1 seed gives"), (2, "2 seeds give"), (4, "4 seeds give")]
)
def test_few_seeds_establish_nothing_however_far_apart(seeds, words):
    compared, known, left = said({"a": 30.0}, seeds=seeds)
    assert f"with {seeds} seed" in compared
    assert known.startswith("Nothing is established")
    assert left == (
        f"Not established: {words} no interval against vanilla on a for awac (+30.0)."
    )


def test_seeds_that_all_differ_by_the_same_establish_nothing():
    assert said({"a": 3.0}, noise=0.0)[1].startswith("Nothing is established")


def test_different_budgets_are_not_compared():
    rows = [
        made_suite.rows(variant=variant, seed=seed, scores=(30.0, 40.0 + seed, *more))
        for seed in range(5)
        for variant, more in (("vanilla", ()), ("no_data", (80.0,)), ("samg", (90.0,)))
    ]
    compared, known, left = sentences(rows)
    assert "1,000 to 2,000 environment steps" in compared
    assert known.startswith("Nothing is established")  # No width against no_data.
    assert left == (
        "Not established: the interval does not exclude 0 against no_data on "
        "hopper-local for awac (+10.0 ± 0.0); budgets differ against vanilla for awac "
        "on hopper-local."
    )


def test_many_comparisons_are_counted():
    _, known, _ = said({name: 3.0 for name in "abcdef"})
    assert known.endswith("on d for awac (+3.0 ± 0.4) and 2 more.")
    gains = (-0.2, -0.1, 0.0, 0.1, 0.3)
    *_, left = said(dict(zip("abcde", gains, strict=True)))
    assert left == (
        "Not established: the interval does not exclude 0 against vanilla on 5 tasks "
        "(-0.2 to +0.3)."
    )


def test_without_samg_or_fine_tuning_it_says_so():
    rows = [made_suite.rows(variant=name) for name in ("vanilla", "no_data")]
    missing = "Nothing about SAMG is established: the results have no variant samg."
    assert sentences(rows)[1] == missing
    compared, known, _ = sentences([OFFLINE])
    assert compared == (
        "This report shows awac with 1 seed on locally collected data (a) after 10,000 "
        "offline updates, without fine-tuning."
    )
    assert known == missing
    (*_, alone) = sentences([made_suite.rows()])
    assert alone == "Not established: the results have no variant except samg."


def test_seeds_that_are_left_out_are_counted():
    rows = [
        made_suite.rows(variant=v, seed=s) for v in ("vanilla", "samg") for s in (0, 1)
    ]
    rows[0] = rows[0].assign(normalized_score=[1.0, float("nan"), 2.0])
    assert "with 1 to 2 seeds; 1 seed failed or unfinished on" in sentences(rows)[0]
