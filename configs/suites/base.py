"""What all suites share: the fields of a suite, with their defaults.

A suite is a grid of algorithms, variants, datasets and seeds:

    python -m samg_jax.suite --suite=smoke --out=runs/smoke

Every pair of algorithm and dataset is pre-trained once and forked to all variants.
Fields of a suite can be changed by `--set=num_seeds=2`, those of all its experiments
by `--set=config.online.steps=1000`.
"""

import ml_collections

from samg_jax import settings
from samg_jax.experiment import suite_spec


def get_config() -> ml_collections.ConfigDict:
    """Returns a suite without datasets, locked: a misspelled name is an error."""
    suite = settings.to_config(suite_spec.Suite)
    suite.lock()
    # Their names are the suite's own; `suites/job_list.py` checks them.
    suite.by_algorithm.unlock()
    suite.by_variant.unlock()
    return suite
