"""Does the preset of the weight change the fine-tuning? AWAC, built-in dataset.

    python -m samg_jax.suite --suite=presets --out=runs/presets

The presets `paper` (the variant `samg`) and `best`, 8 seeds each, from one checkpoint.
The settings are nearly those of `launch/quickstart.sh`. It took 16 minutes on two cores
that also did other work.
"""

import ml_collections

from samg_jax.configs.suites import base


def get_config() -> ml_collections.ConfigDict:
    """Returns the suite."""
    suite = base.get_config()
    suite.datasets = ("hopper-demo",)
    suite.algorithms = ("awac",)
    suite.variants = ("samg", "samg_best")
    suite.by_variant.samg_best = ("guidance.weight_preset=best",)
    suite.num_seeds = 8
    suite.budgets.offline_updates = 20_000
    suite.budgets.online_steps = 10_000
    suite.overrides = (
        "dataset.reward_transform=affine",
        "dataset.reward_scale=0.1",
        "agent.hidden_dims=(128, 128)",
        "agent.tau=0.02",
        "agent.inverse_temperature_online=10.0",
        "offline.eval_every=20000",
        "online.eval_every=2500",
        "online.checkpoint_every=10000",
        "evaluation.episodes=20",
        "guidance.cvae.hidden_dim=128",
        "guidance.cvae.steps=5000",
        "guidance.cvae.kl_warmup_start=500",
        "guidance.cvae.kl_warmup_steps=1000",
    )
    return suite
