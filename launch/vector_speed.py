r"""Steps per second of our batches and of gymnasium's SyncVectorEnv, in one run.

    python launch/vector_speed.py --out=launch/results/vector_speed.json

Both step the same models (D4RL's physics) with the same random actions and restart
episodes by themselves. They take turns, block by block, so that whatever else the
machine does hits both, and the medians over blocks are compared. Measure on a machine
that does nothing else: two threads need two idle processors.
"""

import functools
import json
import os
import pathlib
import shlex
import sys
import time

import gymnasium
import numpy as np
from absl import flags

from samg_jax import provenance
from samg_jax.envs import d4rl_physics, vector
from samg_jax.experiment import command_line

ENVS = flags.DEFINE_list(
    "envs",
    ["HalfCheetah-v4", "Hopper-v4", "Walker2d-v4", "antmaze-umaze-v2"],
    "Gymnasium ids.",
)
SIZES = flags.DEFINE_list("sizes", ["1", "8", "32"], "Numbers of environments.")
THREADS = flags.DEFINE_list("threads", ["1", "2"], "Threads of our batch, to compare.")
BLOCKS = command_line.define_integer("blocks", 60, "Blocks per candidate.", 1)
BLOCK_STEPS = command_line.define_integer(
    "block_steps", 800, "Environment steps a block.", 1
)
OUT = flags.DEFINE_string("out", None, "JSON file to write.")


def make_sync(env_id: str, num_envs: int) -> gymnasium.vector.SyncVectorEnv:
    """Returns gymnasium's own batch of the same environments, reset."""
    make = functools.partial(d4rl_physics.make, env_id, "d4rl")
    env = gymnasium.vector.SyncVectorEnv([make] * num_envs)
    env.reset(seed=0)
    return env


def make_ours(env_id: str, num_envs: int, threads: int) -> vector.VectorEnv:
    """Returns our batch, reset."""
    env = vector.make(env_id, num_envs, range(num_envs), "d4rl", threads)
    env.reset()
    return env


def measure(env_id: str, num_envs: int, threads: list[int]) -> dict[str, float]:
    """Returns the median of environment steps per second of each candidate."""
    candidates = {"gymnasium": make_sync(env_id, num_envs)}
    for count in threads:
        if count <= num_envs:
            name = f"ours, {count} thread{'s' * (count > 1)}"
            candidates[name] = make_ours(env_id, num_envs, count)
    steps = max(1, BLOCK_STEPS.value // num_envs)
    size = candidates["gymnasium"].single_action_space.shape[0]
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (steps, num_envs, size)).astype(np.float32)
    speeds = {name: [] for name in candidates}
    for block in range(BLOCKS.value + 1):
        for name, env in candidates.items():
            start = time.perf_counter()
            for step_actions in actions:
                env.step(step_actions)
            seconds = time.perf_counter() - start
            if block:  # The first one warms up.
                speeds[name].append(steps * num_envs / seconds)
    for env in candidates.values():
        env.close()
    return {name: float(np.median(values)) for name, values in speeds.items()}


def main(argv: list[str]) -> None:
    """Measures, prints a table, writes the file."""
    del argv
    threads = [int(count) for count in THREADS.value]
    load = os.getloadavg()[0]
    rows = []
    for env_id in ENVS.value:
        for num_envs in map(int, SIZES.value):
            speeds = measure(env_id, num_envs, threads)
            base = speeds.pop("gymnasium")
            rows.append({"env": env_id, "size": num_envs, "gymnasium": round(base)})
            print(f"{env_id} x {num_envs}: gymnasium {base:,.0f} steps/s", end="")
            for name, speed in speeds.items():
                rows[-1][name] = round(speed)
                rows[-1][f"{name}, ratio"] = round(speed / base, 2)
                print(f"; {name} {speed:,.0f} ({speed / base:.2f} x)", end="")
            print(flush=True)
    if OUT.value:
        result = {
            "command": shlex.join(["python", *sys.argv]),
            "machine": provenance.describe(),
            "load when it began": round(load, 2),
            "unit": "environment steps per second, median over blocks",
            "rows": rows,
        }
        path = pathlib.Path(OUT.value)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    command_line.run(main)
