r"""CQL, offline then vanilla fine-tuning on offline and online data, as in CORL.

    python -m samg_jax.train --config=configs/cql.py:halfcheetah-medium

Expected time, two CPU cores, one seed: 57 hours for a million offline updates (4.9 a
second; on AntMaze, whose critics are deeper, 2.5 a second, so twice that), then at
least half as long for 500,000 environment steps with an update each. It wants a GPU.

Published (D4RL): halfcheetah-medium 47.0 offline (CORL); antmaze-large-play 28.8
offline, 88.3 after a million online steps (CORL's fine-tuning). Initialization and
critic depth are those of CORL's offline script on locomotion, and of its fine-tuning
script on AntMaze: the scripts that have the published scores. CORL has no locomotion
fine-tuning settings. On AntMaze its offline script, with other published scores, has a
second critic of three layers beside one of five:

    python -m samg_jax.train --config=configs/cql.py:antmaze-umaze \
        --config.agent.initialization=offline \
        --config.agent.second_critic_hidden_dims="(256, 256, 256)"

CORL's scores after a million online steps need `--config.online.steps=1000000`; the
default is the SAMG paper's 500,000.
"""

import ml_collections

from samg_jax.configs import base

# What differs from the defaults, by dataset family and dataset.
OVERRIDES = {
    "hopper-medium": {"dataset": {"reward_transform": "range"}},
    "antmaze": {
        "agent": {
            "actor_learning_rate": 1e-4,
            "critic_hidden_dims": (256,) * 5,
            "initialization": "finetune",
            "cql_weight": 5.0,
            "gap_clip_min": -200.0,
            "lagrange_gap": 0.8,
            "max_target_backup": True,
        },
        "dataset": {
            "normalize_observations": False,
            "reward_transform": "affine",
            "reward_scale": 10.0,
            "reward_bias": -5.0,
        },
    },
}


def get_config(dataset: str = "hopper-demo") -> ml_collections.ConfigDict:
    """Returns the experiment for a dataset."""
    config = base.get_config(dataset, "cql")
    config.lock()  # From here a misspelled name is an error.
    base.override(config, OVERRIDES, dataset)
    return config
