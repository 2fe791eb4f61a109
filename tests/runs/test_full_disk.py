"""A disk that fills up while a run or a suite is at work, a real one of a few MB."""

import pathlib
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from tests.fixtures import called_programs, small_experiments, small_runs, tiny_suite

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
SIZE = 64 * 2**20


@pytest.fixture
def disk(tmp_path):
    """A file system in memory, of `SIZE` bytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk):
    """Takes all room that is left; returns what holds it."""
    path = disk / "filler"
    with path.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(2**16))
        except OSError:
            pass
    return path


def saved_at(folder):
    """Returns the steps of the checkpoints below a folder."""
    return {int(path.name) for path in folder.rglob("*") if path.name.isdigit()}


def wait_for(process, out, pattern):
    """Waits until a folder below `out` has a checkpoint."""
    while process.poll() is None and not any(map(saved_at, out.glob(pattern))):
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()[0]


@pytest.mark.parametrize("tensorboard", [True, False])
def test_a_run_ends_in_one_line_and_goes_on_with_room(
    tensorboard, disk, dataset, tmp_path
):
    fields = {
        "online__steps": 2000,
        "online__eval_every": 100,
        "online__checkpoint_every": 100,
        "logging__tensorboard": tensorboard,
    }

    def command(workdir):
        flags = small_experiments.flags("awac", dataset, **fields)
        module = [sys.executable, "-m", "samg_jax.train"]
        return [*module, *flags, f"--workdir={workdir}"]

    process = called_programs.start(command(tmp_path / "whole"))
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text

    workdir = disk / "run"
    process = called_programs.start(command(workdir))
    wait_for(process, workdir, "online")
    process.send_signal(signal.SIGSTOP)  # Or it would write between our writes.
    try:
        filler = fill(disk)
        saved = max(saved_at(workdir / "online"))
    finally:
        process.send_signal(signal.SIGCONT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 1, text
    assert "Traceback" not in text
    last = text.splitlines()[-1]
    assert last.startswith("error: ")
    assert str(workdir) in last
    assert "No space left" in last
    assert (workdir / "online" / str(saved)).is_dir()

    filler.unlink()
    process = called_programs.start(command(workdir))
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    assert f"resuming {workdir} at step {saved}" in text
    assert small_runs.tables(workdir) == small_runs.tables(tmp_path / "whole")
    small_runs.assert_same_arrays(
        small_runs.saved(workdir), small_runs.saved(tmp_path / "whole")
    )


def test_a_suite_says_so_in_a_line_and_goes_on_with_room(disk, dataset, tmp_path):
    suite = tiny_suite.write(tmp_path, dataset)
    settings = (*tiny_suite.LONGER, "num_seeds=1")
    assert tiny_suite.run(suite, tmp_path / "whole", *settings) == 0
    out = disk / "out"
    process = tiny_suite.start(suite, out, *settings)
    wait_for(process, out, "jobs/*/*/*/*/run/offline")
    filler = fill(disk)
    text, _ = process.communicate(timeout=200)
    assert process.returncode == 1, text
    assert "Traceback" not in text
    assert "No space left" in text
    assert str(out) in text
    filler.unlink()
    process = tiny_suite.start(suite, out, *settings)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    pd.testing.assert_frame_equal(
        tiny_suite.results(out), tiny_suite.results(tmp_path / "whole")
    )


SAVING = """
import pathlib, sys, threading, time
import numpy as np
from samg_jax import checks
from samg_jax.runs import checkpoints

disk = pathlib.Path(sys.argv[1])
folder = disk / "run" / "online"

def fill():
    while not list(folder.glob("*.new*")):
        time.sleep(0.0005)
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass

arrays = {
    str(i): np.random.default_rng(i).random(1_000_000, np.float32) for i in range(10)
}
meta = {"offline_step": 5, "step": 1, "data_source": "none", "table_lengths": [0, 0]}
threading.Thread(target=fill, daemon=True).start()
with checks.program():
    checkpoints.Store(folder).save(1, arrays, {"x": np.zeros(3)}, meta)
"""


def test_a_disk_that_fills_amid_a_save_says_one_line_and_keeps_no_part(disk):
    process = called_programs.start([sys.executable, "-c", SAVING, str(disk)])
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 1, text
    (line,) = text.splitlines()
    assert line.startswith(f"error: Cannot write into '{disk / 'run' / 'online'}': No ")
    assert not list((disk / "run" / "online").iterdir())
