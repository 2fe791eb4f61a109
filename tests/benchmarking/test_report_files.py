"""What becomes of measured numbers: medians, ratios, splits and tables."""

import json
import pathlib

import numpy as np
import pytest

from samg_jax.benchmarking import (
    benchmark_tables,
    online_loop,
    repeated_timings,
    report_files,
)
from samg_jax.runs import stopwatch


def test_repeats_are_told_by_median_and_half_the_interquartile_range():
    values = [5.0, 1.0, 9.0, 3.0, 7.0]
    assert repeated_timings.summarize(values) == {"median": 5.0, "spread": 2.0}
    assert repeated_timings.summarize([4.0]) == {"median": 4.0, "spread": 0.0}


def test_ratios_are_taken_round_by_round():
    # The machine was ten times slower in the second round, for both.
    found = repeated_timings.ratios([20.0, 2.0, 20.0], [10.0, 1.0, 10.0])
    assert found == {"median": 2.0, "spread": 0.0}
    with pytest.raises(ValueError, match="shorter"):
        repeated_timings.ratios([1.0, 2.0], [1.0])


def test_the_clock_gives_each_lap_its_parts_and_steps(monkeypatch):
    now = iter(np.arange(0, 100, 1.0))
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(now))
    watch = stopwatch.Clock()
    watch.restart(10)
    for _ in range(2):
        with watch.part("work"):
            pass
    watch.lap(12)
    with pytest.raises(KeyError), watch.part("other"):
        raise KeyError
    watch.lap(15)
    first, second = watch.laps
    assert (first.steps, first.parts, first.seconds) == (2, {"work": 2.0}, 5.0)
    assert (second.steps, second.parts, second.seconds) == (3, {"other": 1.0}, 3.0)


def test_a_lap_is_split_with_evaluations_as_often_as_the_config_has_them():
    parts = {"environment": 2.0, "update": 5.0, "evaluation": 10.0, "checkpoint": 4.0}
    found = online_loop.summarize(
        [stopwatch.Lap(100, 22.0, parts)], 1_000, 400, seeds=3
    )
    # Evaluations: 10 s in 1,000 steps; rest: 1 s in 100 steps and 4 s in 400.
    assert {k: v["median"] for k, v in found["milliseconds"].items()} == pytest.approx(
        {"environment": 20.0, "update": 50.0, "evaluation": 10.0, "rest": 20.0}
    )
    assert {k: v["median"] for k, v in found["shares"].items()} == pytest.approx(
        {"environment": 0.2, "update": 0.5, "evaluation": 0.1, "rest": 0.2}
    )
    assert found["steps_per_second"]["median"] == pytest.approx(10.0)
    assert found["summed"]["median"] == pytest.approx(30.0)


@pytest.mark.parametrize(("share", "cell"), [(0.5, "50"), (1.21, "121 (!)")])
def test_tables_show_medians_with_their_spread_and_leave_empty_columns_out(share, cell):
    row = {
        "family": "locomotion",
        "algorithm": "iql",
        "phase": "samg",
        "seeds": 4,
        "batch_size": 256,
        "rows": 1_000,
        "chunk": 12,
        "per_seed": {"median": 1234.56, "spread": 7.0},
        "summed": {"median": 4938.24, "spread": 28.0},
        "guidance_cost": {"median": 1.125, "spread": 0.02},
        "mflop_per_update": 99.6,
        "gflops": {"median": 5.0, "spread": 0.1},
        "peak_gflops": 10.0,
        "share_of_peak": share,
        "square_peak_gflops": 20.0,
        "share_of_square_peak": share / 2,
    }
    report = {
        "kind": "updates",
        "rows": [row],
        "command": "python -m samg_jax.benchmark updates",
        "machine": {"processor": "a, 2 cores"},
        "load": 0.5,
        "finished": True,
        "matmul_precision": "bfloat16",
    }
    text = benchmark_tables.describe(report)
    header, _, line = text.split("\n\n")[1].splitlines()
    cells = dict(
        zip(
            [cell.strip() for cell in header.strip("|").split("|")],
            [cell.strip() for cell in line.strip("|").split("|")],
            strict=True,
        )
    )
    assert cells["updates/s per seed"] == "1,234.6 ± 7.0"
    assert cells["guidance, % of time"] == "+12 ± 2"
    assert cells["% of peak"] == cell
    assert cells["% of square peak"] == f"{50 * share:.0f}"
    assert ("slower by themselves" in text) is (share > 1)
    assert "x PyTorch" not in cells
    assert report["command"] in text
    assert "a, 2 cores; products in bfloat16; load 0.5" in text


def report(rows, finished):
    """Returns the report of the program about the memory of some seeds."""
    row = {"family": "antmaze", "algorithm": "bc", "phase": "offline", "rows": 9}
    return {
        "kind": "memory",
        "command": "the command",
        "machine": {},
        "load": 0.0,
        "matmul_precision": "float32",
        "finished": finished,
        "rows": [{**row, "batch_size": 2, "seeds": seeds} for seeds in rows],
    }


def kept(folder):
    """Returns the numbers of seeds in every JSON file, after a look at those beside."""
    found = {}
    for path in folder.glob("*.json"):
        content = json.loads(path.read_text())
        text = path.with_suffix(".md").read_text()
        assert text.count("| antmaze ") == len(content["rows"])
        assert ("unfinished" in text) is not content["finished"]
        found[path.name] = [row["seeds"] for row in content["rows"]]
    assert len(list(folder.iterdir())) == 2 * len(found)
    return found


def test_rows_are_kept_as_they_come_and_a_finished_report_until_the_next(tmp_path):
    out = tmp_path / "a.json"
    report_files.keep(out, report([1], finished=False))
    assert kept(tmp_path) == {"a.unfinished.json": [1]}
    report_files.keep(out, report([1, 4], finished=False))
    assert kept(tmp_path) == {"a.unfinished.json": [1, 4]}
    report_files.keep(out, report([1, 4], finished=True))
    assert kept(tmp_path) == {"a.json": [1, 4]}
    report_files.keep(out, report([16], finished=False))
    assert kept(tmp_path) == {"a.json": [1, 4], "a.unfinished.json": [16]}
    report_files.keep(out, report([16], finished=True))
    assert kept(tmp_path) == {"a.json": [16]}


def test_files_of_a_report_are_refused_that_cannot_be_written(tmp_path):
    (tmp_path / "a file").write_text("")
    with pytest.raises(ValueError, match=r"ends in '.md'.*Set out=table.json"):
        report_files.check("updates", pathlib.Path("table.md"))
    with pytest.raises(ValueError, match="Cannot write into"):
        report_files.check("updates", tmp_path / "a file" / "a.json")
    with pytest.raises(ValueError, match="out=FOLDER"):
        report_files.check("profile", tmp_path / "a file")
    report_files.check("profile", tmp_path / "traces")
