"""The fields that all experiments have: defaults, bounds and meanings.

`configs/base.py` starts from `Run`; a config file then changes what its algorithm and
its dataset need. The algorithm's own hyperparameters are in its module, the settings of
the weight in `guidance.weights` and the modules of its models.
"""

from __future__ import annotations

import dataclasses

from samg_jax import settings


@dataclasses.dataclass(frozen=True)
class Dataset:
    """What is learned from.

    Attributes:
        name: The dataset: the name after the colon of `--config=FILE:DATASET`.
        family: The family whose hyperparameters the config takes; it follows from the
            name and changes nothing by itself.
        path: An HDF5 file with D4RL's keys, read instead of the named dataset; it needs
            `env_id`.
        normalize_observations: Whether networks see observations scaled to mean 0 and
            standard deviation 1 over the dataset; the C-VAE always sees raw ones.
        reward_transform: How rewards are rescaled: `none`; `range`, by 1000 / (best
            return - worst return); `affine`, by `reward_scale` and `reward_bias`.
        reward_scale: The factor on rewards under `affine` and `range`.
        reward_bias: The constant added to scaled rewards.
        drop_unfinished: Whether rows after the last terminal, or after the last whole
            1000 rows, are left out, as in CORL's BC.
    """

    name: str = settings.field(
        "", allowed="a name that the help of `samg_jax.train` lists, or minari:ID"
    )
    family: str = settings.field("", allowed="`locomotion`, `demo`, `antmaze`, `other`")
    path: str | None = settings.field(None, allowed="a path, or None")
    normalize_observations: bool = settings.field(True, agrees=True)
    reward_transform: str = settings.choice(
        "none", "none", "range", "affine", agrees=True
    )
    reward_scale: float = settings.number(1.0, finite=True, agrees=True)
    reward_bias: float = settings.number(0.0, finite=True, agrees=True)
    drop_unfinished: bool = False


@dataclasses.dataclass(frozen=True)
class Offline:
    """The offline phase.

    Attributes:
        updates: The number of gradient steps of offline training.
        batch_size: The number of rows in each offline update.
        restore: The workdir of another run, or its folder `offline/`; the run forks
            from that checkpoint and trains nothing offline.
        eval_every: The number of updates from one evaluation to the next; the phase
            also ends with one.
        log_every: The number of updates from one row of `training.csv` to the next; the
            phase also ends with one.
        checkpoint_every: The number of updates from one checkpoint to the next; the
            phase also ends with one.
    """

    updates: int = settings.count(1_000_000, 0)
    batch_size: int = settings.count(256, 1)
    restore: str | None = settings.field(None, allowed="a path, or None")
    eval_every: int = settings.count(5_000, 1)
    log_every: int = settings.count(1_000, 1)
    checkpoint_every: int = settings.count(50_000, 1)


@dataclasses.dataclass(frozen=True)
class Online:
    """The online phase.

    Attributes:
        steps: The number of environment steps of each seed, warm-up included; 0 ends
            the run after the offline phase.
        batch_size: The number of rows in each online update.
        updates_per_step: The number of updates per environment step (UTD).
        data: What fine-tuning trains on: `append` draws uniformly from offline and
            online data, `mix` takes a fixed share of each, `buffer` uses online data
            only and does not open the dataset.
        offline_share: The offline share of a batch under `mix`.
        buffer_size: The number of newest online transitions that are kept.
        warmup_steps: The number of first steps that the offline policy takes before the
            first online update.
        overlap: Whether environments step while the device updates; the policy then
            acts one update behind.
        eval_every: The number of environment steps from one evaluation to the next; the
            phase also ends with one.
        log_every: The number of environment steps from one row of `training.csv` to the
            next; the phase also ends with one.
        checkpoint_every: The number of environment steps from one checkpoint to the
            next; the phase also ends with one.
    """

    steps: int = settings.count(500_000, 0)
    batch_size: int = settings.count(256, 1)
    updates_per_step: int = settings.count(1, 1)
    data: str = settings.choice("append", "append", "mix", "buffer")
    offline_share: float = settings.number(0.5, 0, 1, open=True)
    buffer_size: int = settings.count(10_000_000, 1)
    warmup_steps: int = settings.count(0, 0)
    overlap: bool = False
    eval_every: int = settings.count(5_000, 1)
    log_every: int = settings.count(1_000, 1)
    checkpoint_every: int = settings.count(50_000, 1)

    @property
    def updates(self) -> int:
        """The number of gradient steps of the phase."""
        return max(self.steps - self.warmup_steps, 0) * self.updates_per_step

    @property
    def reads_dataset(self) -> bool:
        """Whether the offline data are drawn from as well."""
        return self.steps > 0 and self.data != "buffer"


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Evaluation episodes.

    Attributes:
        episodes: The number of episodes per seed and evaluation.
        threads: The threads that step simulators; 0 takes one per core.
        max_steps: The steps after which an evaluation episode is cut; needed for an
            environment without a time limit.
    """

    episodes: int = settings.count(10, 1)
    threads: int = settings.count(0, 0)
    max_steps: int | None = settings.count(None, 1)


@dataclasses.dataclass(frozen=True)
class Logging:
    """What is shown and written beside the tables.

    Attributes:
        progress: Whether progress bars are shown.
        tensorboard: Whether TensorBoard events are written.
        wandb: Weights & Biases: `off`, `offline` (kept in the workdir for `wandb sync`)
            or `online` (uploaded at once).
    """

    progress: bool = True
    tensorboard: bool = True
    wandb: str = settings.choice("off", "off", "offline", "online")


@dataclasses.dataclass(frozen=True)
class Run:
    """All fields but the algorithm's and the weight's.

    Attributes:
        algorithm: The name of the algorithm; the config file sets it.
        seed: The first seed; the run trains the seeds `seed`, `seed + 1`, and so on.
        num_seeds: The number of seeds that train side by side in one process.
        env_id: The gymnasium environment of fine-tuning and evaluation; None takes the
            dataset's own.
        physics: The simulator: `d4rl` reproduces the one that recorded D4RL, `stock` is
            the installed MuJoCo; None takes `d4rl` if it is defined for the
            environment, except for Minari data.
        single_env: Whether the environment is built only once, as for a device, so that
            training and evaluation take turns on it; None finds out.
        matmul_precision: The precision of matrix products: `float32`, or on an
            accelerator the faster `tensorfloat32` (10 bits of mantissa) and `bfloat16`
            (7 bits).
        devices: The number of devices that share the seeds, equally many each; 0 takes
            as many as divide the seeds.
        compilation_cache: The folder that keeps compiled programs between runs; empty
            keeps none.
    """

    algorithm: str = settings.field("", allowed="the config file's name for it")
    seed: int = settings.count(0, 0)
    num_seeds: int = settings.count(1, 1)
    env_id: str | None = settings.field(
        None,
        allowed="an id that gymnasium knows, or module:Id-v0 for your own",
        agrees=True,
    )
    physics: str | None = settings.choice(None, "d4rl", "stock")
    single_env: bool | None = None
    matmul_precision: str = settings.choice(
        "float32", "float32", "tensorfloat32", "bfloat16"
    )
    devices: int = settings.count(0, 0)
    compilation_cache: str = settings.field(
        "~/.cache/samg_jax", allowed="a path, or empty"
    )
    dataset: Dataset = dataclasses.field(default_factory=Dataset)
    offline: Offline = dataclasses.field(default_factory=Offline)
    online: Online = dataclasses.field(default_factory=Online)
    evaluation: Evaluation = dataclasses.field(default_factory=Evaluation)
    logging: Logging = dataclasses.field(default_factory=Logging)
