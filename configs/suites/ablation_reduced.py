"""The suite `ablation` as two cores can do it: AWAC on the built-in dataset.

    python -m samg_jax.suite --suite=ablation_reduced --out=runs/ablation

4 seeds, with the settings of the suite `finetune`. It took 22 minutes on two cores.
"""

import ml_collections

from samg_jax.configs.suites import finetune


def get_config() -> ml_collections.ConfigDict:
    """Returns the suite."""
    suite = finetune.get_config()
    suite.algorithms = ("awac",)
    suite.variants = (
        "vanilla",
        "no_data",
        "samg",
        "samg_even",
        "samg_random",
        "samg_embedding",
    )
    suite.overrides += (
        "guidance.embedding.hidden_dim=128",
        "guidance.embedding.steps=3000",
    )
    return suite
