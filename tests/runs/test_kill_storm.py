"""A storm of kills: whenever a run is killed, its command goes on as if it was not."""

import pathlib
import shutil
import signal
import sys
import time

import numpy as np
import pytest

from tests.fixtures import called_programs, small_experiments, small_runs

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
KILLS = 4  # Of each of the five runs below.
LONGER = {
    "offline__updates": 200,
    "guidance__cvae__steps": 200,
    "online__steps": 1500,
    "online__eval_every": 250,
    "online__log_every": 250,
    "online__checkpoint_every": 60,
}


def command(name, dataset, workdir, sweep=(), **fields):
    """Returns the command of a run that takes a few seconds beside its start."""
    longer = dict(LONGER)
    if not name.endswith("_samg"):
        del longer["guidance__cvae__steps"]
    flags = small_experiments.flags(name, dataset, **{**longer, **fields})
    sweeps = [f"--sweep={text}" for text in sweep]
    module = [sys.executable, "-m", "samg_jax.train"]
    return [*module, *flags, *sweeps, f"--workdir={workdir}"]


def finish(given):
    """Runs a command to its end; returns what it printed."""
    process = called_programs.start(given)
    text, _ = process.communicate(timeout=600)
    assert process.returncode == 0, text
    return text


def saved(workdir):
    """Returns the checkpoints that are there, by their paths."""
    found = [*workdir.glob("offline/*"), *workdir.glob("online/*")]
    return {path for path in found if path.name.isdigit()}


def storm(given, workdir, rng):
    """Kills a command again and again, at random moments.

    A moment is some checkpoints later than the kill before and a bit, so that it does
    not hang on the speed of the machine; or it is amid the start.
    """
    for _ in range(KILLS):
        process = called_programs.start(given)
        seen, left = saved(workdir), int(rng.integers(0, 6))
        if left == 0:
            time.sleep(rng.uniform(0, 6))
        while process.poll() is None and left > 0:
            now = saved(workdir)
            left -= len(now - seen)
            seen |= now
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        assert process.poll() is None, process.communicate()[0]
        process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def pretrained(dataset, tmp_path_factory):
    """A run to fork from."""
    workdir = tmp_path_factory.mktemp("pretrained") / "run"
    finish(command("awac_samg", dataset, workdir, online__steps=0))
    return workdir


CASES = {
    "cql": ("cql_samg", {}, ()),
    "iql": ("iql_samg", {}, ()),
    "cal_ql": ("cal_ql", {}, ()),
    "fork": ("awac_samg", {"offline__restore": "pretrained"}, ()),
    "sweep": ("awac_samg", {"num_seeds": 1}, ("guidance.threshold=0.3,0.6",)),
}


@pytest.mark.parametrize("case", CASES)
def test_killed_at_random_a_run_ends_as_one_that_was_not(
    case, dataset, pretrained, tmp_path
):
    name, fields, sweep = CASES[case]
    if "offline__restore" in fields:
        source = shutil.copytree(pretrained, tmp_path / "source")
        fields = {**fields, "offline__restore": str(source)}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    text = finish(command(name, dataset, whole, sweep, **fields))
    given = command(name, dataset, stopped, sweep, **fields)
    storm(given, stopped, np.random.default_rng(list(CASES).index(case)))
    again = finish(given)
    assert small_runs.tables(stopped) == small_runs.tables(whole)
    small_runs.assert_same_arrays(small_runs.saved(stopped), small_runs.saved(whole))
    # The closing table is the same, too.
    table = [line for line in text.splitlines() if line.startswith("seed ")]
    assert table
    assert table == [line for line in again.splitlines() if line.startswith("seed ")]
