"""What all experiments share: dataset families, phases, evaluation, logging, seeds.

A config file sets `config.algorithm`, `config.agent` and what differs, then locks:
from there on a misspelled name is an error. Every field can be given as a flag, such as
`--config.online.steps=20000`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_collections
from ml_collections import config_dict

from samg_jax import checks

# Datasets by family; hyperparameters differ by family, then by dataset.
FAMILIES = {
    "locomotion": tuple(
        f"{agent}-{level}"
        for agent in ("halfcheetah", "hopper", "walker2d")
        for level in ("medium", "medium-replay", "medium-expert")
    ),
    # Ships with the package: locally collected, not D4RL.
    "demo": ("hopper-demo",),
    "antmaze": tuple(
        f"antmaze-{maze}"
        for maze in (
            "umaze",
            "umaze-diverse",
            "medium-play",
            "medium-diverse",
            "large-play",
            "large-diverse",
        )
    ),
}

# Of the library of this name; any id, which no table of ours can list.
MINARI = "minari:"
ROBOTS = ("halfcheetah", "hopper", "walker2d")

# CORL fine-tunes on AntMaze (and Adroit) only; its hyperparameters for locomotion are
# those of offline training, and of some algorithms it has none. What stands in for
# them is chosen here, and in the rows of the algorithm's file that are named:
#
#   algorithm   locomotion, offline              locomotion, online
#   BC, TD3+BC  CORL's                           none (`online.steps` is 0)
#   AWAC        CORL's                           the same; offline data are kept
#   IQL         CORL's                           the same; the actor's rate rebounds
#   CQL         CORL's, its offline script's     the same weight, 10; its 3 layers and
#               initialization                   not the 2 that fine-tuning defaults to
#   Cal-QL      CQL's, with the fine-tuning      half of each batch offline, as on
#               script's initialization, the     AntMaze
#               only one that CORL's Cal-QL has
#   SPOT        the support weights of SPOT's    discount 0.99 throughout; the weight
#               authors, without their dropout;  cools to the same share as on AntMaze
#               the rest as on AntMaze, but raw
#               rewards, normalized observations
#
# The demo has the rows that all locomotion datasets share; of SPOT's weights, which are
# given by dataset, hopper-medium's.


def task_of(dataset: str) -> str:
    """Returns the dataset's name without its version, refusing unknown names.

    Minari's keep theirs, and are known where they are read.
    """
    if dataset.startswith(MINARI):
        return dataset
    if "/" in dataset or dataset.endswith((".hdf5", ".h5")):
        raise checks.UserError(
            f"The dataset {dataset!r} is a path; after the colon stands a name. Leave "
            f"the colon and the path out, and set config.dataset.path={dataset} "
            "config.env_id=ENVIRONMENT, the one that the data were collected on."
        )
    task = dataset.removesuffix("-v2")
    known = [name for tasks in FAMILIES.values() for name in tasks]
    if task in known:
        return task
    hint = checks.hint(task, known)
    raise checks.UserError(
        f"Unknown dataset {dataset!r}. {hint}Known datasets: {', '.join(known)}. For "
        "a file of your own leave the name out and set config.dataset.path=FILE "
        "config.env_id=ENVIRONMENT; for a Minari dataset write minari:ID."
    )


def family_of(dataset: str) -> str:
    """Returns the family whose hyperparameters the dataset takes.

    A Minari dataset that names a robot in its id, as all do by convention, takes
    those of locomotion; of the others `other`, to which no table here has a row.
    """
    task = task_of(dataset)
    if task.startswith(MINARI):
        named = any(robot in task.lower() for robot in ROBOTS)
        return "locomotion" if named else "other"
    return next(family for family, tasks in FAMILIES.items() if task in tasks)


def override(
    config: ml_collections.ConfigDict, table: Mapping[str, Any], dataset: str
) -> None:
    """Applies the table's row for the dataset's family, then the dataset's own.

    Args:
        config: locked, so that a misspelled name in the table is an error.
        table: family or task -> nested fields that differ from the defaults.
        dataset: name of the dataset.
    """
    for row in (family_of(dataset), task_of(dataset)):
        config.update(table.get(row, {}))


def get_config(dataset: str) -> ml_collections.ConfigDict:
    """Returns the unlocked defaults for a dataset."""
    task = task_of(dataset)
    config = ml_collections.ConfigDict()
    config.algorithm = ""  # Set by the experiment's file.
    config.agent = ml_collections.ConfigDict()  # Hyperparameters of the algorithm.

    # Seeds `seed`, ..., `seed + num_seeds - 1` train in one process, by one vmap.
    config.seed = 0
    config.num_seeds = 1

    config.dataset = ml_collections.ConfigDict()
    known = FAMILIES["locomotion"] + FAMILIES["antmaze"]
    config.dataset.name = f"{task}-v2" if task in known else task
    config.dataset.family = family_of(dataset)  # Whose hyperparameters these are.
    # A D4RL-format HDF5 of your own; wins over the name. Needs `env_id`.
    config.dataset.path = config_dict.placeholder(str)
    config.dataset.normalize_observations = True
    # `none`, `range` (1000 / (best - worst return)) or `affine` (scale and bias).
    config.dataset.reward_transform = "none"
    config.dataset.reward_scale = 1.0
    config.dataset.reward_bias = 0.0
    # Leave out what follows the last terminal or whole 1000 rows, as CORL's BC does.
    config.dataset.drop_unfinished = False

    config.env_id = config_dict.placeholder(str)  # None: the dataset's own.
    # True: build the environment once, and train and evaluate in turns on it, as for a
    # device; False: build as many as are needed; None: find out, see the README.
    config.single_env = config_dict.placeholder(bool)
    # `d4rl`: the simulator that recorded D4RL; `stock`: the installed MuJoCo's.
    # None: `d4rl` where it is defined, but for Minari's data.
    config.physics = config_dict.placeholder(str)

    config.offline = ml_collections.ConfigDict()
    config.offline.updates = 1_000_000
    config.offline.batch_size = 256
    # Directory of a run or of its `offline/`: fork from it, train nothing offline.
    config.offline.restore = config_dict.placeholder(str)
    config.offline.eval_every = 5_000
    config.offline.log_every = 1_000
    config.offline.checkpoint_every = 50_000

    config.online = ml_collections.ConfigDict()
    config.online.steps = 500_000
    config.online.batch_size = 256
    config.online.updates_per_step = 1  # UTD.
    # `append`: offline and online data, uniformly; `mix`: a fixed share of each;
    # `buffer`: online data only, the offline dataset is not opened.
    config.online.data = "append"
    config.online.offline_share = 0.5  # Of a batch, with `mix`.
    config.online.buffer_size = 10_000_000
    config.online.warmup_steps = 0  # Of the offline policy, before the first update.
    # Steps the environments while the device updates; the policy acts one step behind.
    config.online.overlap = False
    config.online.eval_every = 5_000
    config.online.log_every = 1_000
    config.online.checkpoint_every = 50_000

    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.episodes = 10
    config.evaluation.threads = 0  # 0: one per core.
    # Cuts evaluation episodes; needed if the environment has no time limit.
    config.evaluation.max_steps = config_dict.placeholder(int)

    config.guidance = ml_collections.ConfigDict()
    config.guidance.weight = "none"

    config.logging = ml_collections.ConfigDict()
    config.logging.progress = True
    config.logging.tensorboard = True
    # Weights & Biases: `off`, `offline` (kept in the workdir) or `online`.
    config.logging.wandb = "off"
    if family_of(dataset) == "antmaze":
        # Successes are few and 0 or 1, so more episodes, further apart. (In CORL every
        # 5,000 updates offline, AWAC's every 1,000; training does not depend on it.)
        config.evaluation.episodes = 100
        config.offline.eval_every = config.online.eval_every = 50_000
    # Of products of matrices: `float32`, or faster on an accelerator `tensorfloat32`
    # (10 bits of mantissa) or `bfloat16` (7), both with sums in float32.
    config.matmul_precision = "float32"
    config.devices = 0  # Of this machine, to share out the seeds to; 0: all.
    # Compiled programs are kept here between runs; empty: not at all.
    config.compilation_cache = "~/.cache/samg_jax"
    return config


def add_guidance(config: ml_collections.ConfigDict) -> None:
    """Turns vanilla fine-tuning into SAMG: the C-VAE's weight, online data only."""
    config.online.data = "buffer"
    config.online.buffer_size = 50_000
    config.online.warmup_steps = 1_000

    guidance = config.guidance
    # Or `embedding`, `even`, `constant`, `random`, `none`, or one of your own.
    guidance.weight = "cvae"
    guidance.module = config_dict.placeholder(str)  # Python's, registers your own.
    # `paper`, or `best`: the best that was measured. It decides what is None here:
    # kind, fit and use_std, and latent_size, beta, decoder_input, reconstruct,
    # scale_targets and action_weight of the C-VAE.
    guidance.weight_preset = "paper"
    # p_int: `tail`, `window`, `joint` or `nearest`.
    guidance.kind = config_dict.placeholder(str)
    guidance.fit = config_dict.placeholder(str)  # `per_dimension` or `pooled`.
    guidance.use_std = config_dict.placeholder(bool)
    guidance.references = 8_192  # Codes that the kind `nearest` stores.
    guidance.cut = "hard"  # Or `soft`.
    guidance.threshold = 0.5  # p_m^off of Eq. 3.
    # Sets the threshold to this quantile of p_int over the offline data.
    guidance.threshold_quantile = config_dict.placeholder(float)
    guidance.temperature = 0.05  # Of the soft cut.
    guidance.delta = 1.0  # Half-width of the window, in standard deviations.
    guidance.constant = 0.5  # Of the constant weight.
    guidance.strength = 1.0  # Factor on p; 0 is the p = 0 control.
    guidance.cutoff_steps = config_dict.placeholder(int)  # p := 0 from here on.
    guidance.penalty = "mixed"  # CQL's gap: blended like the target, or `online`.
    guidance.freeze = "target_critic"  # Or `critic`.

    cvae = guidance.cvae = ml_collections.ConfigDict()
    cvae.steps = 100_000
    cvae.batch_size = 256
    cvae.learning_rate = 1e-3
    cvae.hidden_dim = 400
    cvae.encoder_layers = 2
    # None for these three: the paper's for the dataset, in guidance/cvae_settings.py.
    cvae.decoder_layers = config_dict.placeholder(int)
    cvae.kl_warmup_start = config_dict.placeholder(int)
    cvae.kl_warmup_steps = config_dict.placeholder(int)
    cvae.latent_size = config_dict.placeholder(int)  # None: twice the action size.
    cvae.beta = config_dict.placeholder(float)
    cvae.decoder_input = config_dict.placeholder(str)  # `latent`, `latent_and_pair`.
    # `next_state` or `next_state_action`.
    cvae.reconstruct = config_dict.placeholder(str)
    cvae.scale_targets = config_dict.placeholder(bool)
    cvae.action_weight = config_dict.placeholder(float)
    cvae.holdout = 0.05

    embedding = guidance.embedding = ml_collections.ConfigDict()
    embedding.steps = 100_000
    embedding.batch_size = 256
    embedding.learning_rate = 1e-3
    embedding.hidden_dim = 400
    embedding.layers = 1  # Hidden ones, of phi and of the head each.
    embedding.embedding_size = 32
    embedding.holdout = 0.05
