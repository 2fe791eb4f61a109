"""Values that explode while they are finite are warned of, once per seed."""

import logging

import numpy as np
import pytest

from samg_jax.runs import explosions, run_output


@pytest.mark.parametrize("value", [1e15, -3e20, 1e38])
def test_a_seed_that_explodes_is_warned_of_once(value, tmp_path, caplog):
    caplog.set_level(logging.INFO, "samg_jax")
    writer = run_output.Writer(tmp_path, np.array([4, 5]), tensorboard=False)
    writer.training("offline", (10, 0), {"q": np.array([1.0, 1e14])})
    assert not caplog.records
    for step in (20, 30):
        writer.training("offline", (step, 0), {"q": np.array([1.0, value])})
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"Seed 5 explodes: q is {value:.3g} at update 20" in record.getMessage()
    writer.training("online", (30, 7), {"loss": np.array([value, value])})
    assert "Seed 4 explodes" in caplog.records[1].getMessage()
    assert "environment step 7" in caplog.records[1].getMessage()
    writer.close()


def test_what_is_not_finite_is_left_to_the_report_of_failures(caplog):
    watch = explosions.Watch()
    watch.look("offline", (1, 0), {"q": np.array([np.nan, np.inf])}, ["0", "1"])
    assert not caplog.records
