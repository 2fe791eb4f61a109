"""The paper's Table 1: four bases, vanilla and with SAMG, and three baselines.

    python -m samg_jax.suite --suite=table1 --out=runs/table1

Fifteen datasets of D4RL. Beside the paper's two columns `no_data`, the p = 0 control.
The paper does not give its number of seeds; five is ours.
"""

import ml_collections

from samg_jax.configs import base as experiments
from samg_jax.configs.suites import base

DATASETS = experiments.FAMILIES["locomotion"] + experiments.FAMILIES["antmaze"]


def get_config() -> ml_collections.ConfigDict:
    """Returns the suite."""
    suite = base.get_config()
    suite.datasets = DATASETS
    suite.algorithms = ("cql", "awac", "iql", "cal_ql", "bc", "td3_bc", "spot")
    return suite
