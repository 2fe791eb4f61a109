"""Everything that a suite does, within minutes on two cores; no result in itself.

    python -m samg_jax.suite --suite=smoke --out=runs/smoke

Two algorithms on the built-in dataset, small networks and short phases.
"""

import ml_collections

from samg_jax.configs.suites import base


def get_config() -> ml_collections.ConfigDict:
    """Returns the suite."""
    suite = base.get_config()
    suite.datasets = ("hopper-demo",)
    suite.algorithms = ("awac", "iql")
    suite.num_seeds = 3
    suite.budgets.offline_updates = 5_000
    suite.budgets.online_steps = 2_000
    suite.overrides = (
        "dataset.reward_transform=affine",
        "dataset.reward_scale=0.1",
        "agent.tau=0.02",
        "agent.hidden_dims=(64, 64)",
        "offline.eval_every=1000",
        "offline.checkpoint_every=2500",
        "online.warmup_steps=200",
        "online.eval_every=400",
        "online.log_every=400",
        "online.checkpoint_every=1000",
        "evaluation.episodes=5",
        "guidance.cvae.hidden_dim=64",
        "guidance.cvae.steps=1000",
        "guidance.cvae.kl_warmup_start=200",
        "guidance.cvae.kl_warmup_steps=400",
    )
    return suite
