"""Strangers' HDF5 files: whatever is wrong with them is one line that says so."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from samg_jax import checks
from samg_jax.data import d4rl, hdf5_files

ROWS = 40


def arrays():
    rng = np.random.default_rng(0)
    return {
        "observations": rng.normal(size=(ROWS, 3)),
        "actions": rng.uniform(-1, 1, (ROWS, 2)),
        "rewards": rng.normal(size=ROWS),
        "terminals": np.zeros(ROWS, bool),
        "timeouts": np.arange(ROWS) % 10 == 9,
    }


@pytest.fixture
def write(tmp_path):
    """Writes arrays, some left out, with options of h5py; returns the path."""

    def write(*left_out, **options):
        path = tmp_path / "data.hdf5"
        with h5py.File(path, "w") as file:
            for key, value in arrays().items():
                if key not in left_out:
                    file.create_dataset(key, data=value, **options)
        return path

    return write


def message(path):
    with pytest.raises(checks.UserError) as info:
        d4rl.load_own(path)
    text = str(info.value)
    assert "\n" not in text
    assert str(path) in text
    assert "elete" not in text  # A good file must never be thrown away.
    return text


def test_a_file_that_another_process_writes_is_said_to_be_fine(write):
    path = write()
    program = "import h5py, sys; f = h5py.File(sys.argv[1], 'r+'); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        writer.stdout.readline()
        text = message(path)
        writer.communicate("\n")
    assert "is locked: another process" in text
    assert "Nothing is wrong with it" in text
    assert len(d4rl.load_own(path).rewards) == ROWS


def test_a_file_that_its_writer_left_open_names_h5clear(tmp_path):
    path = tmp_path / "data.hdf5"
    program = (
        "import h5py, os, sys; f = h5py.File(sys.argv[1], 'w', libver='latest'); "
        "f['rewards'] = 1; f.flush(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, path], check=True)
    assert "h5clear" in message(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04" + bytes(99), "NumPy .npz"),
        (b"\x1f\x8b" + bytes(99), "compressed by gzip"),
        (b"<!DOCTYPE html>", "error page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "damaged"),
        (b"plain text", "does not begin as one"),
        (b"\x80\x05" + bytes(9), "a Python pickle"),
        (b"MATLAB 5.0 MAT-file", "a MATLAB file"),
        (b"PAR1" + bytes(9), "Parquet"),
    ],
)
def test_other_contents_are_named(tmp_path, content, said):
    path = tmp_path / "data.hdf5"
    path.write_bytes(content)
    assert said in message(path)


def test_a_truncated_file_says_so(write):
    path = write()
    path.write_bytes(path.read_bytes()[:-200])
    assert "truncated" in message(path)


if os.geteuid() != 0:  # Root may read everything.

    def test_a_file_without_the_right_to_read_it_says_so(write):
        path = write()
        path.chmod(0)
        assert "chmod u+r" in message(path)


def test_folders_and_what_is_no_file_are_refused(write):
    path = write()
    with pytest.raises(checks.UserError, match=r"it is a folder.*data\.hdf5"):
        d4rl.load(path.parent)
    for wrong in (path / "x", path.parent / ("x" * 999), "/dev/null", "~nobody-here/x"):
        with pytest.raises(checks.UserError, match="No dataset file at"):
            d4rl.load(wrong)


@pytest.mark.parametrize("kind", ["soft", "dangling", "external", "raw", "virtual"])
def test_numbers_outside_their_place_are_refused(write, tmp_path, kind):
    path = write("rewards")
    (tmp_path / "raw.bin").write_bytes(bytes(4 * ROWS))
    with h5py.File(path, "r+") as file:
        if kind == "soft":
            file["other"] = arrays()["rewards"]
            file["rewards"] = h5py.SoftLink("/other")
        elif kind == "dangling":
            file["rewards"] = h5py.SoftLink("/nowhere")
        elif kind == "external":
            file["rewards"] = h5py.ExternalLink("other.hdf5", "/rewards")
        elif kind == "raw":
            raw = [(str(tmp_path / "raw.bin"), 0, 4 * ROWS)]
            file.create_dataset("rewards", (ROWS,), "f4", external=raw)
        else:
            layout = h5py.VirtualLayout((ROWS,), "f4")
            layout[:] = h5py.VirtualSource("other.hdf5", "rewards", shape=(ROWS,))
            file.create_virtual_dataset("rewards", layout)
    text = message(path)
    assert "'rewards' in" in text
    assert "Only arrays stored in the file itself" in text


@pytest.mark.parametrize(
    "key", ["observations", "rewards", "timeouts", "next_observations"]
)
@pytest.mark.parametrize("kind", ["Group", "Datatype"])
def test_what_is_no_array_is_refused_in_its_place(write, key, kind):
    path = write(key)
    with h5py.File(path, "r+") as file:
        file[key] = np.dtype("f4") if kind == "Datatype" else h5py.SoftLink("/no")
        if kind == "Group":
            del file[key]
            file.create_group(key)
    assert f"no array {key!r}: a {kind} has that name" in message(path)


@pytest.mark.parametrize(
    ("rename", "said"),
    [
        (str.capitalize, "Did you mean 'Observations'"),
        (lambda key: key.removesuffix("s"), "Did you mean 'observation'"),
        (lambda key: f"data/{key}", "only ['data']"),
        (lambda key: f"episode_0/{key}", "minari:ID"),
    ],
)
def test_arrays_under_other_names_are_proposed(tmp_path, rename, said):
    path = tmp_path / "data.hdf5"
    with h5py.File(path, "w") as file:
        for key, value in arrays().items():
            file[rename(key)] = value
    assert said in message(path)


def test_transposed_arrays_are_refused(write):
    path = write("observations", "actions")
    with h5py.File(path, "r+") as file:
        for key in ("observations", "actions"):
            file[key] = arrays()[key].T
    assert "transposed" in message(path)


def test_a_missing_filter_is_named_and_the_file_left_alone(write):
    path = write("rewards")
    with h5py.File(path, "r+") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((ROWS,))
        plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
        space = h5py.h5s.create_simple((ROWS,))
        h5py.h5d.create(file.id, b"rewards", h5py.h5t.IEEE_F32LE, space, plist)
    text = message(path)
    assert "HDF5 filter 32015" in text
    assert "h5repack" in text
    assert "may be fine" in text


@pytest.mark.parametrize("rows", [10**9, 10**12, 5000])
def test_declared_rows_that_were_never_written_are_refused_unread(tmp_path, rows):
    path = tmp_path / "data.hdf5"
    with h5py.File(path, "w") as file:
        for key, value in arrays().items():
            shape = (rows, *value.shape[1:])
            file.create_dataset(key, shape, "f4", chunks=(1024, *value.shape[1:]))
    assert path.stat().st_size < 10_000
    assert f"declares {rows:,} rows" in message(path)


def test_rows_that_memory_cannot_hold_are_refused_unread(write, monkeypatch):
    path = write()
    monkeypatch.setattr(hdf5_files, "free_memory", lambda: 1000.0)
    text = message(path)
    assert "GB are free" in text
    with pytest.raises(checks.UserError, match="memory"):
        hdf5_files.check_all(path)
    assert hdf5_files.free_memory() == 1000.0
    monkeypatch.undo()
    assert hdf5_files.free_memory() > 1e6


@pytest.mark.parametrize(
    "key",
    ["observations", "actions", "rewards", "terminals", "timeouts"],
)
@pytest.mark.parametrize("layout", ["contiguous", "chunked", "partly"])
def test_arrays_that_were_never_written_are_refused(write, key, layout):
    path, value = write(key), arrays()[key]
    chunks = None if layout == "contiguous" else (10, *value.shape[1:])
    with h5py.File(path, "r+") as file:
        array = file.create_dataset(key, value.shape, value.dtype, chunks=chunks)
        if layout == "partly":
            array[:10] = value[:10]
    text = message(path)
    assert f"Rows of {key!r} were never written" in text
    assert ("leave 'timeouts' out" in text) == (key == "timeouts")
    with pytest.raises(checks.UserError, match=f"{key}' in .* were never written"):
        hdf5_files.check_all(path)
    with h5py.File(path, "r+") as file:
        file[key][:] = value
    np.testing.assert_array_equal(
        getattr(d4rl.load_own(path), key), value.astype(np.float32)
    )
    hdf5_files.check_all(path)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.zeros(ROWS, complex), "complex128"),
        (np.zeros(ROWS, [("a", "f4")]), "numbers are needed"),
        (["x"] * ROWS, "numbers are needed"),
        (np.zeros(ROWS, "V3"), "numbers are needed"),
        (h5py.Empty("f4"), "empty dataset"),
        (np.zeros((ROWS, 1, 1)), "allowed is [T]"),
        (np.float32(1.0), "allowed is [T]"),
        (np.zeros(0), "different numbers of rows"),
        (np.full(ROWS, np.inf), "NaN or infinity"),
    ],
)
def test_rewards_of_wrong_types_and_shapes_are_refused(write, value, said):
    path = write("rewards")
    with h5py.File(path, "r+") as file:
        file["rewards"] = value
    assert said in message(path)


@pytest.mark.parametrize("kind", ["i1", "u8", "f2", "f8", ">f4", "?"])
def test_every_type_of_numbers_is_read_as_float32(write, kind):
    path = write("rewards")
    values = (np.arange(ROWS) % 2).astype(kind)
    with h5py.File(path, "r+") as file:
        file["rewards"] = values[:, None]
    raw = d4rl.load_own(path)
    assert raw.rewards.dtype == np.float32
    np.testing.assert_array_equal(raw.rewards, values.astype(np.float32))


def test_any_damage_is_a_refusal_or_leaves_the_arrays_readable(write):
    path = write(compression="gzip", fletcher32=True)
    content, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for turn in range(90):
        broken = bytearray(content)
        reach = 4000 if turn % 2 else len(broken)  # Most of the structure is there.
        for place in rng.integers(0, reach, rng.integers(1, 8)):
            broken[place] = rng.integers(256)
        if turn % 3 == 0:
            broken = broken[: rng.integers(len(broken))]
        path.write_bytes(broken)
        try:
            d4rl.load_own(path)
        except checks.UserError:
            refused += 1
    assert refused > 30
