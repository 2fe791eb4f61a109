r"""IQL fine-tuned with SAMG: online data only, guided by the frozen value network.

    python -m samg_jax.train --config=configs/iql_samg.py:hopper-medium

Expected time, two CPU cores, one seed: that of `configs/iql.py`; the C-VAE adds 12
minutes (137 updates a second), the frozen values next to nothing.

Published (D4RL, SAMG paper, a million online steps): hopper-medium 74.1,
hopper-medium-replay 101.8, antmaze-large-play 74.8.
"""

import ml_collections

from samg_jax.configs import base, iql


def get_config(dataset: str = "hopper-demo") -> ml_collections.ConfigDict:
    """Returns the experiment for a dataset."""
    config = iql.get_config(dataset)
    with config.unlocked():
        base.add_guidance(config)
    return config
