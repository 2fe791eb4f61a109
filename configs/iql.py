r"""IQL, offline then vanilla fine-tuning on offline and online data, as in CORL.

    python -m samg_jax.train --config=configs/iql.py:hopper-medium

Expected time, two CPU cores, one seed: 2 hours for a million offline updates (130 a
second), then at least as long for a million environment steps with an update each.

Published (D4RL): hopper-medium 67.5 offline (CORL); 70.9 after a million online steps
(SAMG paper, vanilla column). antmaze-large-play 38.5 offline, 64.5 after a million
online steps (CORL). The actor's learning rate falls to 0 over the offline updates and
rises again over as many online ones, so a short online phase hardly moves the policy;
with `--config.agent.actor_schedule=constant` it stays where it starts.
"""

import ml_collections

from samg_jax.configs import base

# On these two CORL's policy is deterministic.
DETERMINISTIC = {
    "agent": {"tau": 0.001, "deterministic": True},
    "dataset": {"reward_transform": "range"},
}
# What differs from the defaults, by dataset family and dataset.
OVERRIDES = {
    "hopper-medium": DETERMINISTIC,
    "hopper-medium-replay": DETERMINISTIC,
    "hopper-medium-expert": {"agent": {"expectile": 0.5, "inverse_temperature": 6.0}},
    "antmaze": {
        "agent": {"expectile": 0.9, "inverse_temperature": 10.0},
        "dataset": {"reward_transform": "affine", "reward_bias": -1.0},
    },
}


def get_config(dataset: str = "hopper-demo") -> ml_collections.ConfigDict:
    """Returns the experiment for a dataset."""
    config = base.get_config(dataset, "iql")
    config.online.steps = 1_000_000  # The paper's, twice that of the other bases.
    config.lock()  # From here a misspelled name is an error.
    base.override(config, OVERRIDES, dataset)
    return config
