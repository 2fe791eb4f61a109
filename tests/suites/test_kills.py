"""Suites whose processes are killed: nothing is lost, nothing is there twice."""

import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time

import numpy as np
import pandas as pd
import pytest

from samg_jax.experiment import suite_files
from samg_jax.suites import (
    executors,
    job_folders,
    job_list,
    suite_program,
)
from tests.fixtures import tiny_suite

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, dataset):
    folder = tmp_path_factory.mktemp("undisturbed")
    suite = tiny_suite.write(folder, dataset)
    assert tiny_suite.run(suite, folder / "out", *tiny_suite.LONGER) == 0
    return suite, tiny_suite.results(folder / "out")


def has_checkpoint(folder):
    """Returns whether one is there under its final name."""
    return folder.is_dir() and any(path.name.isdigit() for path in folder.iterdir())


def work(suite, out):
    """Returns what an executor is given, and the list of what it will report."""
    loaded = suite_files.load(str(suite), tiny_suite.CONFIGS, tiny_suite.LONGER)
    planned, ended = job_list.expand(loaded, tiny_suite.CONFIGS), []
    out.mkdir()
    job_folders.prepare(out, planned)
    report = suite_program.Report(out, planned)

    def tell(job, status):
        ended.append((job.name, status))
        report.ended(job, status)

    paths = [str(tiny_suite.ROOT)]
    return executors.Work(out, planned, 2, paths, lambda job: 1e8, tell), ended


def assert_all_done(given, ended):
    names = [job.name for job in given.jobs]
    assert sorted(name for name, _ in ended) == sorted(names)
    assert {status for _, status in ended} == {job_folders.Status.DONE}


def test_kills_at_random_leave_the_table_as_it_would_have_been(undisturbed, tmp_path):
    suite, expected = undisturbed
    out, rng = tmp_path / "out", np.random.default_rng(0)
    jobs_killed = commands_killed = 0
    while jobs_killed + commands_killed < 5:
        process = tiny_suite.start(suite, out, *tiny_suite.LONGER, retries=5)
        try:
            process.wait(timeout=rng.uniform(8, 16))
            break
        except subprocess.TimeoutExpired:
            pass
        if rng.random() < 0.5:  # A job alone, which is tried again.
            for pid in tiny_suite.at_work(out).values():
                os.kill(pid, signal.SIGKILL)
                jobs_killed += 1
            time.sleep(rng.uniform(0, 4))
        process.kill()
        commands_killed += 1
        process.communicate()
    process = tiny_suite.start(suite, out, *tiny_suite.LONGER)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    assert commands_killed >= 2
    assert resumed(out)
    pd.testing.assert_frame_equal(tiny_suite.results(out), expected)


def resumed(out):
    """The names of the jobs that went on from a checkpoint."""
    logs = sorted(out.glob("jobs/*/*/*/*/complete/log.txt"))
    return [log.parts[-3] for log in logs if "resuming" in log.read_text()]


def gone(pids):
    """Returns whether none of the processes is there any more."""
    return not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_suite_stops_in_order_with_its_workers_and_goes_on(undisturbed, tmp_path):
    suite, expected = undisturbed
    out = tmp_path / "out"
    for number, place, status, words in [
        (signal.SIGINT, "offline", 1, "Interrupted. The same command goes on"),
        (signal.SIGTERM, "online", 143, "Terminated. The same command goes on"),
    ]:
        process = tiny_suite.start(suite, out, *tiny_suite.LONGER)
        pattern = f"jobs/*/*/*/*/run/{place}/[0-9]*"
        while process.poll() is None and not any(out.glob(pattern)):
            time.sleep(0.01)
        workers = tiny_suite.at_work(out)
        assert workers
        before = {path.name for path in out.glob(pattern)}
        process.send_signal(number)  # To the parent alone.
        began = time.monotonic()
        text, _ = process.communicate(timeout=60)
        assert time.monotonic() - began < 15
        assert process.returncode == status, text
        assert "Traceback" not in text
        assert text.splitlines()[-1].startswith(words)
        assert gone(workers.values())
        for folder in workers:
            assert not (folder / "failed.json").exists()
        if number == signal.SIGTERM:  # Saved where none was due.
            after = {path.name for path in out.glob(pattern)} - before
            assert any(int(name) % 100 for name in after), (before, after)
    process = tiny_suite.start(suite, out, *tiny_suite.LONGER)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    pd.testing.assert_frame_equal(tiny_suite.results(out), expected)


@pytest.mark.parametrize(
    ("executor", "number", "status", "words"),
    [
        ("ray", signal.SIGINT, 1, "Interrupted. The same command goes on"),
        ("ray", signal.SIGTERM, 143, "Terminated. The same command goes on"),
        ("slurm", signal.SIGINT, 1, "Interrupted. The same command goes on"),
    ],
)
def test_a_signal_stops_the_workers_of_a_cluster_too(
    executor, number, status, words, dataset, tmp_path
):
    pytest.importorskip({"ray": "ray", "slurm": "submitit"}[executor])
    suite, out = tiny_suite.write(tmp_path, dataset), tmp_path / "out"
    flags = [f"--executor={executor}"]
    flags += ["--option=cluster=local"] * (executor == "slurm")
    process = tiny_suite.start(suite, out, *tiny_suite.LONGER, flags=flags)
    while process.poll() is None and not any(out.glob("jobs/*/*/*/*/run/offline")):
        time.sleep(0.05)
    workers = tiny_suite.at_work(out).values()
    assert workers
    process.send_signal(number)
    began = time.monotonic()
    text, _ = process.communicate(timeout=60)
    assert process.returncode == status, text
    assert words in text
    while not gone(workers):
        assert time.monotonic() - began < 30
        time.sleep(0.1)


def test_what_is_damaged_costs_its_job_and_no_other(undisturbed, tmp_path, capsys):
    suite, expected = undisturbed
    out = tmp_path / "out"
    shutil.copytree(suite.parent / "out", out)
    first, second = (out / f"jobs/awac/random/seed{seed}" for seed in (2, 3))
    (first / "offline/complete/done.json").write_text("null")
    (second / "samg/job.json").unlink()
    (second / "samg/job.json").mkdir()
    (second / "samg/complete/done.json").write_bytes(b"")
    (second / "samg/usage.json").write_bytes(bytes(100))
    (second / "offline/job.json").write_text("{}")
    for name in ("results.parquet", "results.csv"):
        (out / name).write_bytes(b"PAR1")
    assert tiny_suite.run(suite, out, *tiny_suite.LONGER) == 0
    printed = capsys.readouterr().out
    assert "4 jobs, 2 complete before." in printed
    assert printed.count("was damaged; it is kept as") == 5
    pd.testing.assert_frame_equal(tiny_suite.results(out), expected)


def test_a_worker_of_a_ray_cluster_is_killed(undisturbed, tmp_path):
    ray = pytest.importorskip("ray")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    suite, expected = undisturbed
    given, ended = work(suite, tmp_path / "out")
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=node)
    killed, most = [], 0

    def kill():
        nonlocal most
        while not killed:
            time.sleep(0.05)
            running = tiny_suite.at_work(given.out)
            most = max(most, len(running))
            for folder, pid in running.items():
                if folder.name == "samg" and has_checkpoint(folder / "run/online"):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(folder)
                    return

    try:
        cluster.add_node(**node)
        ray.init(address=cluster.address, log_to_driver=False)
        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        executors.make("ray", ["cpus=1"]).run(given)
        killer.join(timeout=10)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert_all_done(given, ended)
    assert most == 2  # One job per core, so both nodes were at work.
    assert len(killed) == 1
    assert resumed(given.out) == [killed[0].name]
    pd.testing.assert_frame_equal(tiny_suite.results(given.out), expected)


def test_submitit_runs_a_suite_as_slurm_would(undisturbed, tmp_path):
    pytest.importorskip("submitit")
    suite, expected = undisturbed
    given, ended = work(suite, tmp_path / "out")
    executors.make("slurm", ["cluster=local", "timeout_min=10"]).run(given)
    assert_all_done(given, ended)
    assert resumed(given.out) == []
    pd.testing.assert_frame_equal(tiny_suite.results(given.out), expected)
