import os

import pytest

from samg_jax import checks, durable


def test_a_file_is_replaced_whole_and_nothing_else_stays(tmp_path):
    path = tmp_path / "config.json"
    durable.write_json(path, {"a": 1})
    durable.write_json(path, {"a": 2})
    assert path.read_text() == '{\n  "a": 2\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    durable.write_text(path, "before")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        durable.write_text(path, "after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: durable.write_text(path, "x"),
        lambda path: durable.write_result(path, b"x"),
        lambda path: durable.write_json(path, {}),
    ],
)
@pytest.mark.parametrize("name", ["results.parquet", "results.csv", "job.json"])
def test_a_folder_where_a_file_belongs_is_named(write, name, tmp_path):
    path = tmp_path / name
    (path / "inside").mkdir(parents=True)
    with pytest.raises(checks.UserError, match=f"{name}' is a folder, where a file"):
        write(path)
    assert [found.name for found in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["metrics.csv", "output-0.txt"])
def test_a_folder_where_a_file_is_opened_is_named(name, tmp_path):
    (tmp_path / name).mkdir()
    with (
        pytest.raises(checks.UserError, match=f"{name}' is a folder, where a file"),
        durable.writing(tmp_path),
    ):
        (tmp_path / name).open("a")


def test_content_is_flushed_before_the_name_and_the_folder_last(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace

    def flush(descriptor):
        order.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(
        "pathlib.Path.replace",
        lambda self, target: (order.append("rename"), replace(self, target)),
    )
    durable.write_bytes(tmp_path / "x", b"data")
    assert order[0].startswith(str(tmp_path / "x."))
    assert order[1:] == ["rename", str(tmp_path)]


def test_a_tree_is_flushed_with_all_its_files(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("x")
    flushed = []
    fsync = os.fsync

    def flush(descriptor):
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    durable.sync_tree(tmp_path / "a")
    expected = [tmp_path / "a/b/file", tmp_path / "a/b", tmp_path / "a", tmp_path]
    assert flushed == [str(path) for path in expected]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_told_with_its_folder_and_what_is_needed(tmp_path):
    place = tmp_path / "not/there/yet"
    with (
        pytest.raises(checks.UserError, match="12,345 bytes are needed") as told,
        durable.writing(place, 12_345),
        open("/dev/full", "wb", buffering=0) as file,
    ):
        file.write(b"a letter")
    assert str(place) in str(told.value)
    with pytest.raises(IsADirectoryError), durable.writing(tmp_path):
        tmp_path.write_text("")
    assert durable.same_disk(place, tmp_path)


def test_long_names_are_cut_and_stay_apart():
    assert durable.short_name("hopper-medium") == "hopper-medium"
    names = {durable.short_name("é" * 300 + end) for end in "ab"}
    assert len(names) == 2
    assert all(100 < len(name.encode()) <= 120 for name in names)


ELSEWHERE = PermissionError(13, "Permission denied", "/elsewhere/robot.cfg")


def handled():
    try:
        raise ELSEWHERE
    except PermissionError:
        first, second = [1, 2, 3]
        return first, second


def raiser(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize(
    "fail",
    [
        handled,
        raiser(RuntimeError("robot: Permission denied")),
        raiser(ValueError("column x: Input/output error code")),
        raiser(ValueError("Failed to write [os_error_code='28']")),
        raiser(KeyError("No space left on device")),
        raiser(ELSEWHERE),
        raiser(PermissionError(1, "Operation not permitted")),
        raiser(OSError(5, "Input/output error", "/dev/robot")),
        raiser(OSError(30, "Read-only file system", "/elsewhere/file")),
    ],
)
def test_a_bug_or_another_place_is_not_taken_for_a_full_disk(fail, tmp_path):
    with pytest.raises(Exception) as told, durable.writing(tmp_path):  # noqa: PT011
        fail()
    assert not isinstance(told.value, checks.UserError)


def test_what_a_folder_refuses_is_told_also_through_a_library(tmp_path):
    inside = str(tmp_path / "online" / "5")
    texts = (
        f"Failed writing: \"{inside}\": No space left on device [os_error_code='28']",
        "Can't write data (file write failed: errno = 28, error message = 'No space')",
    )
    for text in texts:
        with (
            pytest.raises(checks.UserError, match="No space left on device"),
            durable.writing(tmp_path, libraries=True),
        ):
            raise ValueError(text)
    for error in (
        PermissionError(13, "Permission denied", inside),
        OSError(30, "Read-only file system", inside),
        OSError(28, "No space left on device"),
    ):
        with pytest.raises(checks.UserError), durable.writing(tmp_path):
            raise RuntimeError("the library's words") from error


def test_the_name_of_every_new_folder_is_flushed(tmp_path, monkeypatch):
    flushed, fsync = [], os.fsync

    def flush(descriptor):
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    for place, make in (
        ("a", durable.make_folder),
        ("b", lambda path: checks.folder(path, "--out=FOLDER")),
    ):
        make(tmp_path / place / "in" / "side")
        expected = [tmp_path, tmp_path / place, tmp_path / place / "in"]
        assert flushed == [str(path) for path in expected]
        flushed.clear()
        make(tmp_path / place / "in" / "side")
        assert not flushed
