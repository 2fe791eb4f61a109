"""What the fields of suites mean."""

# Fields of `configs/suites/base.py`.
OF_SUITES = {
    "datasets": "The datasets, named as after the colon of `--config`.",
    "dataset_path": (
        "The file that each dataset is read from, such as `data/{dataset}.hdf5`; the "
        "name then chooses only environment and hyperparameters."
    ),
    "algorithms": "The config files, without `_samg` and without `.py`.",
    "variants": "The protocols of fine-tuning, or rows of `by_variant`.",
    "seed": "The first seed.",
    "num_seeds": "The number of seeds of every pair of algorithm and dataset.",
    "seeds_per_job": "The number of seeds per process; None trains all in one.",
    "sweep": "Swept values of the guided variants, written as for `--sweep`.",
    "budgets.offline_updates": "Offline updates of every job; None: the configs'.",
    "budgets.online_steps": "Environment steps of every job; None: the configs'.",
    "overrides": "Further config fields of all experiments, as FIELD=VALUE.",
    "by_algorithm": "Overrides for one algorithm each, by its name.",
    "by_variant": (
        "Overrides for one variant each, by its name; a name of your own is a variant "
        "of SAMG."
    ),
}
