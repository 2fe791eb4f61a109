"""Claims: one owner at a time, whoever dies, and nothing of the dead in the tables."""

import json
import os
import subprocess
import sys
import time
from concurrent import futures

import pytest

from samg_jax import shared_files
from samg_jax.suites import claims, job_folders, job_worker


def claim_elsewhere(folder, number, machine="another machine"):
    owner = {"machine": machine, "pid": 1, "started": "1", "released": False}
    claims.path_of(folder, number).write_text(json.dumps(owner))


def test_of_many_that_want_a_job_one_gets_it(tmp_path):
    with futures.ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: claims.take(tmp_path, 0), range(64)))
    assert sum(claim is not None for claim in found) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["claim-0.json"]


def test_a_claim_is_free_after_its_release_or_the_death_of_its_process(tmp_path):
    observer = claims.Observer()
    assert observer.next_number(tmp_path) == 0
    claim = claims.take(tmp_path, 0)
    assert observer.next_number(tmp_path) is None
    claim.release()
    assert observer.next_number(tmp_path) == 1
    code = (
        "import pathlib, sys; from samg_jax.suites import claims;"
        "claims.take(pathlib.Path(sys.argv[1]), 1); print(flush=True); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    child.stdout.readline()
    assert observer.next_number(tmp_path) is None
    child.kill()
    child.communicate()
    assert observer.next_number(tmp_path) == 2


def test_a_process_id_that_was_used_again_is_not_the_owner(tmp_path):
    owner = {"machine": claims.machine(), "pid": os.getpid(), "released": False}
    content = json.dumps({**owner, "started": "0"})
    claims.path_of(tmp_path, 0).write_text(content)
    assert claims.Observer().next_number(tmp_path) == 1


def test_an_owner_elsewhere_counts_as_dead_by_its_silence_alone(tmp_path):
    claim_elsewhere(tmp_path, 0)
    path = claims.path_of(tmp_path, 0)
    os.utime(path, (0, 0))  # Its clock may be wrong by years.
    observer = claims.Observer(timeout=0.3)
    for _ in range(4):
        assert observer.next_number(tmp_path) is None
        time.sleep(0.15)
        os.utime(path)
    assert observer.next_number(tmp_path) is None
    time.sleep(0.35)
    assert observer.next_number(tmp_path) == 1


@pytest.mark.parametrize("cause", ["taken over", "orphan"])
def test_an_owner_ends_itself_when_the_job_or_its_parent_is_gone(tmp_path, cause):
    code = (
        "import os, pathlib, sys, time; from samg_jax.suites import claims;"
        "claims.BEAT = 0.05; folder = pathlib.Path(sys.argv[1]);"
        "claim = claims.take(folder, 0); claim.keep(int(sys.argv[2]), lambda: None);"
        "print(flush=True); time.sleep(60)"
    )
    parent = os.getpid() if cause == "taken over" else os.getpid() + 1
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), str(parent)],
        stdout=subprocess.PIPE,
    )
    child.stdout.readline()
    if cause == "taken over":
        time.sleep(0.2)
        assert child.poll() is None
        claim_elsewhere(tmp_path, 1)
    assert child.wait(timeout=20) == claims.LOST


def test_what_a_suspended_process_still_writes_reaches_no_table(tmp_path):
    first = job_folders.take_over(tmp_path, 0)
    held = (first / "metrics.csv").open("a")
    held.write("a row\n")
    held.flush()
    second = job_folders.take_over(tmp_path, 3)
    assert not first.exists()
    held.write("a late row\n")
    held.close()
    assert (second / "metrics.csv").read_text() == "a row\n"
    assert [path.name for path in second.iterdir()] == ["metrics.csv"]


def test_a_process_that_was_suspended_at_its_end_completes_nothing(tmp_path):
    claim = claims.take(tmp_path, 0)
    first = job_folders.take_over(tmp_path, 0)
    (first / "metrics.csv").write_text("of both\n")
    assert claim.current
    # Suspended behind that look, before its last step, it is thought dead.
    claim_elsewhere(tmp_path, 1)
    assert job_worker.finish(claim, None, None) is False
    second = job_folders.take_over(tmp_path, 1)
    assert not job_folders.complete(tmp_path, first, {"by": 0})
    assert job_folders.done(tmp_path) is None
    assert job_folders.complete(tmp_path, second, {"by": 1})
    # Its libraries made the folder anew, with what they wrote late.
    first.mkdir()
    (first / "metrics.csv").write_text("late\n")
    assert not job_folders.complete(tmp_path, first, {"by": 0})
    assert job_folders.done(tmp_path) == {"by": 1}
    assert (
        job_folders.finished_run(tmp_path) / "metrics.csv"
    ).read_text() == "of both\n"


def test_what_is_complete_or_has_a_later_owner_is_not_taken_over(tmp_path):
    later = job_folders.take_over(tmp_path, 2)
    assert job_folders.take_over(tmp_path, 1) is None
    assert later.exists()
    job_folders.record_failure(tmp_path, "an error", "")
    assert (tmp_path / "failed.json").exists()
    assert job_folders.complete(tmp_path, later, {"by": 2})
    assert job_folders.take_over(tmp_path, 3) is None
    job_folders.record_failure(tmp_path, "an error of a process that was suspended", "")
    assert not (tmp_path / "failed.json").exists()


def test_of_many_that_complete_a_job_one_does(tmp_path):
    def work(number):
        try:
            run = job_folders.take_over(tmp_path, number)
            return run is not None and job_folders.complete(
                tmp_path, run, {"by": number}
            )
        except FileNotFoundError:  # Taken over in the midst of it.
            return False

    with futures.ThreadPoolExecutor(16) as pool:
        completed = list(pool.map(work, range(64)))
    assert sum(completed) == 1
    assert job_folders.done(tmp_path) == {"by": completed.index(True)}


def test_a_file_is_replaced_whole_by_whoever_writes(tmp_path):
    path = tmp_path / "table"
    contents = [bytes([65 + i]) * 200_000 for i in range(8)]
    with futures.ThreadPoolExecutor(8) as pool:
        writes = [pool.submit(shared_files.replace, path, c) for c in contents]
        while not all(write.done() for write in writes):
            assert not path.exists() or path.read_bytes() in contents
    assert path.read_bytes() in contents
    assert len(list(tmp_path.iterdir())) == 1
