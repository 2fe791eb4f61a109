"""Fine-tuning holds no more after thousands of steps than after the first ones."""

import os
import pathlib
import sys

import jax
import pytest

from samg_jax.training import online_phase
from tests.fixtures import small_runs

STATM = pathlib.Path("/proc/self/statm")
# Measured with Orbax 0.12.8: 0.1 MB a save of the small state here, over 100 saves, and
# 560 blocks of Python's allocator.
SAVE_MB = 0.25
SAVE_BLOCKS = 1_000


def resident_mb():
    """Returns what this process holds in memory now."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(not STATM.exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize(
    ("steps", "every", "saved_every", "overlap"),
    [
        (5_000, 5_000, 5_000, False),
        (2_000, 100, 100, True),
        pytest.param(10_000, 100, 10_000, True, marks=pytest.mark.slow),
        pytest.param(10_000, 100, 100, True, marks=pytest.mark.slow),
    ],
    ids=["alone", "with all", "for long, without saves", "for long, with all"],
)
def test_memory_does_not_grow_over_online_steps(
    steps, every, saved_every, overlap, dataset, tmp_path, monkeypatch
):
    original, taken, seen = online_phase.to_env_step, 0, {}

    def watched(step):
        nonlocal taken
        taken += 1
        if taken % (steps // 5) == 0:
            held = sys.getallocatedblocks(), resident_mb(), len(jax.live_arrays())
            seen[taken] = held
        return original(step)

    monkeypatch.setattr(online_phase, "to_env_step", watched)
    changes = {
        "offline__updates": 1,
        "online__steps": steps,
        "online__overlap": overlap,
        "online__buffer_size": 500,
        "online__log_every": min(every, 500),
        "online__eval_every": every,
        "online__checkpoint_every": saved_every,
        "evaluation__episodes": 1,
        "num_seeds": 1,
    }
    small_runs.run("awac", dataset, tmp_path, **changes)
    assert list(seen) == [steps // 5 * lap for lap in range(1, 6)]
    blocks, sizes, counts = zip(*seen.values(), strict=True)
    assert len(set(counts)) == 1
    # A transition that stayed would be some Python objects a step, and 0.1 kB; a state
    # of a seed 30 kB. Beside that only saves may add: Orbax alone, without this
    # package, keeps memory at each.
    window = steps * 2 / 5
    saves = window // saved_every
    assert blocks[-1] - blocks[2] < 0.5 * window + SAVE_BLOCKS * saves
    assert sizes[-1] - sizes[2] < 0.001 * window + SAVE_MB * saves
