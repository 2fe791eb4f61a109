"""What stands in the section on all datasets."""

import pandas as pd
import pytest

from samg_jax.results import report_contents, seed_outcomes, suite_table
from tests.fixtures import made_suite


@pytest.mark.parametrize("gains", [{"a": 20.0, "b": -20.0}, {"a": 1.0, "b": 2.0}])
def test_two_tasks_stand_apart(gains, tmp_path):
    rows = [
        made_suite.rows("awac", variant, dataset, seed, (30.0, 40.0 + seed + gain))
        for dataset, change in gains.items()
        for variant, gain in (("vanilla", 0.0), ("samg", change))
        for seed in range(5)
    ]
    frame = suite_table.check(pd.concat(rows), "made")
    source, found = "locally collected", seed_outcomes.of(frame)
    (section,) = report_contents.across(source, frame, found, tmp_path, 20)
    assert not section.tables
    assert not section.pictures
    assert section.note == (
        "Fewer than 3 datasets with equal budgets give no pooled number (awac). Their "
        "sections above show each task by itself."
    )
    (paired,) = report_contents.by_seed(source, frame, found, tmp_path)
    cells = {row[0]: row[4] for row in paired.tables[0].rows}
    wins = {name: "5 of 5" if gain > 0 else "0 of 5" for name, gain in gains.items()}
    assert cells == wins
