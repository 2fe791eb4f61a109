"""What stands in the section on all datasets."""

import pandas as pd
import pytest

from samg_jax.reporting import contents, courses, results
from tests.reporting import made


@pytest.mark.parametrize("gains", [{"a": 20.0, "b": -20.0}, {"a": 1.0, "b": 2.0}])
def test_two_tasks_stand_apart(gains, tmp_path):
    rows = [
        made.rows("awac", variant, dataset, seed, (30.0, 40.0 + seed + gain))
        for dataset, change in gains.items()
        for variant, gain in (("vanilla", 0.0), ("samg", change))
        for seed in range(5)
    ]
    frame = results.check(pd.concat(rows), "made")
    source, found = "locally collected", courses.of(frame)
    (section,) = contents.across(source, frame, found, tmp_path, 20)
    assert not section.tables
    assert not section.pictures
    assert section.note == (
        "Fewer than 3 datasets with equal budgets give no pooled number (awac). Their "
        "sections above show each task by itself."
    )
    (paired,) = contents.by_seed(source, frame, found, tmp_path)
    cells = {row[0]: row[4] for row in paired.tables[0].rows}
    wins = {name: "5 of 5" if gain > 0 else "0 of 5" for name, gain in gains.items()}
    assert cells == wins
