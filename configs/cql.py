r"""CQL, offline then vanilla fine-tuning on offline and online data, as in CORL.

    python -m samg_jax.train --config=configs/cql.py:halfcheetah-medium

Published (D4RL): halfcheetah-medium 47.0 offline (CORL). Initialisation and critic
depth are those of CORL's offline script, which has the published locomotion scores;
CORL has no locomotion fine-tuning settings.
"""

import math

import ml_collections
from ml_collections import config_dict

from configs import base

# What differs from the defaults below, by dataset; CORL transforms rewards here only.
OVERRIDES = {"hopper-medium": {"dataset": {"reward_transform": "range"}}}


def get_config(dataset: str = "hopper-demo") -> ml_collections.ConfigDict:
    """Returns the experiment for a dataset."""
    config = base.get_config(dataset)
    config.algorithm = "cql"
    agent = config.agent
    agent.actor_learning_rate = 3e-5
    agent.critic_learning_rate = 3e-4
    agent.actor_hidden_dims = (256, 256, 256)
    agent.critic_hidden_dims = (256, 256, 256)
    agent.initialization = "offline"  # Or `finetune`: CORL's other script.
    agent.discount = 0.99
    agent.tau = 0.005
    agent.cql_weight = 10.0  # `cql_alpha` in CORL.
    agent.cql_weight_online = config_dict.placeholder(float)  # None: the same.
    agent.num_samples = 10
    agent.softmax_temperature = 1.0
    agent.gap_clip_min = -math.inf
    agent.gap_clip_max = math.inf
    agent.lagrange_gap = config_dict.placeholder(float)  # None: a fixed weight.
    agent.max_target_backup = False
    agent.backup_entropy = False
    config.lock()  # From here a misspelt name is an error.
    config.update(OVERRIDES.get(base.task_of(dataset), {}))
    return config
