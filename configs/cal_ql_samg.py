r"""Cal-QL fine-tuned with SAMG: online data only, guided by the frozen critic.

    python -m samg_jax.train --config=configs/cal_ql_samg.py:hopper-medium

Expected time, two CPU cores, one seed: that of `configs/cal_ql.py`; the C-VAE adds 12
minutes (137 updates a second), the frozen critic about a quarter to
each update.

Published (D4RL, SAMG paper): hopper-medium 112.9, hopper-medium-replay 108.7,
antmaze-large-play 90.0.
"""

import ml_collections

from samg_jax.configs import base, cal_ql

# The paper's threshold, and its lower weight, between 2 and 3 instead of 5.
OVERRIDES = {
    "antmaze": {
        "agent": {"cql_weight_online": 2.5},
        "guidance": {"threshold": 0.4},
    },
}


def get_config(dataset: str = "hopper-demo") -> ml_collections.ConfigDict:
    """Returns the experiment for a dataset."""
    config = cal_ql.get_config(dataset)
    with config.unlocked():
        base.add_guidance(config)
    base.override(config, OVERRIDES, dataset)
    return config
