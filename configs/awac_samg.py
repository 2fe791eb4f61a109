r"""AWAC fine-tuned with SAMG: online data only, guided by the frozen offline critic.

    python -m samg_jax.train --config=configs/awac_samg.py:hopper-medium

Expected time, two CPU cores, one seed: that of `configs/awac.py`; the C-VAE adds 12
minutes (137 updates a second), the frozen critic about a sixth to each update.

Published (D4RL, SAMG paper): hopper-medium 104.1, hopper-medium-replay 110.0.
"""

import ml_collections

from samg_jax.configs import awac, base


def get_config(dataset: str = "hopper-demo") -> ml_collections.ConfigDict:
    """Returns the experiment for a dataset."""
    config = awac.get_config(dataset)
    with config.unlocked():
        base.add_guidance(config)
    return config
