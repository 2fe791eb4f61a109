"""Checkpoints: flushed before they are named, two kept, damage of any kind found."""

import fcntl
import json
import logging
import os
import pathlib
import re
import shutil
import sys
import threading

import jax
import numpy as np
import pytest

from samg_jax import checks, logs
from samg_jax.runs import checkpoint_arrays, checkpoints, locations
from tests.fixtures import small_disks

META = {"offline_step": 5, "data_source": "none", "table_lengths": [0, 0]}
LIKE = {"a": jax.ShapeDtypeStruct((50,), np.float32), "b": (), "c": np.int32(0)}


def state(step):
    return {"a": np.full(50, step, np.float32), "b": (), "c": np.int32(step)}


def save(store, step, **meta):
    host = {"wide": np.full(3, step, np.int64)}
    store.save(step, state(step), host, {**META, "step": step, **meta})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "online"
    store = checkpoints.Store(folder)
    for step in (10, 20, 30):
        save(store, step)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the folder with the checkpoints of steps 20 and 30."""
    return pathlib.Path(shutil.copytree(saved, tmp_path / "online"))


@pytest.fixture
def warnings(caplog, monkeypatch):
    monkeypatch.setattr(logs.LOGGER, "propagate", True)
    return caplog


def contents(folder):
    """Returns the step and the arrays of the checkpoint that is read."""
    store = checkpoints.Store(folder)
    meta = store.meta()
    found, host = store.restore(LIKE)
    store.close()
    np.testing.assert_array_equal(found["a"], state(meta["step"])["a"])
    np.testing.assert_array_equal(host["wide"], np.full(3, meta["step"], np.int64))
    return meta["step"]


def test_two_checkpoints_are_kept(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["20", "30"]
    assert contents(saved) == 30


def test_everything_is_flushed_before_it_has_its_name(tmp_path, monkeypatch):
    """Replays what a disk has if only flushed content and names survive."""
    flushed, fsync, rename = {}, os.fsync, pathlib.Path.rename

    def flush(descriptor):
        path = pathlib.Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)
        flushed[path] = sorted(os.listdir(path)) if path.is_dir() else path.read_bytes()

    named = []

    def check(self, target):
        if pathlib.Path(target).name.isdigit():
            inside = list(self.rglob("*"))
            assert len(inside) > 15
            for path in [self, *inside]:
                now = sorted(os.listdir(path)) if path.is_dir() else path.read_bytes()
                assert flushed[path] == now, path
            named.append(pathlib.Path(target))
            flushed.pop(self.parent)
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(pathlib.Path, "rename", check)
    store = checkpoints.Store(tmp_path / "run" / "online")
    (tmp_path / "run").mkdir()
    for step in (1, 2, 3):
        save(store, step)
        # The new name itself, and before that the folder's.
        assert str(step) in flushed[tmp_path / "run" / "online"]
        assert "online" in flushed[tmp_path / "run"]
    assert [path.name for path in named] == ["1", "2", "3"]


def remove(path):
    path.unlink()


def halve(path):
    os.truncate(path, path.stat().st_size // 2)


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def empty(path):
    path.write_bytes(b"")


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def to_folder(path):
    path.unlink()
    path.mkdir()


DAMAGES = (remove, halve, zero, empty, flip, to_folder)
FILES = (
    "meta/metadata",
    "state/manifest.ocdbt",
    "state/ocdbt.process_0/d/*",
    "host/ocdbt.process_0/d/*",
    "state/_METADATA",
    "_CHECKPOINT_METADATA",
)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (name, damage)
        for name in (*FILES, "files.json")
        for damage in DAMAGES
        # Without it the step is as earlier versions saved it; see below.
        if (name, damage) != ("files.json", remove)
    ],
)
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    name, damage, folder, warnings
):
    for path in (folder / "30").glob(name):
        damage(path)
    assert contents(folder) == 20
    assert f"{folder / '30'} cannot be read: " in warnings.text
    assert "of step 20" in warnings.text
    assert all(record.levelno == logging.WARNING for record in warnings.records)


def test_a_folder_that_vanished_in_part_falls_back(folder, warnings):
    shutil.rmtree(folder / "30" / "state")
    assert contents(folder) == 20
    shutil.rmtree(folder / "30")
    (folder / "30").mkdir()
    assert contents(folder) == 20
    assert "30 cannot be read: meta/metadata is missing" in warnings.text


def test_the_run_goes_on_from_the_one_before_and_saves_the_step_again(folder, warnings):
    zero(folder / "30" / "meta" / "metadata")
    (folder / "40.new").mkdir()
    (folder / "40.orbax-checkpoint-tmp").mkdir()
    (folder / "10.deleted").mkdir()
    store = checkpoints.Store(folder)
    assert store.recover()["step"] == 20
    assert store.restore(LIKE)[0]["c"] == 20
    assert sorted(path.name for path in folder.iterdir()) == ["20", "30.damaged"]
    assert str(folder / "30.damaged") in warnings.text
    save(store, 30)
    assert contents(folder) == 30


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("damage", [remove, zero, halve])
@pytest.mark.parametrize("name", ["meta/metadata", "state/**/d/*"])
def test_nothing_readable_is_one_line_that_names_file_and_remedy(
    name, damage, listed, folder
):
    shutil.rmtree(folder / "20")
    if not listed:  # As an earlier version saved it.
        (folder / "30" / "files.json").unlink()
    for path in (folder / "30").glob(name):
        damage(path)
    for read in (checkpoints.Store(folder).meta, checkpoints.Store(folder).recover):
        with pytest.raises(checks.UserError, match="can be read") as error:
            read()
        message = str(error.value)
        assert str(folder / "30") in message
        assert "Restore them from a copy" in message
        assert "\n" not in message
        assert "delete" not in message
        assert len(message) < 900
    assert (folder / "30").exists()


META_FAULTS = [
    ("[]", "not a JSON object"),
    ("null", "not a JSON object"),
    ("{", "not JSON"),
    ({"step": None}, "'step' is missing"),
    ({"step": "30"}, "'step' is '30' instead of a whole number"),
    ({"step": True}, "'step' is 'True' instead of a whole number"),
    ({"step": -1}, "'step' is '-1' instead of a whole number"),
    ({"data_source": 3}, "'data_source' is '3' instead of a text"),
    ({"table_lengths": [1]}, "'table_lengths' is not two numbers"),
    ({"table_lengths": {"a": 1}}, "'table_lengths' is "),
    ({"format_version": None}, "'format_version' is missing"),
    ({"format_version": "5"}, "'format_version' is '5'"),
    ({"config": []}, "'config' is '[]' instead of an object"),
    ({"config": {"seed": 0}}, "'algorithm' is missing"),
    ({"seeds": ["0"]}, "'seeds' is not a list of numbers"),
    ({"tables": {"metrics.csv": 3}}, "'tables' does not describe 'metrics.csv'"),
    ({"complete": "yes"}, "'model_step' is missing"),
]


@pytest.mark.parametrize(("change", "said"), META_FAULTS)
def test_a_description_of_another_form_is_named(change, said, folder, warnings):
    path = folder / "30" / "meta" / "metadata"
    (folder / "30" / "files.json").unlink()
    if isinstance(change, dict):
        meta = json.loads(path.read_text()) | change
        change = json.dumps({k: v for k, v in meta.items() if v is not None})
    path.write_text(change)
    assert contents(folder) == 20
    assert said in warnings.text


def test_checkpoints_of_earlier_versions_are_read(folder, warnings):
    (folder / "30" / "files.json").unlink()
    assert contents(folder) == 30
    assert not warnings.records


def test_another_format_version_is_no_damage(folder, monkeypatch):
    written = checkpoints.FORMAT_VERSION
    monkeypatch.setattr(checkpoints, "FORMAT_VERSION", written + 1)
    with pytest.raises(checks.UserError, match=f"format version {written}"):
        checkpoints.Store(folder).recover()
    assert (folder / "30").exists()


@pytest.mark.parametrize(
    ("like", "said"),
    [
        ({**LIKE, "a": np.zeros(40, np.float32)}, r"a is float32\[50\], float32\[40\]"),
        ({"a": LIKE["a"], "b": ()}, r"c is int32\[\], none expected"),
        ({**LIKE, "d": np.zeros((2, 3), np.int32)}, r"d is missing, int32\[2, 3\]"),
        ({**LIKE, "b": np.zeros(1, bool)}, r"b is missing, bool\[1\] expected"),
    ],
)
def test_arrays_of_another_run_are_named(like, said, folder):
    with pytest.raises(checks.UserError, match=said) as error:
        checkpoints.Store(folder).restore(like)
    assert str(folder / "30") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_checkpoint_that_does_not_fit_on_the_disk_is_not_begun(folder):
    huge = np.broadcast_to(np.float32(1), (2**50,))  # Takes four bytes of memory.
    store = checkpoints.Store(folder)
    with pytest.raises(checks.UserError, match="No space left on device") as error:
        store.save(40, {"a": huge}, {}, META)
    message = str(error.value)
    assert str(folder) in message
    needed, free = re.findall(r"([\d,]+) bytes are", message)
    assert int(needed.replace(",", "")) >= 4 * 2**50
    assert int(free.replace(",", "")) < 2**50
    assert sorted(path.name for path in folder.iterdir()) == ["20", "30"]
    assert contents(folder) == 30


@pytest.mark.parametrize("size", [0, 100, 1 << 16])
def test_a_save_that_finds_no_room_is_one_error_and_leaves_nothing_behind(
    size, folder, capfd, monkeypatch
):
    seen = []
    for module in (sys, threading):  # They are put back after the test.
        monkeypatch.setattr(module, "excepthook", lambda *given: seen.append(given))
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    big = {f"a{i}": np.random.default_rng(i).random(1 << 16) for i in range(8)}
    with (
        pytest.raises(checks.UserError, match="File too large"),
        small_disks.limited(size),
    ):
        checkpoints.Store(folder).save(40, big, {}, META)
    assert sorted(path.name for path in folder.iterdir()) == ["20", "30"]
    assert capfd.readouterr() == ("", "")
    assert not seen
    # What else fails in a thread is reported as ever.
    bug = IndexError("a bug")
    threading.excepthook(threading.ExceptHookArgs((IndexError, bug, None, None)))
    assert seen[0][0].exc_value is bug
    assert contents(folder) == 30


def test_a_save_that_fails_leaves_nothing_behind(folder):
    class BugError(Exception):
        pass

    class Files(dict):
        def items(self):
            raise BugError

    with pytest.raises(BugError):
        checkpoints.Store(folder).save(40, state(40), {}, META, Files(name=b"text"))
    assert sorted(path.name for path in folder.iterdir()) == ["20", "30"]


def test_what_is_being_read_is_deleted_later(folder):
    reader = checkpoints.Store(folder)
    assert reader.meta()["step"] == 30
    writer = checkpoints.Store(folder)
    for step in (40, 50, 60):
        save(writer, step)
    assert locations.steps(folder) == [30, 50, 60]
    assert reader.restore(LIKE)[0]["c"] == 30
    reader.close()
    save(writer, 70)
    assert locations.steps(folder) == [60, 70]


@pytest.mark.parametrize("locks", [True, False])
def test_reading_while_a_run_saves_never_fails(locks, tmp_path, monkeypatch):
    if not locks:  # As on some network file systems.

        def flock(descriptor, mode):
            raise OSError("no locks here")

        monkeypatch.setattr(fcntl, "flock", flock)
    folder = tmp_path / "online"
    store = checkpoints.Store(folder)
    save(store, 1)
    stop = threading.Event()

    def write():
        step = 1
        while not stop.is_set():
            step += 1
            save(store, step)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(15 if locks else 5):
            if locks:
                contents(folder)
            else:
                assert checkpoints.Store(folder).meta()["step"] >= 1
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("error", [MemoryError("512 GB"), KeyboardInterrupt()])
def test_what_is_no_damage_is_not_told_as_such(error, folder, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(checkpoint_arrays.ocp.Checkpointer, "restore", fail)
    with pytest.raises(type(error)):
        checkpoints.Store(folder).restore(LIKE)


def test_a_bug_in_our_code_is_not_told_as_damage(folder, monkeypatch):
    def no_arguments():
        raise AssertionError

    monkeypatch.setattr(checkpoint_arrays, "_unpack", no_arguments)
    with pytest.raises(TypeError):
        checkpoints.Store(folder).restore(LIKE)
    monkeypatch.setattr(checkpoint_arrays.ocp.Checkpointer, "restore", no_arguments)
    with pytest.raises(TypeError):
        checkpoints.Store(folder).restore(LIKE)
