"""Weights & Biases, for real and offline: what a run leaves in its workdir."""

import importlib
import json
import os
import pathlib

import pytest

from samg_jax import checks
from samg_jax.runs import lifecycle, wandb_events
from tests.fixtures import small_runs

BLOCK, HEADER = 32_768, 7


def records(path: pathlib.Path):
    """Yields the records of a `.wandb` file: LevelDB's log format, of protobufs."""
    proto = importlib.import_module("wandb.proto.wandb_internal_pb2")
    data, place, body = path.read_bytes(), 7, b""  # 7 bytes say what the file is.
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:  # No room for a header: padding.
            place += BLOCK - place % BLOCK
            continue
        length = int.from_bytes(data[place + 4 : place + 6], "little")
        part = data[place + 6]  # 1: whole, 2: first, 3: middle, 4: last.
        body += data[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if part in (1, 4):
            yield proto.Record.FromString(body)
            body = b""


def logged(workdir: pathlib.Path):
    """Returns the ids of the workdir's runs, and `(name, step) -> value` of all."""
    ids, values = [], {}
    for path in sorted(workdir.glob("wandb/offline-run-*/run-*.wandb")):
        for record in records(path):
            if record.HasField("run") and record.run.run_id not in ids:
                ids.append(record.run.run_id)
            row = {
                item.key or item.nested_key[0]: json.loads(item.value_json)
                for item in record.history.item
            }
            for name, value in row.items():
                if not name.startswith("_") and name != wandb_events.STEP:
                    values[name, row[wandb_events.STEP]] = value
    return ids, values


def test_an_offline_run_holds_the_scores_and_is_resumed(tmp_path, dataset, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")  # The config decides, not this.
    fields = {"logging__wandb": "offline"}
    with monkeypatch.context() as patch:
        small_runs.stop_at(patch, "online", 45)
        with pytest.raises(small_runs.Stopped):
            small_runs.run("awac", dataset, tmp_path / "run", **fields)
    workdir = small_runs.run("awac", dataset, tmp_path / "run", **fields)
    ids, values = logged(workdir)
    assert ids == [(workdir / wandb_events.ID_FILE).read_text().strip()]
    assert len(list(workdir.glob("wandb/offline-run-*"))) == 2
    rows = small_runs.evaluations(workdir)
    assert len(rows) == 12
    for row in rows:
        name = f"{row.phase}/normalized_score/seed_{row.seed}"
        step = row.offline_step + row.env_step
        assert values[name, step] == pytest.approx(row.normalized_score)
    losses = small_runs.training(workdir, "critic_loss")
    assert len(losses) == 12
    for (seed, *steps), value in losses.items():
        name = f"online/critic_loss/seed_{seed}"
        assert values[name, sum(steps)] == pytest.approx(value)


def test_nothing_of_it_is_there_unless_asked_for(awac_run):
    assert not (awac_run / "wandb").exists()
    assert not (awac_run / wandb_events.ID_FILE).exists()


def test_a_missing_library_and_a_wrong_mode_are_refused(tmp_path, dataset, monkeypatch):
    config = small_runs.config("awac", dataset, logging__wandb="disabled")
    with pytest.raises(checks.UserError, match="Allowed: off, offline, online"):
        lifecycle.run(config, tmp_path / "run")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    config = small_runs.config("awac", dataset, logging__wandb="offline")
    with pytest.raises(checks.UserError, match=r"not installed here.*\[wandb\]"):
        lifecycle.run(config, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_run_without_login_is_refused(tmp_path, dataset, monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))  # Where a key would be kept.
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    config = small_runs.config("awac", dataset, logging__wandb="online")
    with pytest.raises(checks.UserError, match="Run wandb login first"):
        lifecycle.run(config, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()
