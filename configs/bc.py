r"""BC: behavioral cloning of the whole dataset, offline only, as in CORL.

    python -m samg_jax.train --config=configs/bc.py:hopper-medium

Expected time, two CPU cores, one seed: half an hour for a million updates (550 a
second).

Published (D4RL, 4 seeds): hopper-medium 53.5, antmaze-umaze 55.3 (CORL).
"""

import ml_collections

from samg_jax.configs import base


def get_config(dataset: str = "hopper-demo") -> ml_collections.ConfigDict:
    """Returns the experiment for a dataset."""
    config = base.get_config(dataset, "bc")
    config.dataset.drop_unfinished = True
    config.online.steps = 0  # CORL does not fine-tune it.
    config.lock()  # From here a misspelled name is an error.
    return config
