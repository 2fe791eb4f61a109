r"""Makes your own dataset, a file in D4RL's format.

By training SAC on an environment:

    python -m samg_jax.collect --env=Hopper-v4 --level=medium --out=hopper.hdf5
    python -m samg_jax.train --config=configs/awac_samg.py \
        --config.dataset.path=hopper.hdf5 --config.env_id=Hopper-v4

On D4RL's AntMaze with a scripted controller:

    python -m samg_jax.collect --env=antmaze-umaze --steps=100000 --out=umaze.hdf5
    python -m samg_jax.train --config=configs/iql_samg.py:antmaze-umaze \
        --config.dataset.path=umaze.hdf5 --config.env_id=antmaze-umaze

The file records that it is locally collected, the policy and the returns.
"""

from __future__ import annotations

import pathlib
import shlex
import sys
from typing import Any

from absl import flags

import samg_jax
from samg_jax import checks, declarations, lazy, logs
from samg_jax.experiment import command_line, setting_values
from samg_jax.runs import signals

np = lazy.module("numpy")
recording = lazy.module("samg_jax.collecting.recording")
transitions = lazy.module("samg_jax.data.transitions")
d4rl_physics = lazy.module("samg_jax.envs.d4rl_physics")
tasks = lazy.module("samg_jax.envs.tasks")
size_limits = lazy.module("samg_jax.experiment.size_limits")
sac_collection = lazy.module("samg_jax.collecting.sac_collection")
compilation = lazy.module("samg_jax.compilation")
environments = lazy.module("samg_jax.runs.environments")
maze_collection = lazy.module("samg_jax.collecting.maze_collection")

OF_SAC = declarations.load("collecting.sac_collection")
OF_MAZES = declarations.load("collecting.maze_collection")

ENV = flags.DEFINE_string("env", None, "Gymnasium id, such as Hopper-v4.")
LEVEL = flags.DEFINE_enum(
    "level",
    None,
    [*OF_SAC.constant("LEVELS"), *OF_MAZES.constant("LEVELS")],
    "The policy that collects the data; by default medium. On AntMaze, the start and "
    "goal cells; by default those of D4RL's data of the same name.",
)
OUT = flags.DEFINE_string("out", None, "HDF5 file to write.")
STEPS = command_line.define_integer(
    "steps",
    1_000_000,
    "Rows to write; medium-replay writes all rows of the replay buffer.",
    2,
)
SEED = command_line.define_integer("seed", 0, "The seed of training and rollouts.", 0)
ACTION_NOISE = flags.DEFINE_float(
    "action_noise",
    OF_MAZES.constant("ACTION_NOISE"),
    "Standard deviation of the noise on actions; AntMaze only.",
    0.0,
)
PHYSICS = flags.DEFINE_enum(
    "physics",
    None,
    declarations.load("envs.d4rl_physics").constant("PHYSICS"),
    "The simulator; by default d4rl if it is defined for the environment.",
)
TRAIN_STEPS = command_line.define_integer(
    "train_steps", 1_000_000, "The most environment steps of SAC.", 1
)
MEDIUM_SCORE = flags.DEFINE_float(
    "medium_score", 40.0, "Normalized score at which a policy counts as medium."
)
MEDIUM_RETURN = flags.DEFINE_float(
    "medium_return",
    None,
    "Raw return at which a policy counts as medium; for tasks without reference "
    "scores.",
)
HIDDEN_DIMS = flags.DEFINE_list("hidden_dims", ["256", "256"], "Layer widths of SAC.")
EVAL_EVERY = command_line.define_integer(
    "eval_every", 5_000, "Environment steps from one evaluation to the next.", 1
)
MAX_STEPS = command_line.define_integer(
    "max_steps",
    None,
    "Steps after which an evaluation episode is cut; needed without a time limit.",
    1,
)
STRICT = flags.DEFINE_bool(
    "strict",
    False,
    "Write nothing if no policy reaches the level, instead of the best policy's data.",
)
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace an existing file.")
SAC_ONLY = tuple(
    flag.name
    for flag in (
        *(TRAIN_STEPS, MEDIUM_SCORE, MEDIUM_RETURN, HIDDEN_DIMS, EVAL_EVERY),
        *(MAX_STEPS, STRICT),
    )
)
flags.mark_flags_as_required(["env", "out"])
flags.register_validator(
    "hidden_dims",
    setting_values.are_positive,
    "layers have widths of 1 or more; give --hidden_dims=256,256, for example",
)


def main(argv: list[str]) -> None:
    """Collects what the flags describe."""
    del argv
    logs.quiet_libraries()
    command = shlex.join(["python", "-m", "samg_jax.collect", *sys.argv[1:]])
    with checks.program():
        compilation.start()
    precision = compilation.matmul_precision(compilation.DEFAULT_PRECISION)
    with signals.program(), precision:
        collect(command)


def collect(command: str) -> None:
    """Collects, writes the file, and prints what is in it."""
    compilation.use_cache(compilation.DEFAULT_CACHE)
    path = pathlib.Path(OUT.value).expanduser()
    checks.file(path, "--out", OVERWRITE.value)
    task = tasks.for_env_id(ENV.value)
    check_sizes(task)
    width = task.observation_size + task.action_size + 3
    recording.check_space(path, STEPS.value, width)
    is_maze = tasks.is_antmaze(task.env_id)
    level = resolve_level(task.env_id, is_maze)
    rows, described = (walk_maze if is_maze else train_sac)(task, level)
    attributes = {
        "locally_collected": True,
        "env_id": task.env_id,
        "level": level,
        "seed": SEED.value,
        "command": command,
        "samg_jax": samg_jax.__version__,
        **described,
    }
    recording.write(path, rows, attributes)
    if "warning" in attributes:
        level = f"{attributes['level']!r}, not {level!r}"
        said = checks.with_flags(attributes["warning"])
        print(
            f"WARNING: {said} {path} has the data of the best policy "
            f"and says that its level is {level}; with --strict nothing is written.",
            file=sys.stderr,
        )
    print(f"{path}: {len(rows['rewards'])} rows, {path.stat().st_size / 1e6:.1f} MB")
    for name, value in attributes.items():
        shown = value if isinstance(value, str | int) else np.round(value, 2)
        print(f"  {name}: {shown}")


def check_sizes(task: tasks.Task) -> None:
    """Refuses rows and layers that no machine has the memory for."""
    row = size_limits.NUMBER * (2 * task.observation_size + task.action_size + 3)
    size_limits.count("--steps", STEPS.value)
    size_limits.count("--train_steps", TRAIN_STEPS.value)
    advice = "Lower --steps."
    size_limits.memory(
        f"--steps={STEPS.value}: its rows take", row * STEPS.value, advice
    )
    widths = setting_values.positive(HIDDEN_DIMS.value)
    inputs = task.observation_size + task.action_size
    weights = size_limits.dense((task.observation_size, *widths, task.action_size))
    weights += 2 * size_limits.dense((inputs, *widths, 1))  # Both critics.
    size_limits.memory(
        f"--hidden_dims={','.join(HIDDEN_DIMS.value)} takes",
        size_limits.NUMBER * size_limits.COPIES * weights,
        "Lower --hidden_dims.",
    )


def resolve_level(env_id: str, is_maze: bool) -> str:
    """Returns the level, by default the environment's own; refuses others and flags.

    Args:
        env_id: of the environment.
        is_maze: whether it is AntMaze, which has levels and flags of its own.
    """
    allowed = maze_collection.LEVELS if is_maze else sac_collection.LEVELS
    default = maze_collection.default_level(env_id) if is_maze else "medium"
    level = LEVEL.value or default
    if level not in allowed:
        raise checks.UserError(
            f"{env_id} has no level {level!r}. Allowed: {', '.join(allowed)}. Leave "
            f"--level out for {default}."
        )
    foreign = SAC_ONLY if is_maze else (ACTION_NOISE.name,)
    given = [name for name in foreign if not flags.FLAGS[name].using_default_value]
    if given:
        policy = "a script" if is_maze else "SAC"
        raise checks.UserError(
            f"--{given[0]} was given, but the data of {env_id} are collected by "
            f"{policy}, which has no such setting. Leave it out."
        )
    return level


def walk_maze(
    task: tasks.Task, level: str
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns rows of the scripted controller, and what the file says of them."""
    physics = PHYSICS.value or d4rl_physics.default(task.env_id)
    rows, described = maze_collection.collect(
        task.env_id, physics, level, STEPS.value, SEED.value, ACTION_NOISE.value
    )
    return rows, {"physics": physics, **described}


def train_sac(
    task: tasks.Task, level: str
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns rows of policies that SAC learned, and what the file says of them."""
    target = MEDIUM_RETURN.value
    if target is None:
        target = sac_collection.medium_return(task, MEDIUM_SCORE.value / 100.0)
    if target is None and level not in ("random", "expert"):
        raise checks.UserError(
            f"{task.env_id} has no reference scores, so it is not known which return "
            f"is {level}. Say so with --medium_return=RETURN."
        )
    if level != "random":
        environments.check_limit(task, MAX_STEPS.value, "--max_steps")
    settings = sac_collection.Settings(
        train_steps=TRAIN_STEPS.value,
        warmup_steps=min(5_000, TRAIN_STEPS.value // 2),
        eval_every=min(EVAL_EVERY.value, TRAIN_STEPS.value),
        episodes=10,
        medium_return=float("nan") if target is None else target,
        hidden_dims=tuple(setting_values.positive(HIDDEN_DIMS.value)),
        max_steps=MAX_STEPS.value,
    )
    experiment = sac_collection.make_experiment(
        task.env_id, PHYSICS.value, SEED.value, settings
    )
    rows, policy = sac_collection.collect(
        experiment, settings, level, STEPS.value, STRICT.value
    )
    returns = transitions.episode_returns(rows)
    return rows, {
        "physics": experiment.physics,
        "episodes": len(returns),
        "return_mean": returns.mean(),
        "return_std": returns.std(),
        "return_min": returns.min(),
        "return_max": returns.max(),
        "normalized_score_mean": float(tasks.normalized_score(returns.mean(), task)),
        **policy,
    }


def run() -> None:
    """Runs the program with the arguments of the command line."""
    command_line.run(main)


if __name__ == "__main__":
    run()
