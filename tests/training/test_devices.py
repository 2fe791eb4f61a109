"""The seeds shared out to four devices: the run is that of one device."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from samg_jax import checks
from samg_jax.training import devices
from tests.fixtures import small_runs

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def out(dataset, tmp_path_factory):
    """What `tests/fixtures/four_devices.py` wrote, in a process with four devices."""
    folder = tmp_path_factory.mktemp("devices")
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=4"
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fixtures.four_devices",
            str(dataset),
            str(folder),
        ],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return folder


@pytest.fixture(scope="module")
def found(out):
    return json.loads((out / "found.json").read_text())


def test_four_devices_draw_exactly_what_one_draws(out):
    one, four = (np.load(out / f"draws_{count}.npz") for count in (1, 4))
    assert set(one) == set(four)
    assert len(one.files) > 100
    for name in one.files:
        np.testing.assert_array_equal(one[name], four[name])


def assert_close(own, other):
    """Fails unless both are equal but for the order of sums within a product."""
    assert set(own) == set(other)
    for name in other:
        if other[name].dtype.kind != "f":
            np.testing.assert_array_equal(own[name], other[name], name)
            continue
        # Relative to the size of the array: single numbers may be near 0.
        scale = max(np.abs(other[name]).max(), 1e-8)
        assert np.abs(own[name] - other[name]).max() <= 1e-5 * scale, name


def test_four_devices_learn_what_one_learns_from_offline_and_online_data(out):
    assert_close(*(dict(np.load(out / f"few_{count}.npz")) for count in (4, 1)))


def test_a_run_stopped_on_four_devices_and_resumed_on_one_is_that_of_one(out):
    # With the C-VAE, its fit, and guided fine-tuning beside the environments.
    for phase in ("offline", "online"):
        assert_close(
            *(small_runs.saved(out / name, phase) for name in ("moved", "one"))
        )
    for row, expected in zip(
        small_runs.evaluations(out / "moved"),
        small_runs.evaluations(out / "one"),
        strict=True,
    ):
        assert row[:4] == expected[:4]
        assert row.return_mean == pytest.approx(expected.return_mean, rel=1e-4)


def test_every_device_has_its_seeds_and_one_copy_of_the_data(found):
    inspection = found["inspection"]
    assert [shape[0] for shape in inspection["seeds_per_device"]] == [1] * 4
    assert [shape[0] for shape in inspection["agent_per_device"]] == [1] * 4
    assert inspection["rows_per_device"] == [[inspection["rows"]]] * 4
    assert inspection["shared"] == [[]] * 4


def test_no_device_waits_for_another_and_nothing_is_compiled_twice(found):
    inspection = found["inspection"]
    assert inspection["partitions"] == [["4"], ["4"]]
    assert inspection["collectives"] == []
    assert inspection["programs"] == [1, 1]
    assert inspection["donated"]


def test_devices_take_equally_many_seeds(found):
    choices = found["choices"]
    assert [choices[key] for key in ("8 0", "6 0", "5 0", "1 0", "6 2")] == [
        4,
        3,
        1,
        1,
        2,
    ]
    assert "4 with 6 seeds" in choices["6 4"]
    assert "config.devices=3" in choices["6 4"]
    assert "multiple of 4" in choices["6 4"]
    assert "this machine has 4" in choices["8 5"]
    assert "); 3 of 4 for 6 seeds" in choices["message"]
    # One seed of the offline phase, four replicas of fine-tuning.
    assert choices["sweep"] == 4


def test_one_device_is_no_mesh():
    assert devices.choose(8, 0) is None
    assert devices.choose(8, 1) is None
    assert devices.put_shared(None, np.ones(3)).shape == (3,)


def test_more_devices_than_there_are_is_refused_before_any_compute(dataset, tmp_path):
    with pytest.raises(checks.UserError, match="devices is 2") as error:
        small_runs.run("awac", dataset, tmp_path / "run", devices=2)
    assert "this machine has 1" in str(error.value)
    assert "config.devices=1" in str(error.value)
    assert not (tmp_path / "run").exists()
