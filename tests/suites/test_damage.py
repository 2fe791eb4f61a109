"""Damaged files in a suite's folder: each costs its job at most, and is named."""

import json
import os
import shutil

import pandas as pd
import pytest

from samg_jax import checks, shared_files
from samg_jax.suites import claims, job_folders, job_runner, repair, suite_results
from samg_jax.suites.job_list import Job

# What a power cut, a full disk, an editor or a hand leaves behind; None is a folder.
DAMAGES = {
    "empty": b"",
    "null": b"null\n",
    "cut": b'{"machine": "here", "pid": 1',
    "no JSON": b"<<<<<<< HEAD\n",
    "a list": b"[1, 2]",
    "a number": b"3",
    "no text": b"\xff\xfe\x00",
    "zeros": bytes(300),
    "no keys": b"{}",
    "a folder": None,
}
FACTS = {
    "data_source": "random (400 rows, a file of your own)",
    "machine": {"processor": "p", "devices": "d", "commit": "c", "jax": "1.2"},
    "wall_time": 1.5,
    "peak_memory": 10,
    "physics": "d4rl",
}


@pytest.fixture(params=DAMAGES)
def damage(request):
    """Returns what damages a file."""

    def apply(path):
        content = DAMAGES[request.param]
        path.unlink(missing_ok=True)
        if content is None:
            path.mkdir()
            (path / "something").write_text("of the user's")
        else:
            path.write_bytes(content)

    return apply


def make(variant, steps=20):
    config = {"online": {"steps": steps}}
    name = f"awac/random/seed0/{variant}"
    return Job(name, "awac", variant, "random", None, config)


def complete(out, job):
    """Makes a job complete as a worker does, with two evaluations in its table."""
    folder = job_folders.of(out, job.name)
    run = job_folders.take_over(folder, 0)
    (run / "metrics.csv").write_text(
        "phase,seed,offline_step,env_step,return_mean,return_std,normalized_score,"
        "episode_length,failed\n"
        "online,0,60,0,0.5,0.5,50.0,7,0\nonline,0,60,20,1.0,0.0,100.0,3,0\n"
    )
    (run / "training.csv").write_text("phase,seed,offline_step,env_step,name,value\n")
    assert job_folders.complete(folder, run, FACTS)
    return folder


@pytest.fixture
def suite(tmp_path):
    """A suite of two jobs, the first of them complete."""
    jobs = [make("samg"), make("vanilla")]
    repair.prepare(tmp_path, jobs)
    complete(tmp_path, jobs[0])
    return tmp_path, jobs


def kept(folder):
    """Returns the names of what was set aside."""
    return sorted(path.name for path in folder.rglob("*.damaged-*"))


def test_a_damaged_job_is_written_anew(suite, damage, capsys):
    out, jobs = suite
    damage(job_folders.of(out, jobs[0].name) / "job.json")
    with pytest.raises(checks.UserError, match=r"job\.json is missing or damaged"):
        job_folders.load(out, jobs[0].name)
    repair.prepare(out, jobs)
    assert [job_folders.load(out, job.name) for job in jobs] == jobs
    assert kept(out) == ["job.json.damaged-0"]
    assert "job.json was damaged; it is kept as" in capsys.readouterr().out
    assert job_runner.status(out, jobs[0]) is job_runner.Status.DONE


def test_a_complete_job_keeps_its_config_without_its_job_file(suite):
    out, jobs = suite
    folder = job_folders.of(out, jobs[0].name)
    (folder / "complete/config.json").write_text(json.dumps({"online": {"steps": 9}}))
    (folder / "job.json").write_text("")
    with pytest.raises(checks.UserError, match=r"online\.steps: 9 before, 20 now"):
        repair.prepare(out, jobs)


@pytest.mark.parametrize("lost", ["metrics.csv", "training.csv"])
def test_a_complete_job_that_lost_a_table_is_opened_again(suite, lost, capsys):
    out, jobs = suite
    folder = job_folders.of(out, jobs[0].name)
    (folder / "complete" / lost).unlink()
    with pytest.raises(checks.UserError, match="Give the suite's command again: it"):
        suite_results.read(folder, jobs[0])
    repair.prepare(out, jobs)
    assert f"has lost {lost}; its job is opened again" in capsys.readouterr().out
    assert job_runner.status(out, jobs[0]) is None
    assert job_folders.take_over(folder, 1) is not None


def test_a_damaged_claim_is_free_after_a_while(tmp_path, damage, monkeypatch):
    monkeypatch.setattr(claims, "DAMAGED_TIMEOUT", 0.0)
    damage(claims.path_of(tmp_path, 0))
    observer = claims.Observer()
    assert observer.next_number(tmp_path) is None
    assert observer.next_number(tmp_path) == 1
    assert claims.take(tmp_path, 1) is not None
    assert observer.next_number(tmp_path) is None


def test_a_complete_job_without_its_facts_is_opened_again(suite, damage):
    out, jobs = suite
    folder = job_folders.of(out, jobs[0].name)
    damage(folder / "complete" / "done.json")
    assert job_runner.status(out, jobs[0]) is None
    repair.prepare(out, jobs)
    assert not (folder / "complete").exists()
    run = job_folders.take_over(folder, 1)
    assert (run / "metrics.csv").exists()
    assert kept(folder) == ["done.json.damaged-0"]
    assert job_folders.complete(folder, run, FACTS)
    assert job_runner.status(out, jobs[0]) is job_runner.Status.DONE


@pytest.mark.parametrize(
    "change",
    [
        {"name": 5},
        {"name": ""},
        {"name": "awac/random/seed0/vanilla"},  # Of the other job.
        {"variant": None},
        {"source": ["samg"]},
        {"config": [1]},
        {"more": 1},
    ],
    ids=str,
)
def test_a_job_of_wrong_values_is_written_anew(suite, change):
    out, jobs = suite
    path = job_folders.of(out, jobs[0].name) / "job.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert job_folders.read_job(path) is None
    repair.prepare(out, jobs)
    assert [job_folders.load(out, job.name) for job in jobs] == jobs


@pytest.mark.parametrize(
    "change",
    [
        {"pid": 0, "started": None},
        {"pid": -1, "started": None},
        {"pid": True},
        {"pid": 10**30},
        {"pid": "own", "started": None},
        {"pid": "own", "started": "1"},
        {"started": 5},
        {"machine": None},
        {"released": "no"},
    ],
    ids=str,
)
def test_a_claim_of_wrong_values_is_free_after_a_while(tmp_path, change, monkeypatch):
    monkeypatch.setattr(claims, "DAMAGED_TIMEOUT", 0.0)
    if change.get("pid") == "own":  # Not in the test's name, which all workers share.
        change = {**change, "pid": os.getpid()}
    claim = claims.take(tmp_path, 0)
    path = claims.path_of(tmp_path, 0)
    observer = claims.Observer()
    assert observer.next_number(tmp_path) is None
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert 1 in [observer.next_number(tmp_path) for _ in range(2)]
    del claim


@pytest.mark.parametrize("missing", ["machine", "wall_time"])
def test_facts_that_lack_one_are_damaged(suite, missing):
    out, jobs = suite
    path = job_folders.of(out, jobs[0].name) / "complete" / "done.json"
    facts = json.loads(path.read_text())
    del facts[missing]
    path.write_text(json.dumps(facts))
    repair.prepare(out, jobs)
    assert not path.exists()


@pytest.mark.parametrize("name", ["failed.json", "usage.json"])
def test_what_else_a_job_writes_is_in_nobodys_way(suite, damage, name, capsys):
    out, jobs = suite
    folder = job_folders.of(out, jobs[1].name)
    damage(folder / name)
    assert "unknown; see output" in job_folders.failure(folder)
    repair.prepare(out, jobs)
    job_folders.record_failure(folder, "the disk is full", "")
    assert job_folders.failure(folder) == "the disk is full"


@pytest.mark.parametrize("name", ["", "complete", "run-0"])
def test_a_file_in_the_place_of_a_folder_is_set_aside(suite, name):
    out, jobs = suite
    folder = job_folders.of(out, jobs[1].name)
    if not name:
        shutil.rmtree(folder)
    (folder / name).write_text("not a folder")
    repair.prepare(out, jobs)
    assert job_folders.load(out, jobs[1].name) == jobs[1]
    assert job_folders.take_over(folder, 0).is_dir()
    assert len(kept(out)) == 1


def test_the_table_of_results_leaves_out_and_names_what_is_damaged(suite, capsys):
    out, jobs = suite
    expected = suite_results.Table(out).update()
    assert len(expected) == 2
    for name in ("results.parquet", "results.csv"):
        (out / name).write_bytes(b"")
    complete(out, jobs[1])
    table = job_folders.of(out, jobs[1].name) / "complete" / "metrics.csv"
    for content in ("", "phase,seed\n", table.read_text().replace("0.5", "x"), "\0"):
        table.write_text(content)
        found = suite_results.Table(out)
        for _ in range(2):
            pd.testing.assert_frame_equal(found.update(), expected)
        printed = capsys.readouterr().out
        assert printed.count("WARNING") == 1
        assert f"{table} cannot be read" in printed
    (job_folders.of(out, jobs[1].name) / "job.json").write_text("null")
    pd.testing.assert_frame_equal(suite_results.Table(out).update(), expected)
    assert "job.json is damaged" in capsys.readouterr().out
    pd.testing.assert_frame_equal(pd.read_parquet(out / "results.parquet"), expected)


def test_files_are_flushed_before_they_get_their_names(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(shared_files.os, "fsync", lambda _: order.append("flush"))
    rename = shared_files.pathlib.Path.replace

    def replace(self, target):
        order.append("rename")
        return rename(self, target)

    monkeypatch.setattr(shared_files.pathlib.Path, "replace", replace)
    shared_files.write_json(tmp_path / "a.json", {"b": 1})
    assert order == ["flush", "rename", "flush"]
    assert shared_files.read_json(tmp_path / "a.json") == {"b": 1}
