"""A run that was stopped goes on by itself, as if nothing had happened."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import pytest
from matplotlib import image

import samg_jax
from samg_jax.runs import checkpoints, live_run, run_output
from samg_jax.training import offline_phase, online_phase
from tests.fixtures import small_experiments, small_runs

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def finished(samg_run, tmp_path):
    """A copy of a finished run."""
    return pathlib.Path(shutil.copytree(samg_run, tmp_path / "copy"))


def newest(workdir, phase):
    """Returns the folder of a phase's newest checkpoint."""
    folder = pathlib.Path(workdir) / phase
    return max(
        (path for path in folder.iterdir() if path.name.isdigit()),
        key=lambda path: int(path.name),
    )


def assert_same_run(workdir, reference):
    assert small_runs.tables(workdir) == small_runs.tables(reference)
    small_runs.assert_same_arrays(
        small_runs.saved(workdir), small_runs.saved(reference)
    )


# Offline calls are chunks of at most 10 updates, online calls single steps. There are
# rows between the last checkpoint and the stop, except at the first call and in the
# warm-up, which comes before the first online checkpoint.
STOPS = [("offline", 1), ("offline", 6), ("cvae", 4), ("online", 13), ("online", 53)]


def test_a_samg_run_continues_bit_for_bit_wherever_it_stops(
    samg_run, dataset, tmp_path, monkeypatch
):
    for place, call in STOPS:
        with monkeypatch.context() as patch:
            small_runs.stop_at(patch, place, call)
            with pytest.raises(small_runs.Stopped):
                small_runs.run("awac_samg", dataset, tmp_path)
        assert small_runs.tables(tmp_path) != small_runs.tables(samg_run)
    small_runs.run("awac_samg", dataset, tmp_path)
    assert_same_run(tmp_path, samg_run)


def test_a_vanilla_run_continues_bit_for_bit_however_often_it_stops(
    awac_run, dataset, tmp_path, monkeypatch
):
    for place, call in [("offline", 5), ("online", 31), ("online", 24)]:
        with monkeypatch.context() as patch:
            small_runs.stop_at(patch, place, call)
            with pytest.raises(small_runs.Stopped):
                small_runs.run("awac", dataset, tmp_path)
    small_runs.run("awac", dataset, tmp_path)
    assert_same_run(tmp_path, awac_run)


def test_a_stop_amid_a_save_loses_only_what_came_after_the_one_before(
    samg_run, dataset, tmp_path
):
    workdir = small_runs.as_if_killed(samg_run, tmp_path / "run")
    assert newest(workdir, "online").name == "40"
    with (workdir / "metrics.csv").open("a") as file:
        file.write("online,0,60,")  # A row that was not finished.
    small_runs.run("awac_samg", dataset, workdir)
    assert newest(workdir, "online").name == "60"
    assert_same_run(workdir, samg_run)


def test_a_killed_process_is_resumed_by_its_command(samg_run, dataset, tmp_path):
    workdir = tmp_path / "run"
    periods = {
        key.replace(".", "__"): value for key, value in small_runs.PERIODS.items()
    }
    flags = small_experiments.flags("awac_samg", dataset, **periods)
    command = [sys.executable, "-m", "samg_jax.train", *flags, f"--workdir={workdir}"]
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    while process.poll() is None and not (workdir / "online" / "20").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    # It did not reach its end, and has the curves of what it did reach.
    assert image.imread(workdir / "curve.png").size
    assert not (workdir / "guidance.png").exists()

    again = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert "resuming" in again.stdout + again.stderr
    assert_same_run(workdir, samg_run)


def test_a_finished_run_does_nothing_and_prints_its_table(
    finished, samg_run, dataset, monkeypatch, capsys
):
    def nothing(*_):
        return lambda *_, **__: pytest.fail("It trained again.")

    for module, name in [
        (offline_phase, "make_updates"),
        (offline_phase, "make_model_updates"),
        (online_phase, "make_step"),
    ]:
        monkeypatch.setattr(module, name, nothing)
    # Fields that change no result may change.
    free = {"evaluation__threads": 2, "compilation_cache": ""}
    small_runs.run("awac_samg", dataset, finished, **free)
    printed = capsys.readouterr().out
    assert "seed 0" in printed
    assert "95 % interval" in printed
    assert_same_run(finished, samg_run)


def test_another_config_is_refused_with_both_values(finished, dataset, samg_run):
    changed = {"guidance__threshold": 0.25, "online__batch_size": 8}
    with pytest.raises(ValueError, match="another config") as error:
        small_runs.run("awac_samg", dataset, finished, **changed)
    assert "guidance.threshold: 0.5 before, 0.25 now" in str(error.value)
    assert "online.batch_size: 16 before, 8 now" in str(error.value)
    assert "threads" not in str(error.value)
    assert_same_run(finished, samg_run)


def test_a_refused_run_may_be_corrected_in_its_workdir(dataset, tmp_path):
    with pytest.raises(ValueError, match="no offline checkpoint"):
        small_runs.run(
            "awac", dataset, tmp_path / "run", offline__restore=str(tmp_path)
        )
    with pytest.raises(ValueError, match="no offline checkpoint"):
        small_runs.run("awac", dataset, tmp_path / "run", offline__restore=str(dataset))


def as_earlier_versions_saved(workdir, phase="online"):
    """Takes from the newest checkpoint whatever it has not had from the start."""
    folder = newest(workdir, phase)
    for name in ("files.json", "metrics.csv.gz", "training.csv.gz", "config_copy.json"):
        (folder / name).unlink()
    path = folder / "meta" / "metadata"
    meta = json.loads(path.read_text())
    del meta["tables"], meta["data_fingerprint"]
    if phase == "online":
        del meta["config"], meta["seeds"]
    path.write_text(json.dumps(meta))


@pytest.mark.parametrize("name", ["metrics.csv", "training.csv"])
def test_a_shortened_table_is_refused_where_no_copy_was_saved(name, finished, dataset):
    as_earlier_versions_saved(finished)
    shortened = (finished / name).read_bytes()[:-50]
    (finished / name).write_bytes(shortened)
    with pytest.raises(ValueError, match="shortened") as error:
        small_runs.run("awac_samg", dataset, finished)
    assert name in str(error.value)
    assert (finished / name).read_bytes() == shortened


@pytest.mark.parametrize("phase", ["offline", "online"])
def test_another_format_version_is_refused(phase, finished, dataset, monkeypatch):
    if phase == "offline":
        shutil.rmtree(finished / "online")
    written = checkpoints.FORMAT_VERSION
    monkeypatch.setattr(checkpoints, "FORMAT_VERSION", written + 1)
    with pytest.raises(ValueError, match=f"format version {written}") as error:
        small_runs.run("awac_samg", dataset, finished)
    assert f"written by samg_jax {samg_jax.__version__}" in str(error.value)
    assert f"reads version {written + 1}" in str(error.value)


def test_a_table_knows_its_length_as_soon_as_it_is_opened(tmp_path):
    table = run_output.Table(tmp_path / "table.csv", ("a",), 0)
    table.write({"a": 1})
    length = table.tell()
    table.write({"a": "lost"})
    table.close()
    table = run_output.Table(tmp_path / "table.csv", ("a",), length)
    assert table.tell() == length
    table.write({"a": 2})
    table.close()
    assert (tmp_path / "table.csv").read_text() == "a\n1\n2\n"


def test_a_second_process_is_kept_out_of_the_workdir(dataset, tmp_path):
    with (
        live_run.locked(tmp_path),
        pytest.raises(ValueError, match="Another process is running in the workdir"),
    ):
        small_runs.run("awac", dataset, tmp_path)
    # Not even a line in its log.
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}
    with live_run.locked(tmp_path):  # Free again.
        pass
