r"""TD3+BC, offline only, as in CORL.

    python -m samg_jax.train --config=configs/td3_bc.py:hopper-medium

Expected time, two CPU cores, one seed: 2 hours for a million updates (150 a second).

Published (D4RL, 4 seeds): hopper-medium 60.4, antmaze-umaze 70.8 (CORL).
"""

import ml_collections

from samg_jax.configs import base

# What differs from the defaults below, by dataset family.
OVERRIDES = {
    "antmaze": {"dataset": {"reward_transform": "affine", "reward_bias": -1.0}},
}


def get_config(dataset: str = "hopper-demo") -> ml_collections.ConfigDict:
    """Returns the experiment for a dataset."""
    config = base.get_config(dataset)
    config.algorithm = "td3_bc"
    config.online.steps = 0  # CORL does not fine-tune it.
    agent = config.agent
    agent.learning_rate = 3e-4
    agent.hidden_dims = (256, 256)
    agent.discount = 0.99
    agent.tau = 0.005
    agent.value_weight = 2.5  # `alpha` in CORL.
    agent.policy_noise = 0.2
    agent.noise_limit = 0.5
    agent.policy_delay = 2
    agent.exploration_noise = 0.1  # Read only with online steps.
    config.lock()  # From here a misspelled name is an error.
    base.override(config, OVERRIDES, dataset)
    return config
