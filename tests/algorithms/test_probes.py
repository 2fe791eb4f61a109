"""Each algorithm solves a task of one step, from data that act at random.

The reward falls with the distance to an action that depends on the observation, so the
policies that learn from rewards must do better than the one that imitates.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samg_jax import algorithms
from samg_jax.types import Batch

ROWS, O, A = 4000, 3, 2  # noqa: E741
UPDATES, BATCH = 1200, 64

SMALL = {"hidden_dims": (32, 32)}
CONSERVATIVE = {
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
    rng = np.random.default_rng(0)
    observations = jnp.float32(rng.normal(size=(ROWS, O)))
    actions = jnp.float32(rng.uniform(-1, 1, size=(ROWS, A)))
    if imitate:
        actions = best(observations)
    rewards = -jnp.sum((actions - best(observations)) ** 2, axis=-1)
    return Batch(
        observations=observations,
        actions=actions,
        rewards=rewards,
        next_observations=observations,
        masks=jnp.zeros(ROWS),
        mc_returns=rewards,
        weights=jnp.zeros(ROWS),
    )


def distance_after_training(name, settings, data):
    """Returns the mean squared distance of the trained policy's actions to the best."""
    algorithm = algorithms.make(name, settings, A)

    @jax.jit
    def train(key):
        def step(state, key):
            rows_key, update_key = jax.random.split(key)
            rows = jax.random.randint(rows_key, (BATCH,), 0, ROWS)
            batch = jax.tree.map(lambda leaf: leaf[rows], data)
            return algorithm.update(state, batch, update_key)[0], None

        state = algorithm.init(key, data.observations[:1])
        state, _ = jax.lax.scan(step, state, jax.random.split(key, UPDATES))
        errors = algorithm.act(state, data.observations) - best(data.observations)
        return jnp.mean(errors**2)

    return float(train(jax.random.key(0)))


def test_bc_imitates():
    assert distance_after_training("bc", FAST, make_data(imitate=True)) < 0.005
    # Of actions at random it learns their mean, which is 0.
    wanted = float(jnp.mean(best(make_data().observations) ** 2))
    actual = distance_after_training("bc", FAST, make_data())
    np.testing.assert_allclose(actual, wanted, rtol=0.15)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_others_find_the_actions_with_the_highest_reward(name):
    data = make_data()
    imitated = float(jnp.mean(best(data.observations) ** 2))
    assert distance_after_training(name, SETTINGS[name], data) < 0.25 * imitated
