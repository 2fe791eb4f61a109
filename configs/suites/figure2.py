"""The paper's Figure 2: learning curves of vanilla fine-tuning and SAMG.

    python -m samg_jax.suite --suite=figure2 --out=runs/figure2

Table 1's four bases on its fifteen datasets, without baselines and control: what is
drawn are the evaluations that `metrics.csv` has anyway.
"""

import ml_collections

from samg_jax.configs.suites import base, table1


def get_config() -> ml_collections.ConfigDict:
    """Returns the suite."""
    suite = base.get_config()
    suite.datasets = table1.DATASETS
    suite.variants = ("vanilla", "samg")
    return suite
