"""The paper's Table 2: cumulative regret on AntMaze, vanilla and with SAMG.

    python -m samg_jax.suite --suite=table2 --out=runs/table2

Its jobs are also jobs of `table1`: in the same folder they are not run twice.
"""

import ml_collections

from samg_jax.configs import base as experiments
from samg_jax.configs.suites import base


def get_config() -> ml_collections.ConfigDict:
    """Returns the suite."""
    suite = base.get_config()
    suite.datasets = experiments.FAMILIES["antmaze"]
    suite.variants = ("vanilla", "samg")
    return suite
