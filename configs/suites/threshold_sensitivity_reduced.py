"""The suite `threshold_sensitivity` as two cores can do it: AWAC, built-in dataset.

    python -m samg_jax.suite --suite=threshold_sensitivity_reduced \
        --out=runs/thresholds

4 seeds, with the settings of the suite `finetune`. It took 23 minutes on two cores.
"""

import ml_collections

from samg_jax.configs.suites import finetune, threshold_sensitivity


def get_config() -> ml_collections.ConfigDict:
    """Returns the suite."""
    suite = finetune.get_config()
    suite.algorithms = ("awac",)
    suite.variants = ("samg",)
    suite.sweep = threshold_sensitivity.get_config().sweep
    return suite
