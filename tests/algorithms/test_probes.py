"""Each algorithm solves a task of two steps, from data that act at random.

The reward falls with the distance to an action that depends on the observation, but it
is paid one step later, whatever is done then. So the policies that learn from rewards
must do better than the one that imitates, and only by bootstrapping can they.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samg_jax import algorithms
from samg_jax.types import Batch

ROWS, A = 4000, 2  # Rows of either step.
UPDATES, BATCH, DISCOUNT = 2000, 64, 0.9

IMITATING = {"hidden_dims": (32, 32), "learning_rate": 3e-3}
BOOTSTRAPPING = {"tau": 0.05, "discount": DISCOUNT}
SMALL = {"hidden_dims": (32, 32), **BOOTSTRAPPING}
CONSERVATIVE = {
    **BOOTSTRAPPING,
    "actor_hidden_dims": (32, 32),
    "critic_hidden_dims": (32, 32),
    "actor_learning_rate": 3e-3,
    "critic_learning_rate": 3e-3,
    "initialization": "finetune",
    "cql_weight": 0.5,
    "num_samples": 4,
}
FAST = {**SMALL, "learning_rate": 3e-3}
SETTINGS = {
    "awac": {**FAST, "inverse_temperature": 10.0},
    "iql": {**FAST, "inverse_temperature": 10.0, "schedule_steps": UPDATES},
    "td3_bc": {**FAST, "value_weight": 10.0},
    "cql": CONSERVATIVE,
    "cal_ql": {**CONSERVATIVE, "calibrated": True},
    "spot": {
        **SMALL,
        "actor_learning_rate": 3e-3,
        "critic_learning_rate": 3e-3,
        "vae_hidden_dims": (32, 32),
        "vae_steps": 200,
        "support_weight": 0.05,
    },
}


def best(observations):
    return 0.7 * jnp.tanh(2.0 * observations[:, :A])


def make_data(imitate=False):
    """Returns first steps, then second steps; `[features, is second, what is due]`."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(ROWS, A))
    observations = np.concatenate([features, np.zeros((ROWS, 2))], axis=1)
    actions = rng.uniform(-1, 1, size=(2, ROWS, A))
    if imitate:
        actions[0] = best(observations)
    due = -np.sum((actions[0] - best(observations)) ** 2, axis=-1)
    second = np.concatenate([features, np.ones((ROWS, 1)), due[:, None]], axis=1)
    none = np.zeros(ROWS)
    fields = {
        "observations": [observations, second],
        "actions": actions,
        "rewards": [none, due],
        "next_observations": [second, second],
        "masks": [none + 1, none],
        "mc_returns": [DISCOUNT * due, due],
        "weights": [none, none],
    }
    return Batch(**{k: jnp.float32(np.concatenate(v)) for k, v in fields.items()})


def distance_after_training(name, settings, data):
    """Returns the mean squared distance of the policy's first actions to the best."""
    algorithm = algorithms.make(name, settings, A)

    @jax.jit
    def train(key):
        def step(state, key):
            rows_key, update_key = jax.random.split(key)
            rows = jax.random.randint(rows_key, (BATCH,), 0, 2 * ROWS)
            batch = jax.tree.map(lambda leaf: leaf[rows], data)
            return algorithm.update(state, batch, update_key)[0], None

        state = algorithm.init(key, data.observations[:1])
        state, _ = jax.lax.scan(step, state, jax.random.split(key, UPDATES))
        first = data.observations[:ROWS]
        return jnp.mean((algorithm.act(state, first) - best(first)) ** 2)

    return float(train(jax.random.key(0)))


def distance_of_the_mean_action():
    return float(jnp.mean(best(make_data().observations[:ROWS]) ** 2))


def test_bc_imitates():
    assert distance_after_training("bc", IMITATING, make_data(imitate=True)) < 0.005
    # Of actions at random it learns their mean, which is 0.
    actual = distance_after_training("bc", IMITATING, make_data())
    np.testing.assert_allclose(actual, distance_of_the_mean_action(), rtol=0.15)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_others_find_the_actions_that_are_rewarded_a_step_later(name):
    distance = distance_after_training(name, SETTINGS[name], make_data())
    assert distance < 0.25 * distance_of_the_mean_action()
