"""Fine-tuning of the four bases on the built-in dataset, as two cores can do it.

    python -m samg_jax.suite --suite=finetune --out=runs/finetune

Vanilla, no_data and SAMG, 4 seeds each, all from one checkpoint per base. The suites
`offline`, `ablation_reduced` and `threshold_sensitivity_reduced` share the settings.

Networks are small and phases short. With so few updates the critics' targets must move
faster (`tau`) than in the published settings. The policy of CQL and Cal-QL must learn
faster, and they compare 4 actions of each kind instead of 10, and train for less.

The rest was found on the built-in dataset, and depends on the size of its rewards:
values must be smaller (`reward_scale`), CQL and Cal-QL less conservative, TD3+BC trusts
its critic less, SPOT its behaviour model more, and AWAC fine-tunes more greedily. For
another dataset `--set=config.FIELD=VALUE` takes this back; a study of sparse rewards
needs at least `--set=config.dataset.reward_transform=none`, and for AntMaze the
transform and bias of the base's config file.
"""

import ml_collections

from samg_jax.configs.suites import base

OFFLINE = ("offline.eval_every=10000", "evaluation.episodes=20")
ONLINE = ("online.eval_every=2000",)
GUIDANCE = (
    "guidance.cvae.hidden_dim=128",
    "guidance.cvae.steps=3000",
    "guidance.cvae.kl_warmup_start=500",
    "guidance.cvae.kl_warmup_steps=1000",
)
SMALL = ("agent.hidden_dims=(128, 128)",)
BOOTSTRAPPED = (
    "agent.tau=0.02",
    "dataset.reward_transform=affine",
    "dataset.reward_scale=0.1",
)
CQL = (
    *BOOTSTRAPPED,
    "agent.actor_hidden_dims=(128, 128)",
    "agent.critic_hidden_dims=(128, 128)",
    "agent.actor_learning_rate=3e-4",
    "agent.num_samples=4",
    "agent.cql_weight=1.0",
    "offline.updates=10000",
    "offline.eval_every=5000",
)
BY_ALGORITHM = {
    "bc": SMALL,
    "td3_bc": (*BOOTSTRAPPED, *SMALL, "agent.value_weight=1.0"),
    "awac": (*BOOTSTRAPPED, *SMALL),
    "iql": (*BOOTSTRAPPED, *SMALL),
    "spot": (
        *BOOTSTRAPPED,
        *SMALL,
        "agent.support_weight=1.0",
        "agent.vae_hidden_dims=(128, 128)",
        "agent.vae_steps=5000",
        "offline.updates=45000",
    ),
    "cql": CQL,
    "cal_ql": CQL,
}
SHORTER = ("online.steps=4000", "online.eval_every=1000")
# What fine-tuning reads besides.
ONLINE_BY_ALGORITHM = {
    "awac": ("agent.inverse_temperature_online=10.0",),
    "cql": SHORTER,
    "cal_ql": SHORTER,
}


def get_config() -> ml_collections.ConfigDict:
    """Returns the suite."""
    suite = base.get_config()
    suite.datasets = ("hopper-demo",)
    suite.algorithms = ("awac", "iql", "cql", "cal_ql")
    suite.num_seeds = 4
    suite.budgets.offline_updates = 40_000
    suite.budgets.online_steps = 10_000
    suite.overrides = (*OFFLINE, *ONLINE, *GUIDANCE)
    suite.by_algorithm.update(BY_ALGORITHM)
    for name, fields in ONLINE_BY_ALGORITHM.items():
        suite.by_algorithm[name] += fields
    return suite
