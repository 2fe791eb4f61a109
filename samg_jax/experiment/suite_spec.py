"""The fields of a suite: defaults, bounds and meanings; `configs/suites/base.py`."""

from __future__ import annotations

import dataclasses

from samg_jax import settings

ROWS = settings.metadata(
    allowed="rows NAME: (FIELD=VALUE, ...), in the file of the suite"
)
NAMES = "a dataset that the help of `samg_jax.train` lists, or `minari:ID`"


@dataclasses.dataclass(frozen=True)
class Budgets:
    """The lengths of all jobs of a suite.

    Attributes:
        offline_updates: Offline updates of every job; None: the configs'.
        online_steps: Environment steps of every job; None: the configs'.
    """

    offline_updates: int | None = settings.count(None, 0)
    online_steps: int | None = settings.count(None, 0)


@dataclasses.dataclass(frozen=True)
class Suite:
    """A grid of algorithms, variants, datasets and seeds.

    Attributes:
        datasets: The datasets, named as after the colon of `--config`.
        dataset_path: The file that each dataset is read from, such as
            `data/{dataset}.hdf5`; the name then chooses only environment and
            hyperparameters.
        algorithms: The config files, without `_samg` and without `.py`.
        variants: The protocols of fine-tuning, or rows of `by_variant`.
        seed: The first seed.
        num_seeds: The number of seeds of every pair of algorithm and dataset.
        seeds_per_job: The number of seeds per process; None trains all in one.
        sweep: Swept values of the guided variants, written as for `--sweep`.
        budgets: The lengths of all jobs.
        overrides: Further config fields of all experiments, as FIELD=VALUE.
        by_algorithm: Overrides for one algorithm each, by its name.
        by_variant: Overrides for one variant each, by its name; your own name is a
            variant of SAMG.
    """

    datasets: tuple[str, ...] | None = settings.field(
        None, allowed=f"one or more, each once: {NAMES}"
    )
    dataset_path: str | None = settings.field(
        None, allowed="a path; with `{dataset}` in it if there are several datasets"
    )
    algorithms: tuple[str, ...] = settings.field(
        ("cql", "awac", "iql", "cal_ql"), allowed="one config file or more, each once"
    )
    variants: tuple[str, ...] = settings.field(
        ("vanilla", "no_data", "samg"),
        allowed="one or more, each once: `vanilla`, `no_data`, `samg`, `samg_even`, "
        "`samg_random`, `samg_embedding`, or your own",
    )
    seed: int = settings.count(0, 0)
    num_seeds: int = settings.count(5, 1)
    seeds_per_job: int | None = settings.count(None, 1)
    sweep: tuple[str, ...] = settings.field(
        (), allowed="FIELD=VALUE,VALUE of fields that a sweep of `samg_jax.train` takes"
    )
    budgets: Budgets = dataclasses.field(default_factory=Budgets)
    overrides: tuple[str, ...] = settings.field(
        (), allowed="FIELD=VALUE of fields of a config"
    )
    by_algorithm: dict[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict, metadata=ROWS
    )
    by_variant: dict[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict, metadata=ROWS
    )
