"""The suite `local` at a scale that two cores can do: short phases, two robots.

`bash launch/local.sh` collects what it needs, runs it and reports it. AWAC and IQL have
the published networks; CQL and Cal-QL, an update of which costs ten times as much, have
small ones and are run for less.

With so few updates targets must move faster (`tau`) and values be smaller
(`reward_scale`) than in the published settings.
"""

import ml_collections

from samg_jax.configs.suites import local

SMALL_CQL = (
    "agent.actor_hidden_dims=(128, 128)",
    "agent.critic_hidden_dims=(128, 128)",
    "agent.actor_learning_rate=3e-4",
    "agent.num_samples=4",
    "agent.cql_weight=1.0",
    "offline.updates=5000",
    "online.steps=1000",
    "online.warmup_steps=250",
    "online.eval_every=250",
    "online.log_every=250",
)


def get_config() -> ml_collections.ConfigDict:
    """Returns the suite."""
    suite = local.get_config()
    suite.datasets = ("hopper-demo", "halfcheetah-medium")
    suite.dataset_path = "runs/local/{dataset}-local.hdf5"
    suite.algorithms = ("awac", "iql")
    suite.budgets.offline_updates = 10_000
    suite.budgets.online_steps = 3_000
    suite.overrides = (
        "dataset.reward_transform=affine",
        "dataset.reward_scale=0.1",
        "agent.tau=0.02",
        "offline.eval_every=5000",
        "online.warmup_steps=500",
        "online.eval_every=500",
        "online.log_every=500",
        "evaluation.episodes=10",
        "guidance.cvae.hidden_dim=256",
        "guidance.cvae.steps=5000",
        "guidance.cvae.kl_warmup_start=500",
        "guidance.cvae.kl_warmup_steps=1000",
    )
    # Not among the variants: the weight's preset, for `--set=variants=samg_best`.
    suite.by_variant.samg_best = ("guidance.weight_preset=best",)
    suite.by_algorithm.cql = SMALL_CQL
    suite.by_algorithm.cal_ql = SMALL_CQL
    return suite
