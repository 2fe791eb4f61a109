r"""Makes a D4RL-format dataset of one's own, by training SAC on an environment.

    python -m samg_jax.collect --env=Hopper-v4 --level=medium --out=hopper.hdf5
    python -m samg_jax.train --config=configs/awac_samg.py \
        --config.dataset.path=hopper.hdf5 --config.env_id=Hopper-v4

The file says that it is locally collected, by what policy and with which returns.
"""

import pathlib
import shlex
import sys

import numpy as np
from absl import app, flags

import samg_jax
from samg_jax.data import recording
from samg_jax.envs import tasks
from samg_jax.training import collection, compilation, logs, validation

ENV = flags.DEFINE_string("env", None, "Gymnasium id, such as Hopper-v4.")
LEVEL = flags.DEFINE_enum("level", "medium", collection.LEVELS, "Whose data.")
OUT = flags.DEFINE_string("out", None, "HDF5 file to write.")
STEPS = flags.DEFINE_integer(
    "steps", 1_000_000, "Rows to write; medium-replay writes all it has.", 2
)
SEED = flags.DEFINE_integer("seed", 0, "Of training and rollouts.", 0)
PHYSICS = flags.DEFINE_enum(
    "physics", None, ["d4rl", "stock"], "By default d4rl where it is defined."
)
TRAIN_STEPS = flags.DEFINE_integer(
    "train_steps", 1_000_000, "Environment steps of SAC at most.", 1
)
MEDIUM_SCORE = flags.DEFINE_float(
    "medium_score", 40.0, "Normalised score at which a policy counts as medium."
)
MEDIUM_RETURN = flags.DEFINE_float(
    "medium_return", None, "The same as a raw return, for tasks without reference."
)
HIDDEN_DIMS = flags.DEFINE_list("hidden_dims", ["256", "256"], "Layers of SAC.")
EVAL_EVERY = flags.DEFINE_integer("eval_every", 5_000, "Steps per evaluation.", 1)
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace an existing file.")
flags.mark_flags_as_required(["env", "out"])
flags.register_validator(
    "hidden_dims",
    lambda widths: widths and all(w.isdecimal() and int(w) >= 1 for w in widths),
    "layers have widths of 1 or more; give --hidden_dims=256,256, for example",
)


def main(argv: list[str]) -> None:
    """Collects what the flags describe."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {' '.join(argv[1:])}")
    logs.quiet_libraries()
    try:
        collect(shlex.join(["python", "-m", "samg_jax.collect", *sys.argv[1:]]))
    except ValueError as error:
        sys.exit(f"error: {error}")


def collect(command: str) -> None:
    """Trains, rolls out and writes the file; prints what is in it."""
    compilation.use_cache(compilation.DEFAULT_CACHE)
    path = pathlib.Path(OUT.value).expanduser()
    validation.check_file(path, "--out", OVERWRITE.value)
    task = tasks.for_env_id(ENV.value)
    target = MEDIUM_RETURN.value
    if target is None:
        target = collection.medium_return(task, MEDIUM_SCORE.value / 100.0)
    if target is None and LEVEL.value not in ("random", "expert"):
        raise ValueError(
            f"{task.env_id} has no reference scores, so it is not known which return "
            f"is {LEVEL.value}. Say so with --medium_return=RETURN."
        )
    settings = collection.Settings(
        train_steps=TRAIN_STEPS.value,
        warmup_steps=min(5_000, TRAIN_STEPS.value // 2),
        eval_every=min(EVAL_EVERY.value, TRAIN_STEPS.value),
        episodes=10,
        medium_return=float("nan") if target is None else target,
        hidden_dims=tuple(int(width) for width in HIDDEN_DIMS.value),
    )
    parts = collection.make_parts(task.env_id, PHYSICS.value, SEED.value, settings)
    rows, policy = collection.collect(parts, settings, LEVEL.value, STEPS.value)
    returns = recording.returns(rows)
    attributes = {
        "locally_collected": True,
        "env_id": task.env_id,
        "physics": parts.physics,
        "level": LEVEL.value,
        "seed": SEED.value,
        "command": command,
        "samg_jax": samg_jax.__version__,
        "episodes": len(returns),
        "return_mean": returns.mean(),
        "return_std": returns.std(),
        "return_min": returns.min(),
        "return_max": returns.max(),
        "normalized_score_mean": float(tasks.normalized_score(returns.mean(), task)),
        **policy,
    }
    recording.write(path, rows, attributes)
    print(f"{path}: {len(rows['rewards'])} rows, {path.stat().st_size / 1e6:.1f} MB")
    for name, value in attributes.items():
        shown = np.round(value, 2) if isinstance(value, float) else value
        print(f"  {name}: {shown}")


if __name__ == "__main__":
    app.run(main)
