"""Finished runs side by side."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import ml_collections
import numpy as np
import pytest

from samg_jax import checks, provenance
from samg_jax.results import run_comparison
from samg_jax.results.seed_statistics import Course
from samg_jax.runs import saved_configs
from tests.fixtures import called_programs, made_outcomes, small_runs

ROOT = pathlib.Path(__file__).parents[2]


def outcome(algorithm="awac", courses=((50, 60, 45), (40, 44, 30)), **changes):
    """Returns an outcome whose seeds have these starts, ends and lowest scores."""
    seeds = tuple(Course(i, *course, False) for i, course in enumerate(courses))
    return made_outcomes.made(**{"algorithm": algorithm, "courses": seeds, **changes})


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_table_by_hand():
    # Half-widths: t(0.975, 1) = 12.706 times half the difference of the two seeds.
    line = cells(run_comparison.table([outcome()]).splitlines()[2])
    assert line[:5] == ["awac", "samg", "2", "20,000", "5,000"]
    assert line[5:] == [
        "45.0 ± 63.5",
        "52.0 ± 101.6",
        "7.0 ± 38.1",
        "7.5 ± 31.8",
    ]


def test_a_run_without_online_phase_has_one_score():
    line = cells(run_comparison.table([outcome(steps=0)]).splitlines()[2])
    assert line[5:] == ["45.0 ± 63.5", "", "", ""]


def test_failed_seeds_are_named_and_left_out():
    good, bad = Course(0, 1.0, 2.0, 1.0, False), Course(1, 9.0, 9.0, 9.0, True)
    line = cells(run_comparison.table([outcome(courses=())]).splitlines()[2])
    assert line[5:] == ["-", "-", "-", "-"]
    made = dataclasses.replace(outcome(), courses=(good, bad))
    line = cells(run_comparison.table([made]).splitlines()[2])
    assert line[2] == "2 (1 failed, left out)"
    assert line[5:7] == ["1.0", "2.0"]


def test_who_is_below_the_baseline_by_hand():
    # Ends 52 and 44: mean 48, standard error 4, bound 40.
    baseline = outcome("bc", ((0, 52, 0), (0, 44, 0)), variant="offline")
    near = outcome("iql", ((0, 41, 0), (0, 39.5, 0)))
    far = outcome("cql", ((0, 41, 0), (0, 38.9, 0)))
    text = run_comparison.below([baseline, near, far], "bc")
    assert text == "bc minus two standard errors: 40.0. Below it: cql samg."
    assert run_comparison.below([baseline, near], "bc").endswith("Below it: none.")
    with pytest.raises(ValueError, match="Name one of: cql"):
        run_comparison.below([far], "bc")


@pytest.mark.parametrize(
    "change", [{"physics": "stock"}, {"data_source": "other"}, {"normalized": False}]
)
def test_runs_that_cannot_be_compared_are_refused(change):
    with pytest.raises(ValueError, match=f"differ in {next(iter(change))}"):
        run_comparison.table([outcome(), outcome(**change)])


def test_the_program_reports_real_runs(tmp_path, dataset):
    offline = small_runs.run(
        "bc", dataset, tmp_path / "bc", num_seeds=1, online__steps=0
    )
    online = small_runs.run(
        "awac_samg",
        dataset,
        tmp_path / "awac",
    )
    file = tmp_path / "table.md"
    command = [sys.executable, "-m", "samg_jax.report", str(offline), str(online)]
    done = subprocess.run(
        [*command, "--baseline=bc", "--title=Small", f"--out={file}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == file.read_text()
    assert done.stdout.startswith("# Small\n")
    lines = done.stdout.splitlines()
    assert cells(lines[4])[:5] == ["bc", "offline", "1", "60", ""]
    row = cells(lines[5])
    assert row[:5] == ["awac", "samg", "2", "60", "60"]
    table = [line.split(",") for line in small_runs.scores(online)]
    first = [float(line[6]) for line in table if line[3] == "0"]
    last = [float(line[6]) for line in table if line[3] == "60"]
    assert row[5].startswith(f"{np.mean(first):.1f} ± ")
    assert row[6].startswith(f"{np.mean(last):.1f} ± ")
    assert "bc minus two standard errors" in done.stdout
    found = run_comparison.read(online)[0]
    assert [course.scores[60] for course in found.courses] == last
    assert len(found.guidance["weight_active"]) == 2
    assert f"jax {provenance.describe()['jax']}" in lines[-1]


@pytest.mark.parametrize(
    ("weight", "preset", "expected"),
    [
        ("cvae", "paper", "samg"),
        ("cvae", "best", "samg best"),
        ("even", "best", "samg_even"),
    ],
)
def test_a_preset_other_than_the_papers_is_named(weight, preset, expected):
    config = ml_collections.ConfigDict(
        {"guidance": {"weight": weight, "weight_preset": preset}}
    )
    assert run_comparison.variant(config) == expected


def test_unfinished_and_missing_runs_are_refused(tmp_path, dataset, monkeypatch):
    with pytest.raises(ValueError, match="it has no config"):
        run_comparison.read(tmp_path)
    with monkeypatch.context() as patch:
        small_runs.stop_at(patch, "online", 5)
        with pytest.raises(small_runs.Stopped):
            small_runs.run("awac_samg", dataset, tmp_path / "run")
    with pytest.raises(ValueError, match="is not complete"):
        run_comparison.read(tmp_path / "run")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"algorithm": "awac"', '"algorithm": "iql"'),
        ('"weight": "cvae"', '"weight": "none"'),
        ('"episodes": ', '"episodes": 1'),
    ],
)
def test_an_edited_config_is_refused_by_name(samg_run, tmp_path, before, after):
    workdir = tmp_path / "run"
    shutil.copytree(samg_run, workdir)
    config = json.loads((workdir / "config.json").read_text())
    saved_configs.check_kept(workdir, config)
    text = (workdir / "config.json").read_text()
    assert before in text
    edited = json.loads(text.replace(before, after, 1))
    (workdir / "config.json").write_text(json.dumps(edited))
    with pytest.raises(checks.UserError, match=r"config\.json was edited"):
        run_comparison.read(workdir)
    for copy in workdir.glob("o*line/[0-9]*/config_copy.json"):  # As sed would.
        copy.write_text(json.dumps(edited))
    with pytest.raises(checks.UserError, match=r"not the config with which"):
        run_comparison.read(workdir)


def test_a_config_that_nothing_keeps_is_said_to_be_believed(tmp_path, caplog):
    saved_configs.check_kept(tmp_path, {"algorithm": "awac"})
    assert "believed as it stands" in caplog.text


def test_the_machine_is_described_without_naming_it():
    about = provenance.describe()
    assert all(about.values())
    assert {"jax", "python", "processor", "commit"} <= set(about)
    assert str(ROOT) not in str(about)


@pytest.mark.parametrize("flag", ["out", "json"])
def test_a_file_that_is_there_is_not_replaced_unasked(flag, tmp_path):
    path = tmp_path / "data.hdf5"
    path.write_text("not a report")
    running = called_programs.running("report", **{flag: str(path)})
    with running as report, pytest.raises(SystemExit) as end:
        report.main(["report", str(tmp_path / "run")])
    assert f"{path} exists already" in end.value.code
    assert path.read_text() == "not a report"
