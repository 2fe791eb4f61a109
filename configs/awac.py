r"""AWAC, offline then vanilla fine-tuning on offline and online data, as in CORL.

    python -m samg_jax.train --config=configs/awac.py:hopper-medium

Expected time, two CPU cores, one seed: 4 hours for a million offline updates (70 a
second), then at least 2 hours for 500,000 environment steps with an update each.

Published (D4RL, 4 seeds): hopper-medium 63.0 offline (CORL); 102.3 after 500k online
steps (SAMG paper, vanilla column). antmaze-umaze 52.8 offline, 98.8 after a million
online steps (CORL); on the medium and large mazes 0 throughout. CORL has no locomotion
fine-tuning settings: these are its fine-tuning script with its offline locomotion
hyperparameters.

CORL's scores after a million online steps need `--config.online.steps=1000000`; the
default is the SAMG paper's 500,000.
"""

import ml_collections

from samg_jax.configs import base

# What differs from the defaults, by dataset family.
OVERRIDES = {
    "antmaze": {
        "agent": {"inverse_temperature": 1.0 / 0.1},
        "dataset": {"reward_transform": "affine", "reward_bias": -1.0},
    },
}


def get_config(dataset: str = "hopper-demo") -> ml_collections.ConfigDict:
    """Returns the experiment for a dataset."""
    config = base.get_config(dataset, "awac")
    config.lock()  # From here a misspelled name is an error.
    base.override(config, OVERRIDES, dataset)
    return config
