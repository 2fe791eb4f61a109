"""Damaged files in a suite's folder: each costs its job at most, and is named."""

import json
import shutil

import pandas as pd
import pytest

from samg_jax import checks
from samg_jax.suites import job_folders, suite_results
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
    run = job_folders.workdir(folder)
    run.mkdir()
    (run / "metrics.csv").write_text(
        "phase,seed,offline_step,env_step,return_mean,return_std,normalized_score,"
        "episode_length,failed\n"
        "online,0,60,0,0.5,0.5,50.0,7,0\nonline,0,60,20,1.0,0.0,100.0,3,0\n"
    )
    (run / "training.csv").write_text("phase,seed,offline_step,env_step,name,value\n")
    job_folders.complete(folder, run, FACTS)
    return folder


@pytest.fixture
def suite(tmp_path):
    """A suite of two jobs, the first of them complete."""
    jobs = [make("samg"), make("vanilla")]
    job_folders.prepare(tmp_path, jobs)
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
    job_folders.prepare(out, jobs)
    assert [job_folders.load(out, job.name) for job in jobs] == jobs
    assert kept(out) == ["job.json.damaged-0"]
    assert "job.json was damaged; it is kept as" in capsys.readouterr().out
    assert job_folders.is_done(out, jobs[0].name)


def test_a_complete_job_keeps_its_config_without_its_job_file(suite):
    out, jobs = suite
    folder = job_folders.of(out, jobs[0].name)
    (folder / "complete/config.json").write_text(json.dumps({"online": {"steps": 9}}))
    (folder / "job.json").write_text("")
    with pytest.raises(checks.UserError, match=r"online\.steps: 9 before, 20 now"):
        job_folders.prepare(out, jobs)


def test_a_complete_job_without_its_facts_is_opened_again(suite, damage):
    out, jobs = suite
    folder = job_folders.of(out, jobs[0].name)
    damage(folder / "complete" / "done.json")
    assert not job_folders.is_done(out, jobs[0].name)
    job_folders.prepare(out, jobs)
    assert not (folder / "complete").exists()
    run = job_folders.workdir(folder)
    assert (run / "metrics.csv").exists()
    assert kept(folder) == ["done.json.damaged-0"]
    job_folders.complete(folder, run, FACTS)
    assert job_folders.is_done(out, jobs[0].name)


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
    job_folders.prepare(out, jobs)
    assert [job_folders.load(out, job.name) for job in jobs] == jobs


@pytest.mark.parametrize("missing", ["machine", "wall_time"])
def test_facts_that_lack_one_are_damaged(suite, missing):
    out, jobs = suite
    path = job_folders.of(out, jobs[0].name) / "complete" / "done.json"
    facts = json.loads(path.read_text())
    del facts[missing]
    path.write_text(json.dumps(facts))
    job_folders.prepare(out, jobs)
    assert not path.exists()


@pytest.mark.parametrize("name", ["failed.json", "usage.json"])
def test_what_else_a_job_writes_is_in_nobodys_way(suite, damage, name, capsys):
    out, jobs = suite
    folder = job_folders.of(out, jobs[1].name)
    damage(folder / name)
    assert "unknown; see output" in job_folders.failure(folder)
    job_folders.prepare(out, jobs)
    job_folders.record_failure(folder, "the disk is full", "")
    assert job_folders.failure(folder) == "the disk is full"


@pytest.mark.parametrize("name", ["", "complete", "run"])
def test_a_file_in_the_place_of_a_folder_is_set_aside(suite, name):
    out, jobs = suite
    folder = job_folders.of(out, jobs[1].name)
    if not name:
        shutil.rmtree(folder)
    (folder / name).write_text("not a folder")
    job_folders.prepare(out, jobs)
    assert job_folders.load(out, jobs[1].name) == jobs[1]
    job_folders.workdir(folder).mkdir()  # Nothing is in its way.
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


def test_a_workdir_that_was_begun_by_an_earlier_version_is_found(tmp_path):
    assert job_folders.workdir(tmp_path) == tmp_path / "run"
    (tmp_path / "run-12").mkdir()
    (tmp_path / "run-3.damaged-0").write_text("not a folder")
    assert job_folders.workdir(tmp_path) == tmp_path / "run-12"


def test_a_second_command_in_a_suites_folder_is_refused(tmp_path):
    with (
        job_folders.locked(tmp_path),
        pytest.raises(checks.UserError, match=r"one at a time .* executor=slurm"),
        job_folders.locked(tmp_path),
    ):
        pass
    with job_folders.locked(tmp_path):  # It goes with whoever had it.
        pass


@pytest.mark.parametrize("lost", ["metrics.csv", "training.csv"])
def test_a_complete_job_that_lost_a_table_is_opened_again(suite, lost, capsys):
    out, jobs = suite
    folder = job_folders.of(out, jobs[0].name)
    (folder / "complete" / lost).unlink()
    with pytest.raises(checks.UserError, match="Run the suite's command again: it"):
        suite_results.read(folder, jobs[0])
    job_folders.prepare(out, jobs)
    assert f"has lost {lost}; its job is opened again" in capsys.readouterr().out
    assert job_folders.done(folder) is None
    assert job_folders.workdir(folder).is_dir()
