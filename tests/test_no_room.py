"""Results that are written where no room is left: every writer of the package."""

import types

import numpy as np
import pytest

from samg_jax import checks, durable
from samg_jax.benchmarking import benchmark_tables, report_files
from samg_jax.collecting import recording
from samg_jax.paper import coverage_figures, improvements
from samg_jax.results import report_page
from tests.fixtures import small_disks


def coverage_csv(path):
    shares = {"state": [[0.5]]}
    measured = types.SimpleNamespace(shares=shares, bound=1, warning="")
    coverage_figures.write(["medium"], measured, path)


WRITERS = {
    "coverage": coverage_csv,
    "improvements": lambda path: improvements.write([], path),
    "page": lambda path: report_page.replace(path, "<html>"),
    "collect": lambda path: recording.write(
        path, {key: np.zeros(3000) for key in recording.KEYS}, {}
    ),
    "benchmark": lambda path: report_files.keep(
        path, {"kind": "updates", "finished": True, "rows": []}
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_result_that_finds_no_room_is_one_line_and_the_old_one_stays(
    name, tmp_path, monkeypatch, capsys
):
    # `capsys`, because what is printed may go into a file, too.
    monkeypatch.setattr(
        benchmark_tables, "describe", str
    )  # Of a report without machine.
    path = tmp_path / "result.json"
    path.write_text("before")
    expected = pytest.raises(checks.UserError, match="File too large")
    with expected as told, small_disks.limited(4):
        WRITERS[name](path)
    assert str(tmp_path) in str(told.value)
    assert str(told.value).endswith(durable.AGAIN)
    assert "\n" not in str(told.value)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
