"""Experiments small enough for tests: real data, real environment, tiny networks."""

import importlib
import pathlib

import h5py
import ml_collections
import numpy as np

from samg_jax.envs import vector

# The four bases come with and without guidance.
BASES = ("awac", "cal_ql", "cql", "iql")
BASELINES = ("bc", "spot", "td3_bc")
CONFIGS = {
    name: importlib.import_module(f"configs.{name}").get_config
    for name in (*BASES, *(f"{base}_samg" for base in BASES), *BASELINES)
}

# Flags that make any run small; the same for the program and for `config`.
SMALL = {
    "env_id": "Hopper-v4",
    "num_seeds": 2,
    "offline.updates": 60,
    "offline.batch_size": 16,
    "offline.eval_every": 40,
    "offline.log_every": 20,
    "offline.checkpoint_every": 20,
    "online.steps": 60,
    "online.batch_size": 16,
    "online.eval_every": 40,
    "online.log_every": 20,
    "online.checkpoint_every": 20,
    "evaluation.episodes": 2,
    "evaluation.threads": 1,
    "logging.progress": False,
}
GUIDED = {
    "online.warmup_steps": 25,
    "guidance.cvae.steps": 40,
    "guidance.cvae.batch_size": 16,
    "guidance.cvae.hidden_dim": 16,
    "guidance.cvae.kl_warmup_start": 5,
    "guidance.cvae.kl_warmup_steps": 10,
    "guidance.embedding.steps": 40,
    "guidance.embedding.batch_size": 16,
    "guidance.embedding.hidden_dim": 16,
    "guidance.embedding.embedding_size": 4,
}
ONE_SHAPE = {"agent.hidden_dims": (16, 16)}
CONSERVATIVE = {
    "agent.actor_hidden_dims": (16, 16),
    "agent.critic_hidden_dims": (16, 16),
    "agent.num_samples": 2,
}
NETWORKS = {
    "awac": ONE_SHAPE,
    "bc": ONE_SHAPE,
    "cal_ql": CONSERVATIVE,
    "cql": CONSERVATIVE,
    "iql": ONE_SHAPE,
    "spot": {**ONE_SHAPE, "agent.vae_steps": 30, "agent.vae_hidden_dims": (16, 16)},
    "td3_bc": ONE_SHAPE,
}


def fields(name: str, dataset: pathlib.Path, **overrides) -> dict:
    """Returns the dotted fields that make the experiment `name` small."""
    return {
        **SMALL,
        **(GUIDED if name.endswith("_samg") else {}),
        **NETWORKS[name.removesuffix("_samg")],
        "dataset.path": str(dataset),
        **overrides,
    }


def config(
    name: str, dataset: pathlib.Path, overrides: dict | None = None
) -> ml_collections.ConfigDict:
    """Returns the small experiment `name` on a dataset file.

    Args:
        name: key of `CONFIGS`.
        dataset: HDF5 file.
        overrides: dotted field -> value.
    """
    result = CONFIGS[name]("hopper-demo")
    with result.ignore_type():
        result.update_from_flattened_dict(fields(name, dataset, **(overrides or {})))
    return result


def flags(name: str, dataset: pathlib.Path, **overrides) -> list[str]:
    """Returns the same as flags of `samg_jax.train`; dots are written as `__`."""
    overrides = {key.replace("__", "."): value for key, value in overrides.items()}
    every = fields(name, dataset, **overrides)
    return [f"--config=configs/{name}.py:hopper-demo"] + [
        f"--config.{key}={value}" for key, value in every.items()
    ]


def write_dataset(path: pathlib.Path, rows: int = 400, env_id: str = "Hopper-v4"):
    """Writes a D4RL-format file of random actions; returns its path."""
    env = vector.make(env_id, 1, [0], physics="d4rl")
    observations, rng, steps = env.reset(), np.random.default_rng(0), []
    for _ in range(rows):
        actions = rng.uniform(-1, 1, (1, env.action_size)).astype(np.float32)
        step = env.step(actions)
        steps.append(
            (observations[0], actions[0], step.rewards[0], step.terminals[0], False)
        )
        observations = step.observations
    keys = ("observations", "actions", "rewards", "terminals", "timeouts")
    with h5py.File(path, "w") as file:
        for key, values in zip(keys, zip(*steps, strict=True), strict=True):
            file[key] = np.array(values)
    return path
