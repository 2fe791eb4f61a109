"""Fine-tuning holds no more after ten thousand steps than after two."""

import os
import pathlib

import jax
import pytest

from samg_jax.training import online
from tests import runs

STEPS = 10_000
STATM = pathlib.Path("/proc/self/statm")


def resident_mb():
    """Returns what this process holds in memory now."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(not STATM.exists(), reason="reads Linux's /proc")
def test_memory_does_not_grow_over_ten_thousand_online_steps(
    dataset, tmp_path, monkeypatch
):
    original, taken, seen = online.to_feedback, 0, {}

    def watched(step):
        nonlocal taken
        taken += 1
        if taken % 2_000 == 0:
            seen[taken] = resident_mb(), len(jax.live_arrays())
        return original(step)

    monkeypatch.setattr(online, "to_feedback", watched)
    changes = {
        "offline__updates": 1,
        "online__steps": STEPS,
        "online__buffer_size": 500,
        "online__log_every": 500,
        "online__eval_every": STEPS,
        "online__checkpoint_every": STEPS,
        "evaluation__episodes": 1,
        "num_seeds": 1,
    }
    runs.run("awac", dataset, tmp_path, **changes)
    assert list(seen) == [2_000, 4_000, 6_000, 8_000, 10_000]
    sizes, counts = zip(*seen.values(), strict=True)
    assert len(set(counts)) == 1
    # A transition that stayed would be 0.1 kB a step, a state of a seed 30 kB.
    assert sizes[-1] - sizes[0] < 0.001 * (STEPS - 2_000)
