"""Offline training of all seven algorithms, as two cores can do it.

    python -m samg_jax.suite --suite=offline --out=runs/offline

The built-in dataset, 4 seeds each; the settings are those of the suite `finetune`.
"""

import ml_collections

from samg_jax.configs.suites import base, finetune


def get_config() -> ml_collections.ConfigDict:
    """Returns the suite."""
    suite = base.get_config()
    suite.datasets = ("hopper-demo",)
    suite.algorithms = tuple(finetune.BY_ALGORITHM)
    suite.num_seeds = 4
    suite.budgets.offline_updates = 40_000
    suite.budgets.online_steps = 0
    suite.overrides = finetune.OFFLINE
    suite.by_algorithm.update(finetune.BY_ALGORITHM)
    return suite
