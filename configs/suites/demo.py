r"""The README's figure: AWAC on half-cheetah's replay, 8 seeds, small and short.

    python -m samg_jax.collect --env=HalfCheetah-v4 --level=medium-replay \
        --steps=100000 --medium_score=30 --train_steps=120000 --hidden_dims=64,64 \
        --out=runs/demo/halfcheetah-medium-replay-local.hdf5
    python -m samg_jax.suite --suite=demo --out=runs/demo/suite
    python launch/readme_results.py runs/demo/suite
    python -m samg_jax.report runs/demo/suite --out=runs/demo/report

`launch/results/demo` has the suite's results.csv and the report's configs.json.
The data are locally collected, not D4RL's. AWAC starts at a low score here, so that
fine-tuning has something to gain within minutes. With so few updates targets must move
faster (`tau`) and values be smaller (`reward_scale`) than in the published settings.
"""

import ml_collections

from samg_jax.configs.suites import base


def get_config() -> ml_collections.ConfigDict:
    """Returns the suite."""
    suite = base.get_config()
    suite.datasets = ("halfcheetah-medium-replay",)
    suite.dataset_path = "runs/demo/{dataset}-local.hdf5"
    suite.algorithms = ("awac",)
    suite.num_seeds = 8
    suite.budgets.offline_updates = 10_000
    suite.budgets.online_steps = 8_000
    suite.overrides = (
        "dataset.reward_transform=affine",
        "dataset.reward_scale=0.1",
        "agent.hidden_dims=(128, 128)",
        "agent.tau=0.02",
        "agent.inverse_temperature_online=10.0",
        "offline.eval_every=5000",
        "online.warmup_steps=500",
        "online.eval_every=500",
        "online.log_every=500",
        "online.checkpoint_every=4000",
        "evaluation.episodes=5",
        "guidance.cvae.hidden_dim=128",
        "guidance.cvae.steps=3000",
        "guidance.cvae.kl_warmup_start=500",
        "guidance.cvae.kl_warmup_steps=1000",
    )
    return suite
