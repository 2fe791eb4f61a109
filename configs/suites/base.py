"""What all suites share: the fields of a suite, with their defaults.

A suite is a grid of algorithms, variants, datasets and seeds:

    python -m samg_jax.benchmark suite --suite=smoke --out=runs/smoke

Every pair of algorithm and dataset is pre-trained once and forked to all variants.
Fields of a suite can be changed by `--set=num_seeds=2`, those of all its experiments
by `--set=config.online.steps=1000`.
"""

import ml_collections
from ml_collections import config_dict


def get_config() -> ml_collections.ConfigDict:
    """Returns a suite without datasets, locked: a misspelled name is an error."""
    suite = ml_collections.ConfigDict()
    # As after the colon of --config.
    suite.datasets = config_dict.placeholder(tuple)
    # The file that a dataset is read from instead, such as `data/{dataset}.hdf5`; then
    # the dataset's name says only which environment and hyperparameters belong to it.
    suite.dataset_path = config_dict.placeholder(str)
    # Names of config files, without `_samg`.
    suite.algorithms = ("cql", "awac", "iql", "cal_ql")
    # Of `suites/jobs.py`, or rows of `by_variant`. SPOT knows `vanilla` only; BC and
    # TD3+BC are not fine-tuned.
    suite.variants = ("vanilla", "no_data", "samg")
    # Seeds `seed`, ..., in processes of `seeds_per_job`; None: all in one.
    suite.seed = 0
    suite.num_seeds = 5
    suite.seeds_per_job = config_dict.placeholder(int)
    # Of the guided variants, as `--sweep` of samg_jax.train.
    suite.sweep = ()
    # None: the configs', which are the published ones.
    suite.budgets = ml_collections.ConfigDict()
    suite.budgets.offline_updates = config_dict.placeholder(int)
    suite.budgets.online_steps = config_dict.placeholder(int)
    # Further fields of the experiments, such as "evaluation.episodes=20". Those of
    # `guidance` go to the configs that have them; a later row wins.
    suite.overrides = ()
    # Algorithm -> the same.
    suite.by_algorithm = ml_collections.ConfigDict()
    # Variant -> the same; a name of your own is a variant of SAMG, see `ablation`.
    suite.by_variant = ml_collections.ConfigDict()
    suite.lock()
    # Their names are the suite's own; `suites/jobs.py` checks them.
    suite.by_algorithm.unlock()
    suite.by_variant.unlock()
    return suite
