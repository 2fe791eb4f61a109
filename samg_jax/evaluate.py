r"""Scores of a checkpoint, per seed, and a video of an episode; opens no dataset.

    python -m samg_jax.evaluate --checkpoint=runs/mine --episodes=100
    python -m samg_jax.evaluate --checkpoint=runs/mine/offline --physics=both \
        --out=scores.json --video=episode.mp4

For a workdir, the program takes the online checkpoint if it exists, otherwise the
offline one.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shlex
import sys

from absl import flags

import samg_jax
from samg_jax import checks, declarations, durable, lazy, logs, trust
from samg_jax.experiment import command_line
from samg_jax.runs import signals

gymnasium, jax, mujoco = map(lazy.module, ("gymnasium", "jax", "mujoco"))
score_tables = lazy.module("samg_jax.results.score_tables")
d4rl_physics = lazy.module("samg_jax.envs.d4rl_physics")
rendering = lazy.module("samg_jax.envs.rendering")
size_limits = lazy.module("samg_jax.experiment.size_limits")
compilation = lazy.module("samg_jax.compilation")
environments = lazy.module("samg_jax.runs.environments")
saved_policies = lazy.module("samg_jax.runs.saved_policies")
scoring = lazy.module("samg_jax.runs.scoring")

PHYSICS_NAMES = declarations.load("envs.d4rl_physics").constant("PHYSICS")

CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "Workdir of a run, or its folder offline/ or online/."
)
EPISODES = command_line.define_integer("episodes", 100, "Episodes per seed.", 1)
PHYSICS = flags.DEFINE_enum(
    "physics",
    None,
    [*PHYSICS_NAMES, "both"],
    "The simulator; by default the run's own.",
)
SEED = command_line.define_integer(
    "seed",
    0,
    "The seed of the start states; 0 gives those of training's evaluations.",
    0,
)
OUT = flags.DEFINE_string("out", None, "JSON file for the scores.")
VIDEO = flags.DEFINE_string(
    "video", None, "MP4 file for one episode; with --physics=both under D4RL's physics."
)
VIDEO_SEED = command_line.define_integer(
    "video_seed", None, "Seed whose policy is filmed; by default the first.", 0
)
MAX_STEPS = command_line.define_integer(
    "max_steps",
    None,
    "Steps after which an episode is cut; by default as in training's evaluations.",
    1,
)
TRUST = trust.define_flag()
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace existing files.")
flags.mark_flag_as_required("checkpoint")


def main(argv: list[str]) -> None:
    """Evaluates what the flags describe."""
    del argv
    logs.quiet_libraries()
    with checks.program():
        compilation.start()
    with signals.program(), trust.files(TRUST.value):
        saved = find()
        simulators = len(saved.experiment.seeds) * EPISODES.value
        needed = size_limits.HOST_PER_SIMULATOR * simulators
        what = f"--episodes={EPISODES.value}: {simulators:,} simulators take"
        size_limits.memory(what, needed, "Lower --episodes.")
        names = scoring.choose_physics(saved.experiment, PHYSICS.value)
        out, video = check_files(saved, names)
        print(scoring.describe(saved, names, EPISODES.value, SEED.value))
        # Not the folder that the checkpoint names: compiled programs would be run
        # from it.
        used = saved.experiment.settings.compilation_cache and compilation.DEFAULT_CACHE
        compilation.use_cache(used)
        restored = saved_policies.restore(saved)
        with compilation.matmul_precision(saved.experiment.settings.matmul_precision):
            evaluate(saved, restored, names, out, video)


def find() -> saved_policies.Saved:
    """The checkpoint, its environment tried out."""
    saved = saved_policies.find(CHECKPOINT.value)
    environments.check_limit(saved.experiment.task, max_steps(saved), "--max_steps")
    experiment = environments.try_out(saved.experiment, len(saved.experiment.seeds))
    return dataclasses.replace(saved, experiment=experiment)


def max_steps(saved: saved_policies.Saved) -> int | None:
    """The steps after which episodes are cut, beside the environment's own limit."""
    return MAX_STEPS.value or saved.experiment.settings.evaluation.max_steps


def check_files(
    saved: saved_policies.Saved, names: list[str]
) -> tuple[pathlib.Path | None, pathlib.Path | None]:
    """Returns the files of scores and video; refuses what could not be written."""
    out = pathlib.Path(OUT.value).expanduser() if OUT.value else None
    if out:
        if out.suffix != ".json":
            raise checks.UserError(
                f"The scores {str(out)!r} end in {out.suffix!r}; only .json is "
                f"written. Give --out={out.with_suffix('.json')}."
            )
        checks.file(out, "--out", OVERWRITE.value)
    video = pathlib.Path(VIDEO.value).expanduser() if VIDEO.value else None
    if VIDEO_SEED.value is not None:
        scoring.place_of(saved.experiment, VIDEO_SEED.value)
    if video:
        env_id, trial = saved.experiment.task.env_id, saved.experiment.trial
        if trial.single:
            raise checks.UserError(
                f"{env_id!r} cannot be filmed: a video needs a second "
                f"one, and it is built only once ({trial.why_single}). "
                "Leave out --video."
            )
        rendering.check(env_id, names[0], video)
        checks.file(video, "--video", OVERWRITE.value)
    return out, video


def evaluate(
    saved: saved_policies.Saved,
    restored: saved_policies.Policies,
    names: list[str],
    out: pathlib.Path | None,
    video: pathlib.Path | None,
) -> None:
    """Plays, prints the table, and writes the files that were asked for."""
    experiment = saved.experiment
    starts, limit = (EPISODES.value, SEED.value), max_steps(saved)
    results = scoring.score(experiment, restored, names, starts, limit)
    arguments = experiment.seeds, restored.alive, results, experiment.task
    print(score_tables.table(*arguments))
    if out:
        updates, taken = saved.steps
        report = {
            "command": shlex.join(["python", "-m", "samg_jax.evaluate", *sys.argv[1:]]),
            "checkpoint": str(saved.folder.absolute()),
            "phase": saved.phase,
            "offline_step": updates,
            "env_step": taken,
            "algorithm": experiment.settings.algorithm,
            "data_source": saved.meta["data_source"],
            "environment": {
                name: d4rl_physics.resolve(experiment.task.env_id, name)
                for name in names
            },
            "episodes": EPISODES.value,
            "start_states": SEED.value,
            "versions": {
                module.__name__: module.__version__
                for module in (samg_jax, jax, mujoco, gymnasium)
            },
            "scores": score_tables.as_json(*arguments),
        }
        text = json.dumps(report, indent=2, allow_nan=False) + "\n"
        durable.write_result(out, text)
        print(f"scores: {out}")
    if video:
        seed, episode = scoring.film(
            experiment, restored, names[0], VIDEO_SEED.value, starts, video, limit
        )
        print(
            f"video: {video} (seed {seed}, physics {names[0]}, return "
            f"{episode.episode_return:.1f}, {episode.length} steps)"
        )


def run() -> None:
    """Runs the program with the arguments of the command line."""
    command_line.run(main)


if __name__ == "__main__":
    run()
