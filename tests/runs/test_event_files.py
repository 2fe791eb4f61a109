"""Events beside a run's tables: what hinders them hinders nothing else."""

import os
import pathlib

import pytest
from tensorboardX import record_writer

from samg_jax import checks
from samg_jax.runs import event_files

FULL = pathlib.Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


def on_full_disk(workdir, monkeypatch):
    """Returns events whose file is on a device that takes nothing."""
    made = event_files.Events(workdir, True, 0, None)
    sink = made._sinks["TensorBoard"]
    sink._file.close()
    sink._file = record_writer.RecordWriter(str(FULL))
    monkeypatch.setattr(event_files, "FLUSH_SECONDS", -1.0)
    return made


def test_a_full_disk_ends_the_run_in_one_line(tmp_path, monkeypatch):
    made = on_full_disk(tmp_path, monkeypatch)
    with pytest.raises(checks.UserError, match="No space left") as error:
        made.add_scalars({"loss": 1.0}, 1)
    assert str(tmp_path) in str(error.value)
    made.close()


def test_events_on_a_full_disk_of_their_own_end_alone(tmp_path, monkeypatch, caplog):
    memory = pathlib.Path("/dev/shm")
    if not memory.is_dir() or os.stat(memory).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("there is no second file system")
    (tmp_path / event_files.FOLDER).symlink_to(memory / "nobody_made_this")
    (memory / "nobody_made_this").mkdir(exist_ok=True)
    try:
        made = on_full_disk(tmp_path, monkeypatch)
        for step in range(3):
            made.add_scalars({"loss": 1.0}, step)
    finally:
        for path in (memory / "nobody_made_this").iterdir():
            path.unlink()
        (memory / "nobody_made_this").rmdir()
    assert caplog.text.count("no more TensorBoard events: ") == 1
    made.close()


def test_a_folder_that_cannot_be_made_is_one_warning(tmp_path, caplog):
    (tmp_path / event_files.FOLDER).write_text("not a folder")
    made = event_files.Events(tmp_path, True, 0, None)
    for step in range(3):
        made.add_scalars({"loss": float(step)}, step)
    made.close()
    assert caplog.text.count("no more TensorBoard events: ") == 1


class _Service:
    """A service that goes away."""

    def add_scalars(self, values, step):
        raise BrokenPipeError(32, "Broken pipe")

    def close(self):
        raise OSError("It is gone.")


def test_a_service_that_goes_away_leaves_tensorboard_alone(tmp_path, caplog):
    made = event_files.Events(tmp_path, True, 0, _Service())
    for step in range(3):
        made.add_scalars({"loss": float(step), "none": float("nan")}, step)
    made.close()
    assert caplog.text.count("no more Weights & Biases events: ") == 1
    (path,) = (tmp_path / event_files.FOLDER).iterdir()
    data = path.read_bytes()
    assert data.count(b"loss") == 3
    assert b"none" not in data
