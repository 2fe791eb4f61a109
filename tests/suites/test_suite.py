"""Suites run whole, again, and with a job that fails; their results as data."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent import futures

import numpy as np
import pandas as pd
import pytest

from samg_jax.results import tidy_table
from samg_jax.suites import suite_results
from samg_jax.suites.job_list import Job
from tests.fixtures import tiny_suite


@pytest.fixture(scope="module")
def finished(tmp_path_factory, dataset):
    folder = tmp_path_factory.mktemp("suite")
    suite = tiny_suite.write(folder, dataset)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert tiny_suite.run(suite, folder / "out") == 0
    (folder / "printed.txt").write_text(printed.getvalue())
    return suite, folder / "out"


def test_one_offline_phase_is_forked_and_its_results_are_a_table(finished):
    _, out = finished
    table = pd.read_parquet(out / "results.parquet")
    assert tuple(table.columns) == tidy_table.COLUMNS
    pd.testing.assert_frame_equal(
        table, pd.read_csv(out / "results.csv"), check_dtype=False
    )
    # By hand from the jobs' own files.
    jobs = out / "jobs/awac/random/seed2-3"
    for variant, phase, step in (
        ("offline", "offline", "offline_step"),
        ("samg", "online", "env_step"),
    ):
        path = jobs / variant / "complete/metrics.csv"
        own = pd.read_csv(path, float_precision="round_trip")
        found = table[table["variant"] == variant]
        assert set(found["phase"]) == {phase}
        merged = own.merge(found, left_on=["seed", step], right_on=["seed", "step"])
        assert len(merged) == len(own) == len(found) > 2
        np.testing.assert_array_equal(merged["return_mean"], merged["return"])
        np.testing.assert_array_equal(
            merged["normalized_score_x"], merged["normalized_score_y"]
        )
        facts = json.loads((jobs / variant / "complete/done.json").read_text())
        assert set(found["wall_time"]) == {facts["wall_time"]}
        assert set(found["peak_memory"]) == {facts["peak_memory"]}
        assert 1e8 < facts["peak_memory"] < 1e10
        assert 0 < facts["wall_time"] < 300
    assert set(table["data_source"]) == {"a file of your own"}
    assert set(table["dataset"]) == {"random"}
    assert set(table["physics"]) == {"d4rl"}
    assert table["versions"].str.contains("jax ").all()
    assert table["processor"].str.fullmatch(r".+, \d+ cores").all()
    assert set(table["devices"]) == {"cpu"}
    assert table[["success", "regret"]].isna().all(axis=None)  # Not of a hopper.


def test_each_job_is_told_with_its_score_the_time_taken_and_the_time_left(finished):
    _, out = finished
    _, first, progress, second, last = (
        (out.parent / "printed.txt").read_text().splitlines()
    )
    table = pd.read_parquet(out / "results.parquet")
    for line, variant in ((first, "offline"), (second, "samg")):
        own = table[table["variant"] == variant]
        final = own[own["step"] == own["step"].max()]["normalized_score"]
        assert f", normalized score {final.mean():.1f} ± " in line
        assert f"done in {own['wall_time'].iloc[0]:,.0f} s," in line
    assert re.fullmatch(r" +\d+ min taken, 1 job left, about \d+ min", progress)
    assert re.search(r"results\.parquet, \d+ rows; \d+ min$", last)


def test_scores_of_a_sweep_are_told_apart_and_failed_seeds_are_left_out():
    rows = pd.DataFrame(
        {
            "variant": ["samg p=0"] * 3 + ["samg p=1"] * 3,
            "seed": [0, 0, 1] * 2,
            "step": [0, 10, 10] * 2,
            "normalized_score": [np.nan] * 6,
            "return": [9.0, 1.0, 3.0, 9.0, 5.0, np.nan],
            "failed": [0, 0, 0, 0, 0, 1],
        }
    )
    first, second = suite_results.scores(rows).split("; ")
    assert first == "samg p=0: return 2.0 ± 12.7"
    assert second == "samg p=1: return 5.0 of 1 of 2 seeds that lasted"


def test_what_is_complete_is_not_run_again(finished, capsys):
    suite, out = finished
    printed = {path: path.stat().st_mtime_ns for path in out.glob("jobs/*/*/*/*/*.txt")}
    assert len(printed) == 2
    table = (out / "results.csv").read_bytes()
    (out / "results.csv").unlink()
    assert tiny_suite.run(suite, out) == 0
    assert "2 jobs, 2 complete before." in capsys.readouterr().out
    assert printed == {path: path.stat().st_mtime_ns for path in printed}
    assert (out / "results.csv").read_bytes() == table


def test_other_settings_and_a_dry_run_touch_nothing(finished, capsys):
    suite, out = finished
    before = sorted(out.rglob("*"))
    with pytest.raises(ValueError, match=r"agent\.tau: 0\.005 before, 0\.5 now"):
        tiny_suite.run(suite, out, "config.agent.tau=0.5")
    assert tiny_suite.run(suite, out, "variants=samg,no_data", dry_run=True) == 0
    printed = capsys.readouterr().out
    states = [line.split()[1] for line in printed.splitlines()[1:4]]
    assert states == ["done", "done", "to"]
    assert re.search(r"To be done: 1 jobs, about \d+ min one after another", printed)
    assert sorted(out.rglob("*")) == before


def kill_with_checkpoint(out, folder, step):
    """Kills the process of a job when its fine-tuning has saved a step."""
    end = time.monotonic() + 300
    while not (folder / f"run/online/{step}").exists():
        assert time.monotonic() < end
        time.sleep(0.005)
    os.kill(tiny_suite.at_work(out)[folder], signal.SIGKILL)


def test_a_job_that_fails_or_is_killed_stops_nothing_but_forks_of_the_former(
    finished, tmp_path, capsys
):
    suite, whole = finished
    out = tmp_path / "out"
    shutil.copytree(whole, out)  # Everything in it is relative.
    settings = ("seed=0", "num_seeds=4", "seeds_per_job=2")
    # In the way of the offline phase of the first two seeds.
    jobs = out / "jobs/awac/random"
    obstacle = jobs / "seed0-1/offline/run/offline"
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("not a folder")
    # To be done again, and killed on the way.
    killed = jobs / "seed2-3/samg"
    shutil.rmtree(killed)
    with futures.ThreadPoolExecutor(1) as pool:
        kill = pool.submit(kill_with_checkpoint, out, killed, 20)
        assert tiny_suite.run(suite, out, *settings, retries=1) == 1
        kill.result(timeout=0)
    printed = capsys.readouterr().out
    assert "2 of 4 jobs failed" in printed
    failure = json.loads((jobs / "seed0-1/offline/failed.json").read_text())
    assert failure["job"] == "awac/random/seed0-1/offline"
    assert failure["error"] in printed
    assert "Traceback" in failure["details"]
    failure = json.loads((jobs / "seed0-1/samg/failed.json").read_text())
    assert failure["error"].startswith("Not begun: its source awac/random/seed0-1/off")
    assert "resuming" in (killed / "complete/log.txt").read_text()
    assert not (killed / "failed.json").exists()
    pd.testing.assert_frame_equal(tiny_suite.results(out), tiny_suite.results(whole))


def test_regret_and_success_come_from_the_jobs_logs(tmp_path):
    run = tmp_path / "complete"
    run.mkdir()
    (run / "metrics.csv").write_text(
        "phase,seed,sweep,offline_step,env_step,return_mean,return_std,"
        "normalized_score,episode_length,failed\n"
        "online,4,threshold=0.1,60,0,0.5,0.5,50.0,7,0\n"
        "online,4,threshold=0.1,60,20,1.0,0.0,100.0,3,1\n"
        "online,4,threshold=0.2,60,20,0.0,0.0,0.0,9,0\n"
    )
    (run / "training.csv").write_text(
        "phase,seed,sweep,offline_step,env_step,name,value\n"
        "online,4,threshold=0.1,60,0,success_rate,0.5\n"
        "online,4,threshold=0.1,60,20,success_rate,1.0\n"
        "online,4,threshold=0.1,60,20,regret,0.25\n"
        "online,4,threshold=0.2,60,20,success_rate,0.0\n"
        "online,4,threshold=0.2,60,20,regret,0.75\n"
        "online,4,threshold=0.2,60,10,regret,0.9\n"
    )
    facts = {
        "data_source": "antmaze-umaze-v2 (998,573 rows, D4RL)",
        "machine": {"processor": "p", "devices": "d", "commit": "c", "jax": "1.2"},
        "wall_time": 1.5,
        "peak_memory": 10,
        "physics": "d4rl",
    }
    (run / "done.json").write_text(json.dumps(facts))
    job = Job("name", "iql", "samg", "antmaze-umaze-v2", "source", {})
    rows = suite_results.read(tmp_path, job)
    columns = ["variant", "step", "success", "regret", "failed"]
    assert rows[columns].fillna("none").to_numpy().tolist() == [
        ["samg threshold=0.1", 0, 0.5, "none", 0],
        ["samg threshold=0.1", 20, 1.0, 0.25, 1],
        ["samg threshold=0.2", 20, 0.0, 0.75, 0],
    ]
    assert set(rows["data_source"]) == {"D4RL"}
    assert set(rows["versions"]) == {"jax 1.2"}
    assert (set(rows["processor"]), set(rows["devices"])) == ({"p"}, {"d"})


def test_the_kind_of_data_is_what_the_trainer_says_of_them():
    for text, kind in (
        ("hopper-medium-v2 (1,000,000 rows, D4RL)", "D4RL"),
        (
            "hopper-demo (100,000 rows, locally collected, not D4RL)",
            "locally collected",
        ),
        ("minari:a/b (5 rows, Minari, not D4RL)", "Minari"),
        ("x (5 rows, not as published by D4RL)", "not as published by D4RL"),
    ):
        assert tidy_table.kind_of(text) == kind


def test_the_old_spelling_of_the_command_works_and_says_so():
    command = [sys.executable, "-m", "samg_jax.benchmark", "suite", "--help"]
    done = subprocess.run(
        command, cwd=tiny_suite.ROOT, capture_output=True, text=True, check=True
    )
    assert "--processes=N" in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.endswith("is now `python -m samg_jax.suite`.")
