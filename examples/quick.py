"""AWAC with SAMG in about a minute on two CPU cores: small networks, short phases.

    python -m samg_jax.train --config=examples/quick.py:hopper-demo --workdir=runs/quick

With so few updates the targets move faster (`tau`) and rewards are smaller than in the
published settings. The scores show that everything works, not how good SAMG is.
"""

import ml_collections

from samg_jax.configs import awac_samg


def get_config(dataset: str = "hopper-demo") -> ml_collections.ConfigDict:
    """The config of a dataset."""
    config = awac_samg.get_config(dataset)
    config.num_seeds = 4
    config.dataset.reward_transform = "affine"
    config.dataset.reward_scale = 0.1
    config.agent.hidden_dims = (64, 64)
    config.agent.tau = 0.01
    config.offline.updates = 6_000
    config.online.steps = 4_000
    config.online.warmup_steps = 2_500
    config.online.eval_every = 500
    config.online.log_every = 500
    config.guidance.cvae.hidden_dim = 64
    config.guidance.cvae.steps = 2_000
    config.guidance.cvae.kl_warmup_start = 200
    config.guidance.cvae.kl_warmup_steps = 400
    config.evaluation.episodes = 5
    return config
