"""Tables that were edited between two commands are recognized and put back."""

import logging
import os

import numpy as np
import pytest

from samg_jax import checks, logs
from samg_jax.runs import checkpoints, run_output, run_tables

COLUMNS = ("a", "b")
CONTENT = b"a,b\n1,0.5\n2,0.25\n3,0.125\n"


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """Both tables, as they were when the only checkpoint was saved."""
    for name in run_tables.NAMES:
        (tmp_path / name).write_bytes(CONTENT + b"4,lost\n")
    recorded, files = run_tables.record(tmp_path, (len(CONTENT), len(CONTENT)))
    store = checkpoints.Store(tmp_path / "online")
    meta = {
        "step": 7,
        "offline_step": 0,
        "data_source": "",
        "table_lengths": [len(CONTENT)] * 2,
        "tables": recorded,
    }
    store.save(7, {"x": np.zeros(2)}, {}, meta, files)
    monkeypatch.setattr(logs.LOGGER, "propagate", True)
    return tmp_path


def repair(workdir):
    store = checkpoints.Store(workdir / "online")
    run_tables.repair(workdir, store.meta(), store)
    table = run_output.Table(workdir / "metrics.csv", COLUMNS, len(CONTENT))
    table.write({"a": 4, "b": 5})
    table.close()
    assert (workdir / "metrics.csv").read_bytes() == CONTENT + b"4,5\n"


@pytest.mark.parametrize("behind", [b"", b"4,lost\n", b"4,tor", b"\0" * 99, b"\r\n"])
def test_whatever_lies_behind_the_checkpoint_is_cut(behind, workdir, caplog):
    (workdir / "metrics.csv").write_bytes(CONTENT + behind)
    repair(workdir)
    assert not caplog.records


@pytest.mark.parametrize(
    "rewritten",
    [
        CONTENT.replace(b"\n", b"\r\n"),
        CONTENT.replace(b"\n", b"\r"),
        b"\xef\xbb\xbf" + CONTENT,
        b"\xef\xbb\xbf" + CONTENT.replace(b"\n", b"\r\n") + b"4,5\r\n",
        CONTENT[:-1],
    ],
)
def test_line_ends_of_other_programs_are_put_back(rewritten, workdir, caplog):
    (workdir / "metrics.csv").write_bytes(rewritten)
    repair(workdir)
    assert "rewrote its line ends" in caplog.text
    assert not list(workdir.glob("*.found*"))


@pytest.mark.parametrize(
    "edited",
    [
        CONTENT[: CONTENT.rindex(b"3")],
        CONTENT[:-4],
        CONTENT.replace(b"0.25", b"0.26"),
        CONTENT.replace(b"0.125", b".125") + b"more\n",
        CONTENT.replace(b"a,b", b"b,a"),
        CONTENT.removeprefix(b"a,b\n") + b"a,b\n",
        bytes(len(CONTENT)),
        b"",
        b"\xff\xfe" + CONTENT.decode().encode("utf-16-le"),
    ],
)
def test_an_edited_table_is_put_back_and_the_edited_one_kept(edited, workdir, caplog):
    (workdir / "metrics.csv").write_bytes(edited)
    repair(workdir)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "put back as the checkpoint of step 7" in caplog.text
    assert str(workdir / "metrics.csv") in caplog.text
    assert (workdir / "metrics.csv.found1").read_bytes() == edited


def test_a_missing_table_is_put_back(workdir, caplog):
    (workdir / "metrics.csv").unlink()
    repair(workdir)
    assert "is missing" in caplog.text


def test_the_edited_ones_of_two_resumes_are_both_kept(workdir):
    for text in (b"first\n", b"second\n"):
        (workdir / "training.csv").write_bytes(text)
        repair(workdir)
        (workdir / "metrics.csv").write_bytes(CONTENT)
    assert (workdir / "training.csv.found1").read_bytes() == b"first\n"
    assert (workdir / "training.csv.found2").read_bytes() == b"second\n"


@pytest.mark.parametrize(
    "content", [b"time,price\n1,2\n", b"my notes", CONTENT.replace(b",b", b",c")]
)
def test_a_file_that_is_no_table_of_the_run_is_left_alone(content, tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(checks.UserError, match="not the header") as error:
        run_output.Table(path, COLUMNS, 0)
    assert str(path) in str(error.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "content", [CONTENT.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + CONTENT]
)
def test_other_line_ends_are_refused_if_the_checkpoint_has_no_copy(content, tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(checks.UserError, match="not the header"):
        run_output.Table(path, COLUMNS, len(CONTENT))
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"a,", CONTENT, CONTENT[:-3], b"a,b\r\n1"])
def test_a_run_without_a_checkpoint_begins_its_table_anew(content, tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    run_output.Table(path, COLUMNS, 0).close()
    assert path.read_bytes() == b"a,b\n"


@pytest.mark.parametrize("flush", ["tell", "flush_to_disk", "close"])
def test_a_full_disk_ends_a_table_with_one_line(flush, tmp_path):
    table = run_output.Table(tmp_path / "metrics.csv", COLUMNS, 0)
    table.tell()
    # From here on the file is one that is always full.
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, table._file.fileno())
    os.close(full)
    table.write({"a": 1, "b": 2})
    with pytest.raises(checks.UserError, match="No space left on device") as error:
        getattr(table, flush)()
    assert f"Cannot write into {str(tmp_path)!r}" in str(error.value)
    assert "bytes are free" in str(error.value)
