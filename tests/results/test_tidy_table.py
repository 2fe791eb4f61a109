"""The tidy table of a suite: what is read, what is refused, what is warned of."""

import pathlib

import numpy as np
import pandas as pd
import pytest

from samg_jax.results import computing, tidy_table
from tests.fixtures import made_suite

LOCAL = pathlib.Path(__file__).parents[2] / "launch/results/local"


def test_parquet_and_csv_read_alike(tmp_path):
    table = made_suite.suite(seeds=2, evaluations=3)
    for kind in ("parquet", "csv"):
        (tmp_path / kind).mkdir()
    table.to_parquet(tmp_path / "parquet" / "results.parquet")
    table.to_csv(tmp_path / "csv" / "results.csv", index=False)
    first, second = (tidy_table.read(tmp_path / kind) for kind in ("parquet", "csv"))
    pd.testing.assert_frame_equal(first, second)
    assert len(first) == len(table)


def test_a_table_without_the_machine_is_read_and_one_with_it_says_it():
    machine = {"processor": "Some CPU, 8 cores", "devices": "NVIDIA H100"}
    without, own = made_suite.rows(), made_suite.rows(seed=9, **machine)
    for rows, expected in (
        (without, {"processor": "-", "devices": "-"}),
        (pd.concat([without, own]), machine),
    ):
        table = computing.runs(tidy_table.check(rows, "made"))
        found = dict(zip(table.header, table.rows[0], strict=True))
        assert {name: found[name] for name in machine} == expected
    assert set(machine) <= set(tidy_table.read(LOCAL))  # Committed before they were.


def test_the_score_is_normalized_where_there_is_a_reference():
    plain = made_suite.rows(dataset="own", normalized_score=np.nan)
    frame = tidy_table.check(pd.concat([made_suite.rows(), plain]), "made")
    by_dataset = frame.groupby("dataset")
    assert by_dataset["unit"].first().to_dict() == {
        "hopper-local": "normalized score",
        "own": "return",
    }
    assert by_dataset["score"].first().to_dict() == {"hopper-local": 40, "own": 1280}


def test_a_table_that_cannot_be_reported_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"neither results\.parquet nor results\.csv"):
        tidy_table.read(tmp_path)
    rows = made_suite.rows()
    with pytest.raises(ValueError, match="no column physics, regret"):
        tidy_table.check(rows.drop(columns=["physics", "regret"]), "made")
    with pytest.raises(ValueError, match="has no rows"):
        tidy_table.check(rows.iloc[:0], "made")
    with pytest.raises(ValueError, match="'step': 0} more than once"):
        tidy_table.check(pd.concat([rows, rows.iloc[:1]]), "made")
    with pytest.raises(ValueError, match="phase 'warmup'"):
        tidy_table.check(rows.assign(phase="warmup"), "made")


@pytest.mark.parametrize(
    "change", [{"data_source": "D4RL"}, {"physics": "stock"}], ids=str
)
def test_scores_of_unlike_runs_are_not_put_side_by_side(change):
    rows = pd.concat([made_suite.rows(), made_suite.rows(seed=1, **change)])
    with pytest.raises(ValueError, match=f"has the {next(iter(change))}"):
        tidy_table.check(rows, "made")


def test_whatever_is_not_d4rls_is_named():
    original = made_suite.rows(dataset="hopper-medium-v2", data_source="D4RL")
    assert tidy_table.disclaimer(original) == ""
    both = pd.concat([original, made_suite.rows()])
    assert tidy_table.disclaimer(both) == "Locally collected, not D4RL: hopper-local"
    stock = original.assign(physics="stock")
    assert tidy_table.disclaimer(stock) == "Physics stock, not D4RL's: hopper-medium-v2"


def test_offline_rows_that_every_variant_repeats_count_once():
    rows = [
        made_suite.rows(variant=variant, phase="offline", scores=(1.0, 2.0))
        for variant in ("vanilla", "samg")
    ]
    failed = made_suite.rows(phase="offline", seed=1, scores=(1.0, 3.0), failed=1)
    frame = tidy_table.check(pd.concat([*rows, failed]).fillna({"failed": 0}), "made")
    assert len(tidy_table.pretrained(frame)) == 4
    scores = tidy_table.offline_scores(frame, "hopper-local", "awac")
    assert scores.to_dict() == {0: 2.0}


def test_variants_stand_in_one_order():
    names = ["zeta", "samg", "alpha", "vanilla", "samg", "no_data"]
    expected = ["vanilla", "no_data", "samg", "alpha", "zeta"]
    assert tidy_table.in_order(names) == expected
