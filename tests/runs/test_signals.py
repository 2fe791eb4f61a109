"""Ctrl-C and SIGTERM: the run ends in order, and goes on as if nothing had happened."""

import contextlib
import functools
import importlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import jax
import pytest

from samg_jax.experiment import command_line
from samg_jax.runs import checkpoints, signals
from tests.fixtures import called_programs, small_experiments, small_runs

ROOT = pathlib.Path(__file__).parents[2]


def send_at(monkeypatch, place, call, number):
    """Makes a run send itself a signal at a call, from 1, of one of its loops."""
    send = functools.partial(os.kill, os.getpid(), number)
    small_runs.act_at(monkeypatch, place, call, send)


def terminated(name, dataset, workdir, **overrides):
    """Runs until SIGTERM ends the run; fails unless it does."""
    with pytest.raises(SystemExit) as ended, signals.handled():
        small_runs.run(name, dataset, workdir, **overrides)
    assert ended.value.code == signals.TERMINATED


def test_sigterm_saves_first_and_the_run_goes_on_bit_for_bit(
    samg_run, dataset, tmp_path, monkeypatch, capfd
):
    before = signal.getsignal(signal.SIGTERM)
    # None is a step at which a checkpoint is due: those are 20, 40, 60.
    for place, call, saved in [
        ("offline", 1, "offline/10"),
        ("cvae", 1, "offline/70"),
        ("online", 33, "online/33"),
    ]:
        with monkeypatch.context() as patch:
            send_at(patch, place, call, signal.SIGTERM)
            terminated("awac_samg", dataset, tmp_path)
        assert signal.getsignal(signal.SIGTERM) is before
        assert (tmp_path / saved).is_dir()
        told = capfd.readouterr().err
        assert "saving a checkpoint" in told
        assert "The same command goes on" in told
    small_runs.run("awac_samg", dataset, tmp_path)
    assert small_runs.tables(tmp_path) == small_runs.tables(samg_run)
    small_runs.assert_same_arrays(
        small_runs.saved(tmp_path), small_runs.saved(samg_run)
    )


@pytest.mark.slow
def test_sigterm_amid_overlapping_steps_waits_until_nothing_is_in_motion(
    dataset, tmp_path, monkeypatch
):
    overlap = {"online__overlap": True, "online__log_every": 20}
    whole = small_runs.run("awac_samg", dataset, tmp_path / "whole", **overlap)
    with monkeypatch.context() as patch:
        send_at(patch, "online", 42, signal.SIGTERM)
        terminated("awac_samg", dataset, tmp_path / "stopped", **overlap)
    assert (tmp_path / "stopped/online/50").is_dir()  # Where it evaluates.
    small_runs.run("awac_samg", dataset, tmp_path / "stopped", **overlap)
    assert small_runs.tables(tmp_path / "stopped") == small_runs.tables(whole)


def test_ctrl_c_finishes_the_checkpoint_in_flight(dataset, tmp_path, monkeypatch):
    # Of offline 20, 40, 60 and its end; then online 20.
    send_at(monkeypatch, "save", 5, signal.SIGINT)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), signals.handled():
        small_runs.run("awac", dataset, tmp_path)
    signal.signal(signal.SIGINT, before)
    store = checkpoints.Store(tmp_path / "online")
    assert store.latest() == store.meta()["step"] == 20
    store.close()


def send(*numbers):
    """Sends this process signals; returns whether each was asked for by then."""
    asked = []
    for number in numbers:
        os.kill(os.getpid(), number)
        asked.append(signals.asked())
    pytest.fail(f"No signal ended it: {asked}.")


def test_a_second_sigterm_does_not_wait():
    with pytest.raises(SystemExit), signals.handled(), signals.at_boundaries():
        send(signal.SIGTERM, signal.SIGTERM)
    assert not signals.asked()


def test_sigterm_where_nothing_is_to_be_saved_ends_at_once():
    with pytest.raises(SystemExit) as ended, signals.handled():
        send(signal.SIGTERM)
    assert ended.value.code == signals.TERMINATED


class Lossy:
    """Takes a signal in a finalizer, whose exceptions Python prints and forgets."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        os.kill(os.getpid(), self.number)
        time.sleep(0.001)  # The handler runs here.


def lose_and_wait(number):
    Lossy(number)
    time.sleep(20)


@pytest.fixture
def heard():
    """Ctrl-C reaches the test, also if a shell has started it in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGINT, "Interrupted"), (signal.SIGTERM, signals.TERMINATED)],
)
def test_a_signal_that_a_library_swallows_comes_again(number, said, capfd):
    hook = sys.unraisablehook
    with pytest.raises(SystemExit) as ended, signals.program():
        lose_and_wait(number)
    assert str(said) in str(ended.value.code)
    assert "Traceback" not in capfd.readouterr().err
    assert sys.unraisablehook is hook


def test_what_else_a_finalizer_raises_is_reported(monkeypatch):
    class Broken:
        def __del__(self):
            raise RuntimeError

    found = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: found.append(lost.exc_type))
    with signals.program(), signals.handled():
        Broken()
    Broken()
    assert found == [RuntimeError, RuntimeError]


# Each program, and a call of its work that stands for the whole of it.
WORK = {
    "train": ("samg_jax.runs.lifecycle", "run"),
    "evaluate": ("samg_jax.runs.saved_policies", "find"),
    "collect": ("samg_jax.envs.tasks", "for_env_id"),
    "diagnose": ("samg_jax.diagnosis.evidence", "run"),
    "report": ("samg_jax.results.report_page", "write"),
    "coverage": ("samg_jax.paper.data_coverage", "measure"),
    "benchmark": ("samg_jax.benchmarking.measures", "run"),
}


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", WORK)
def test_every_program_ends_in_one_line(name, number, tmp_path, monkeypatch):
    values = {
        "evaluate": {"checkpoint": "none"},
        "collect": {"env": "Hopper-v4", "out": str(tmp_path / "x.hdf5")},
        "diagnose": {"checkpoint": "none"},
        "coverage": {"datasets": ["hopper-demo"], "out": str(tmp_path)},
    }
    module, function = WORK[name]

    def work(*args, **kwargs):
        del args, kwargs
        os.kill(os.getpid(), number)
        pytest.fail("No signal ended it.")

    monkeypatch.setattr(importlib.import_module(module), function, work)
    argv = {"report": ["", "runs/one"], "benchmark": ["", "compile"]}
    with called_programs.running(name, **values.get(name, {})) as program:
        if name == "train":
            config = small_experiments.config("awac", "hopper-demo")
            program.CONFIG.experiment = command_line.Experiment(config, {})
        with pytest.raises(SystemExit) as ended:
            program.main(argv.get(name, [""]))
    stopped = str(ended.value.code)
    assert stopped.startswith("Interrupted" if number == signal.SIGINT else "143")


def test_threads_of_other_programs_and_ignored_signals_are_left_alone():
    found = []

    def work():
        with signals.handled(), signals.at_boundaries(), signals.finished_first():
            found.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with signals.handled():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
def test_the_program_ends_with_its_line_and_goes_on(samg_run, dataset, tmp_path):
    workdir = tmp_path / "run"
    periods = {
        key.replace(".", "__"): value for key, value in small_runs.PERIODS.items()
    }
    flags = small_experiments.flags("awac_samg", dataset, **periods)
    command = [sys.executable, "-m", "samg_jax.train", *flags, f"--workdir={workdir}"]

    def start():
        return subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
            },
            # Shells start what runs in the background with Ctrl-C ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    for number, place, status, words in [
        (signal.SIGINT, "offline/20", 1, "Interrupted. The same command goes on"),
        (signal.SIGTERM, "online/20", 143, "Terminated. The same command goes on"),
    ]:
        process = start()
        while process.poll() is None and not (workdir / place).exists():
            time.sleep(0.002)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == status, output
        assert "Traceback" not in output
        assert output.splitlines()[-1].startswith(words)
    process = start()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert small_runs.tables(workdir) == small_runs.tables(samg_run)
    small_runs.assert_same_arrays(small_runs.saved(workdir), small_runs.saved(samg_run))


def test_ctrl_c_that_a_librarys_callback_lost_ends_the_run_at_its_next_place(request):
    # A job in the background inherits that Ctrl-C is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with signals.handled():
        with contextlib.suppress(KeyboardInterrupt):  # As a callback does.
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signals.asked()
    assert not signals.asked()
