"""The paper's ablation of the weight p(s, a), from one checkpoint.

    python -m samg_jax.suite --suite=ablation --out=runs/ablation

Without offline data and guidance, SAMG, and SAMG with p = 0.5, p random, or p from the
embedding of Badia et al. (2020); beside them `samg_best`, the preset of this package.
CQL on halfcheetah-medium is the paper's example; `--set` names others.
"""

import ml_collections

from samg_jax.configs.suites import base


def get_config() -> ml_collections.ConfigDict:
    """Returns the suite."""
    suite = base.get_config()
    suite.datasets = ("halfcheetah-medium",)
    suite.algorithms = ("cql",)
    suite.variants = (
        "vanilla",
        "no_data",
        "samg",
        "samg_even",
        "samg_random",
        "samg_embedding",
        "samg_best",
    )
    suite.by_variant.samg_best = ("guidance.weight_preset=best",)
    return suite
