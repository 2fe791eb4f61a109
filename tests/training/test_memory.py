"""Fine-tuning holds no more after ten thousand steps than after two."""

import os
import pathlib

import jax
import pytest

from samg_jax.training import online
from tests import runs

STATM = pathlib.Path("/proc/self/statm")


def resident_mb():
    """Returns what this process holds in memory now."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(not STATM.exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize(
    ("steps", "every", "overlap"),
    [
        (10_000, 10_000, False),
        (2_000, 100, True),
        pytest.param(10_000, 100, True, marks=pytest.mark.slow),
    ],
    ids=["alone", "with all that a run does", "with all that a run does, for long"],
)
def test_memory_does_not_grow_over_online_steps(
    steps, every, overlap, dataset, tmp_path, monkeypatch
):
    original, taken, seen = online.to_feedback, 0, {}

    def watched(step):
        nonlocal taken
        taken += 1
        if taken % (steps // 5) == 0:
            seen[taken] = resident_mb(), len(jax.live_arrays())
        return original(step)

    monkeypatch.setattr(online, "to_feedback", watched)
    changes = {
        "offline__updates": 1,
        "online__steps": steps,
        "online__overlap": overlap,
        "online__buffer_size": 500,
        "online__log_every": min(every, 500),
        "online__eval_every": every,
        "online__checkpoint_every": every,
        "evaluation__episodes": 1,
        "num_seeds": 1,
    }
    runs.run("awac", dataset, tmp_path, **changes)
    assert list(seen) == [steps // 5 * lap for lap in range(1, 6)]
    sizes, counts = zip(*seen.values(), strict=True)
    assert len(set(counts)) == 1
    # A transition that stayed would be 0.1 kB a step, a state of a seed 30 kB. The
    # first evaluations and checkpoints fill caches, which few steps do not outweigh.
    allowed = 0.001 if steps > 2_000 else 0.004
    assert sizes[-1] - sizes[2] < allowed * steps * 2 / 5
