r"""TD3+BC, offline only, as in CORL.

    python -m samg_jax.train --config=configs/td3_bc.py:hopper-medium

Expected time, two CPU cores, one seed: 2 hours for a million updates (150 a second).

Published (D4RL, 4 seeds): hopper-medium 60.4, antmaze-umaze 70.8 (CORL).
"""

import ml_collections

from samg_jax.configs import base

# What differs from the defaults, by dataset family.
OVERRIDES = {
    "antmaze": {"dataset": {"reward_transform": "affine", "reward_bias": -1.0}},
}


def get_config(dataset: str = "hopper-demo") -> ml_collections.ConfigDict:
    """Returns the experiment for a dataset."""
    config = base.get_config(dataset, "td3_bc")
    config.online.steps = 0  # CORL does not fine-tune it.
    config.lock()  # From here a misspelled name is an error.
    base.override(config, OVERRIDES, dataset)
    return config
