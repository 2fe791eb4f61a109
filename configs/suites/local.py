r"""Locally collected data of three robots, where D4RL's own files cannot be had.

    for robot in Hopper HalfCheetah Walker2d; do
      python -m samg_jax.collect --env=$robot-v4 --level=medium \
          --out=data/${robot,,}-medium-local.hdf5
    done
    python -m samg_jax.suite --suite=local --out=runs/local

The files are named after the dataset whose hyperparameters they take, `-local` behind
it. Networks are the published ones and phases are shorter, so that a GPU, or a few
cores in days, can do it; `--set=budgets.online_steps=500000` and
`--set=budgets.offline_updates=1000000` give the published lengths.
"""

import ml_collections

from samg_jax.configs.suites import base


def get_config() -> ml_collections.ConfigDict:
    """Returns the suite."""
    suite = base.get_config()
    suite.datasets = ("hopper-medium", "halfcheetah-medium", "walker2d-medium")
    suite.dataset_path = "data/{dataset}-local.hdf5"
    suite.variants = ("vanilla", "no_data", "samg", "samg_even")
    suite.budgets.offline_updates = 100_000
    suite.budgets.online_steps = 50_000
    return suite
