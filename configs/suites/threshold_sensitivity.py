"""The paper's study of the threshold: 0, 0.3, 0.5 and 0.75, in one process each.

python -m samg_jax.suite --suite=threshold_sensitivity --out=runs/thresholds
"""

import ml_collections

from samg_jax.configs.suites import base


def get_config() -> ml_collections.ConfigDict:
    """Returns the suite."""
    suite = base.get_config()
    suite.datasets = ("hopper-medium", "halfcheetah-medium", "walker2d-medium")
    suite.algorithms = ("cql", "awac", "iql", "cal_ql")
    suite.variants = ("samg",)
    suite.sweep = ("guidance.threshold=0,0.3,0.5,0.75",)
    return suite
