"""What the fields of configs and suites mean.

A hyperparameter and a setting of the guidance are explained in the docstring of the
dataclass that declares them; all others here.
"""

from __future__ import annotations

import functools

from samg_jax import declarations

# Fields of `configs/base.py`.
OF_CONFIGS = {
    "algorithm": "The name of the algorithm; the config file sets it.",
    "seed": "The first seed; the run trains the seeds `seed`, `seed + 1`, and so on.",
    "num_seeds": "The number of seeds that train side by side in one process.",
    "dataset.name": "The dataset: the name after the colon of `--config=FILE:DATASET`.",
    "dataset.family": (
        "The family whose hyperparameters the config takes; it follows from the name "
        "and changes nothing by itself."
    ),
    "dataset.path": (
        "An HDF5 file with D4RL's keys, read instead of the named dataset; it needs "
        "`env_id`."
    ),
    "dataset.normalize_observations": (
        "Whether networks see observations scaled to mean 0 and standard deviation 1 "
        "over the dataset; the C-VAE always sees raw ones."
    ),
    "dataset.reward_transform": (
        "How rewards are rescaled: `none`; `range`, by 1000 / (best return - worst "
        "return); `affine`, by `reward_scale` and `reward_bias`."
    ),
    "dataset.reward_scale": "The factor on rewards under `affine` and `range`.",
    "dataset.reward_bias": "The constant added to scaled rewards.",
    "dataset.drop_unfinished": (
        "Whether rows after the last terminal, or after the last whole 1000 rows, are "
        "left out, as in CORL's BC."
    ),
    "env_id": (
        "The gymnasium environment of fine-tuning and evaluation; None takes the "
        "dataset's own."
    ),
    "physics": (
        "The simulator: `d4rl` reproduces the one that recorded D4RL, `stock` is the "
        "installed MuJoCo; None takes `d4rl` if it is defined for the environment, "
        "except for Minari data."
    ),
    "offline.updates": "The number of gradient steps of offline training.",
    "offline.batch_size": "The number of rows in each offline update.",
    "offline.restore": (
        "The workdir of another run, or its folder `offline/`; the run forks from "
        "that checkpoint and trains nothing offline."
    ),
    "offline.eval_every": (
        "The number of updates from one evaluation to the next; the phase "
        "also ends with one."
    ),
    "offline.log_every": (
        "The number of updates from one row of `training.csv` to the next; the phase "
        "also ends with one."
    ),
    "offline.checkpoint_every": (
        "The number of updates from one checkpoint to the next; the phase "
        "also ends with one."
    ),
    "online.steps": (
        "The number of environment steps of each seed, warm-up included; 0 ends the "
        "run after the offline phase."
    ),
    "online.batch_size": "The number of rows in each online update.",
    "online.updates_per_step": "The number of updates per environment step (UTD).",
    "online.data": (
        "What fine-tuning trains on: `append` draws uniformly from offline and online "
        "data, `mix` takes a fixed share of each, `buffer` uses online data only and "
        "does not open the dataset."
    ),
    "online.offline_share": "The offline share of a batch under `mix`.",
    "online.buffer_size": "The number of newest online transitions that are kept.",
    "online.warmup_steps": (
        "The number of first steps that the offline policy takes before the first "
        "online update."
    ),
    "online.overlap": (
        "Whether environments step while the device updates; the policy then acts one "
        "update behind."
    ),
    "online.eval_every": (
        "The number of environment steps from one evaluation to the next; the phase "
        "also ends with one."
    ),
    "online.log_every": (
        "The number of environment steps from one row of `training.csv` to the next; "
        "the phase also ends with one."
    ),
    "online.checkpoint_every": (
        "The number of environment steps from one checkpoint to the next; the phase "
        "also ends with one."
    ),
    "evaluation.episodes": "The number of episodes per seed and evaluation.",
    "evaluation.threads": "The threads that step simulators; 0 takes one per core.",
    "evaluation.max_steps": (
        "The steps after which an evaluation episode is cut; needed for an environment "
        "without a time limit."
    ),
    "single_env": (
        "Whether the environment is built only once, as for a device, so that training "
        "and evaluation take turns on it; None lets the try-out decide."
    ),
    "guidance.module": (
        "A Python module that registers your own weights; it is imported before the "
        "config is checked."
    ),
    "guidance.weight_preset": (
        "The named settings that fill the fields left at None: `paper`, or `best`, the "
        "best measured here; a field that you set wins."
    ),
    "logging.progress": "Whether progress bars are shown.",
    "logging.tensorboard": "Whether TensorBoard events are written.",
    "logging.wandb": (
        "Weights & Biases: `off`, `offline` (kept in the workdir for `wandb sync`) or "
        "`online` (uploaded at once)."
    ),
    "matmul_precision": (
        "The precision of matrix products: `float32`, or on an accelerator the faster "
        "`tensorfloat32` (10 bits of mantissa) and `bfloat16` (7 bits)."
    ),
    "devices": (
        "The number of devices that share the seeds, equally many each; 0 takes as "
        "many as divide the seeds."
    ),
    "compilation_cache": (
        "The folder that keeps compiled programs between runs; empty keeps none."
    ),
}

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


def of(name: str, algorithm: str) -> str:
    """The meaning of a config field with an algorithm; empty if it has none."""
    group, _, last = name.rpartition(".")
    if name in OF_CONFIGS:
        return OF_CONFIGS[name]
    return documented().get(algorithm if group == "agent" else group, {}).get(last, "")


@functools.cache
def documented() -> dict[str, dict[str, str]]:
    """Group or algorithm -> field -> meaning, from the docstrings."""
    modules = declarations.load("algorithms.__init__").constant("MODULES")
    groups = {
        "guidance": ("guidance.weights", "GuidanceConfig"),
        "guidance.cvae": ("guidance.cvae", "Config"),
        "guidance.embedding": ("guidance.embedding", "Config"),
    }
    own = {
        algorithm: (path.removeprefix("samg_jax."), "Config")
        for algorithm, path in modules.items()
    }
    return {
        name: declarations.load(module).settings(class_name)
        for name, (module, class_name) in {**groups, **own}.items()
    }
