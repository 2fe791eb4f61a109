"""Probe environments: one idea each, solved in seconds if the loop is right.

Every probe has one observation and one action, so that all of them are learned at once
by one compiled program, as if they were seeds: only their environments differ.
"""

import gymnasium
import jax
import ml_collections
import numpy as np
import pytest

from samg_jax.data import transitions
from samg_jax.envs import vector
from samg_jax.experiment import datasets, resolve
from samg_jax.training import offline_phase, online_phase, seed_axis

DISCOUNT = 0.5
BOX = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float64)


class Probe(gymnasium.Env):
    """One step, or more, with a reward of its own.

    Args:
        reward: `(observation, action, time) -> reward`.
        length: steps of an episode; the observation is the time if there are several.
        observations: what an episode of one step may show.
    """

    observation_space = BOX
    action_space = BOX

    def __init__(self, reward, length=1, observations=(0.0,)):
        self.reward, self.length, self.observations = reward, length, observations

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        self.observation = self.np_random.choice(self.observations)
        return np.array([self.observation]), {}

    def step(self, action):
        reward = float(self.reward(self.observation, action[0], self.time))
        self.time += 1
        if self.length > 1:
            self.observation = float(self.time)
        ends = self.time == self.length
        return np.array([self.observation]), reward, ends, False, {}


PROBES = {
    "constant": {"reward": lambda o, a, t: 1.0},
    "observed": {"reward": lambda o, a, t: o, "observations": (-1.0, 1.0)},
    "delayed": {"reward": lambda o, a, t: t, "length": 2},
    "acted": {"reward": lambda o, a, t: 1 - (a - 0.5) ** 2},
    "matched": {
        "reward": lambda o, a, t: 1 - (a - 0.5 * o) ** 2,
        "observations": (-1.0, 1.0),
    },
}
AGENTS = {
    "awac": {
        "learning_rate": 3e-3,
        "hidden_dims": (32, 32),
        "discount": DISCOUNT,
        "tau": 0.05,
        "inverse_temperature": 10.0,
    },
    "cql": {
        "actor_learning_rate": 3e-3,
        "critic_learning_rate": 3e-3,
        "actor_hidden_dims": (32, 32),
        "critic_hidden_dims": (32, 32),
        "discount": DISCOUNT,
        "tau": 0.05,
        "cql_weight": 0.05,
        "num_samples": 4,
    },
}
PHASE = ml_collections.ConfigDict(
    {
        "steps": 800,
        "batch_size": 64,
        "updates_per_step": 1,
        "data": "buffer",
        "offline_share": 0.5,
        "buffer_size": 800,
        "warmup_steps": 64,
    }
)


@pytest.fixture(scope="module", autouse=True)
def _probes():
    for name, kwargs in PROBES.items():
        gymnasium.register(f"Probe-{name}-v0", Probe, kwargs=kwargs)
    yield
    for name in PROBES:
        del gymnasium.registry[f"Probe-{name}-v0"]


def resolved(algorithm):
    config = {
        "algorithm": algorithm,
        "agent": AGENTS[algorithm],
        "seed": 0,
        "num_seeds": len(PROBES),
        "env_id": "Probe-constant-v0",
        "physics": "stock",
        "dataset": {"name": None, "path": None},
        "guidance": {"weight": "none"},
    }
    return resolve.from_fields(config)


def stack(steps):
    return jax.tree.map(lambda *rows: np.concatenate(rows), *steps)


@pytest.fixture(scope="module", params=AGENTS)
def learned(request):
    """The experiment of an algorithm, and its state after fine-tuning from scratch."""
    experiment = resolved(request.param)
    envs = [
        vector.make(f"Probe-{name}-v0", 1, [index], "stock")
        for index, name in enumerate(PROBES)
    ]
    nothing = datasets.Preprocessing(
        transitions.Normalizer.identity(1), transitions.RewardTransform.identity()
    )
    first = np.concatenate([env.reset() for env in envs])
    state = online_phase.init(
        experiment, PHASE, offline_phase.init(experiment, nothing), first
    )
    step = online_phase.make_step(experiment, PHASE)
    for count in range(PHASE.steps):
        actions = np.asarray(state.actions)
        outcome = stack([env.step(actions[[i]]) for i, env in enumerate(envs)])
        turns = int(count >= PHASE.warmup_steps)
        state = step(state, online_phase.to_env_step(outcome), None, turns)
    assert np.asarray(state.alive).all()
    return experiment, jax.device_get(state.agent)


def q_and_action(learned, probe, observation, action=None):
    """Returns the value of an action, by default the greedy one, and that action."""
    experiment, agents = learned
    agent = seed_axis.select(agents, list(PROBES).index(probe))
    observations = np.float32([[observation]])
    greedy = np.clip(jax.jit(experiment.online.act)(agent, observations), -1, 1)
    actions = greedy if action is None else np.float32([[action]])
    critic = jax.jit(experiment.algorithm.critic.apply)
    q = critic(agent.critic.params, observations, actions)
    return float(np.asarray(q).mean()), float(greedy[0, 0])


def test_value_of_a_constant_reward(learned):
    q, _ = q_and_action(learned, "constant", 0.0)
    assert q == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("observation", [-1.0, 1.0])
def test_value_depends_on_the_observation(learned, observation):
    q, _ = q_and_action(learned, "observed", observation)
    assert q == pytest.approx(observation, abs=0.05)


def test_delayed_reward_is_discounted(learned):
    last, _ = q_and_action(learned, "delayed", 1.0)
    assert last == pytest.approx(1.0, abs=0.05)
    first, _ = q_and_action(learned, "delayed", 0.0)
    assert first == pytest.approx(DISCOUNT, abs=0.05)


def test_policy_finds_the_best_action(learned):
    q, action = q_and_action(learned, "acted", 0.0)
    assert action == pytest.approx(0.5, abs=0.15)
    assert q == pytest.approx(1.0, abs=0.15)
    worse, _ = q_and_action(learned, "acted", 0.0, action=-0.5)
    assert worse < q - 0.2


@pytest.mark.parametrize("observation", [-1.0, 1.0])
def test_action_follows_the_observation(learned, observation):
    q, action = q_and_action(learned, "matched", observation)
    assert action == pytest.approx(0.5 * observation, abs=0.2)
    assert q == pytest.approx(1.0, abs=0.15)
    worse, _ = q_and_action(learned, "matched", observation, action=-0.5 * observation)
    assert worse < q - 0.2
