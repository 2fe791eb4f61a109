"""Power cuts and full disks, on real file systems of this machine's own.

A power cut is a copy of the blocks of a mounted disk, made without flushing anything:
it has what a disk has when the machine loses its power at that moment.
"""

import os
import shutil
import time

import pandas as pd
import pytest

from samg_jax import checks
from samg_jax.runs import checkpoint_arrays, checkpoints, manifests, run_output
from tests.fixtures import small_disks, small_runs, tiny_suite

# Mounting takes a machine's administrator, whom continuous integration has not.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("CI" in os.environ, reason="needs loop devices"),
]


def cut_after_saves(dataset, folder, monkeypatch):
    """Runs on a disk of its own; returns its blocks as they were after each save."""
    image, cuts = small_disks.make(folder / "disk", 64), []
    save = checkpoints.Store.save

    def save_and_cut(self, *args):
        save(self, *args)
        cuts.append(shutil.copy(image, folder / f"cut{len(cuts)}"))

    with (
        small_disks.mounted(image, folder / "mounted") as disk,
        monkeypatch.context() as patch,
    ):
        patch.setattr(checkpoints.Store, "save", save_and_cut)
        small_runs.run("awac_samg", dataset, disk / "run")
    return cuts


def test_a_run_goes_on_after_a_power_cut_at_any_save(
    samg_run, dataset, tmp_path, monkeypatch
):
    cuts = cut_after_saves(dataset, tmp_path, monkeypatch)
    assert len(cuts) > 6
    for number, cut in enumerate(cuts):
        with small_disks.mounted(cut, tmp_path / f"again{number}") as disk:
            workdir = disk / "run"
            phase = "online" if (workdir / "online").exists() else "offline"
            found = sorted(path.name for path in (workdir / phase).iterdir())
            assert all(name.isdigit() for name in found), found
            assert 1 <= len(found) <= 3
            small_runs.run("awac_samg", dataset, workdir)
            assert small_runs.tables(workdir) == small_runs.tables(samg_run)
            small_runs.assert_same_arrays(
                small_runs.saved(workdir), small_runs.saved(samg_run)
            )
            log = (workdir / "log.txt").read_text()
            assert "resuming" in log
            assert "WARNING" not in log


def test_a_cut_that_spoils_the_newest_checkpoint_costs_that_one(
    samg_run, dataset, tmp_path, monkeypatch
):
    """On a disk that says to have flushed the newest arrays, and has not."""
    image, cuts = small_disks.make(tmp_path / "disk", 64), []
    save, sync = checkpoints.Store.save, os.fsync

    def lying(descriptor):
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if "/state/" not in path or os.path.isdir(path):
            sync(descriptor)

    def save_and_cut(self, step, *args):
        last = self.directory.name == "online" and step == 60
        with monkeypatch.context() as patch:
            if last:
                patch.setattr(os, "fsync", lying)
            save(self, step, *args)
        if last:
            cuts.append(shutil.copy(image, tmp_path / "cut"))

    with (
        small_disks.mounted(image, tmp_path / "mounted", ordered=False) as disk,
        monkeypatch.context() as patch,
    ):
        patch.setattr(checkpoints.Store, "save", save_and_cut)
        small_runs.run("awac_samg", dataset, disk / "run")
    (cut,) = cuts
    with small_disks.mounted(cut, tmp_path / "again") as disk:
        workdir = disk / "run"
        assert manifests.damage(workdir / "online" / "60")
        assert not manifests.damage(workdir / "online" / "40")
        small_runs.run("awac_samg", dataset, workdir)
        assert small_runs.tables(workdir) == small_runs.tables(samg_run)
        small_runs.assert_same_arrays(
            small_runs.saved(workdir), small_runs.saved(samg_run)
        )
        log = (workdir / "log.txt").read_text()
        assert f"WARNING {workdir / 'online' / '60'} cannot be read" in log
        assert (workdir / "online" / "60.damaged").is_dir()


def cut_suite(suite, folder, patterns):
    """Runs a suite on a disk of its own; returns its blocks when files appeared."""
    image, cuts = small_disks.make(folder / "disk", 256), []
    with small_disks.mounted(image, folder / "mounted") as disk:
        process = tiny_suite.start(suite, disk / "out", *tiny_suite.LONGER)
        try:
            for pattern in patterns:
                while process.poll() is None and not any(disk.glob(pattern)):
                    time.sleep(0.01)
                working = tiny_suite.at_work(disk / "out").values()
                assert process.poll() is None
                with small_disks.halted([process.pid, *working]):
                    cuts.append(shutil.copy(image, folder / f"cut{len(cuts)}"))
        finally:
            process.terminate()
            process.communicate(timeout=60)
    return cuts


def test_a_suite_goes_on_after_a_power_cut(dataset, tmp_path):
    suite = tiny_suite.write(tmp_path, dataset)
    job = "out/jobs/*/*/*/*"
    cuts = cut_suite(
        suite,
        tmp_path,
        [f"{job}/run/online/[0-9]*", "out/jobs/*/*/*/samg/complete/done.json"],
    )
    assert tiny_suite.run(suite, tmp_path / "out", *tiny_suite.LONGER) == 0
    for number, cut in enumerate(cuts):
        with small_disks.mounted(cut, tmp_path / f"again{number}") as disk:
            # What the job that was cut off had begun from.
            assert any(disk.glob(f"{job}/complete/done.json"))
            assert number == 0 or any(disk.glob(f"{job}/*/online/[0-9]*"))
            assert tiny_suite.run(suite, disk / "out", *tiny_suite.LONGER) == 0
            pd.testing.assert_frame_equal(
                tiny_suite.results(disk / "out"), tiny_suite.results(tmp_path / "out")
            )


def test_the_power_cut_of_these_tests_loses_what_is_not_flushed(
    dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    last = cut_after_saves(dataset, tmp_path, monkeypatch)[-1]
    with small_disks.mounted(last, tmp_path / "again") as disk:
        newest = disk / "run" / "online" / "60"
        assert not newest.exists() or manifests.damage(newest)


def before_save(patch, act):
    save = checkpoints.Store.save
    calls = []

    def filling(self, *args):
        calls.append(1)
        if len(calls) == 5:
            act(self.directory.parent.parent / "filler")
        save(self, *args)

    patch.setattr(checkpoints.Store, "save", filling)


def within_save(patch, act):
    write = checkpoint_arrays.write
    calls = []

    def filling(folder, *args):
        calls.append(1)
        if len(calls) == 5:
            act(folder.parents[2] / "filler")
        write(folder, *args)

    patch.setattr(checkpoint_arrays, "write", filling)


def before_a_row(patch, act):
    write = run_output.Table.write
    calls = []

    def filling(self, row):
        calls.append(1)
        if len(calls) == 100:
            act(self._folder.parent / "filler")
        write(self, row)

    patch.setattr(run_output.Table, "write", filling)


@pytest.mark.parametrize("moment", [before_save, within_save, before_a_row])
def test_a_run_goes_on_when_a_full_disk_has_room_again(
    moment, samg_run, dataset, tmp_path, monkeypatch
):
    image = small_disks.make(tmp_path / "disk", 64)
    with small_disks.mounted(image, tmp_path / "mounted") as disk:
        with monkeypatch.context() as patch:
            moment(patch, small_disks.fill)
            with pytest.raises(checks.UserError, match="No space left") as error:
                small_runs.run("awac_samg", dataset, disk / "run")
        message = str(error.value)
        assert str(disk / "run") in message
        assert "bytes are free" in message
        assert moment is before_a_row or "bytes are needed there" in message
        names = {path.name for path in (disk / "run").glob("o*line/*")}
        assert names
        assert all(name.isdigit() for name in names)
        # Still full, it says so at once.
        with pytest.raises(checks.UserError, match=r"has room for|No space left"):
            small_runs.run("awac_samg", dataset, disk / "run")
        (disk / "filler").unlink()
        small_runs.run("awac_samg", dataset, disk / "run")
        assert small_runs.tables(disk / "run") == small_runs.tables(samg_run)
        small_runs.assert_same_arrays(
            small_runs.saved(disk / "run"), small_runs.saved(samg_run)
        )
