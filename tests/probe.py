"""An algorithm that learns nothing and writes down what training hands to it."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
from flax import struct

from samg_jax.data import transitions
from samg_jax.training import parts as parts_lib
from samg_jax.types import Batch, unguided


class State(struct.PyTreeNode):
    """The last batch, a draw, and the weight that the guide had for each row.

    `value` is the value of every state: 0 offline, 1 online. So the guided value of a
    row is 1 - p.
    """

    step: jax.Array
    updates: jax.Array
    value: jax.Array
    batch: Batch
    draw: jax.Array
    weights: jax.Array


@dataclasses.dataclass(frozen=True)
class Config:
    discount: float = 0.99


@dataclasses.dataclass(frozen=True)
class Probe:
    batch_size: int
    observation_size: int
    action_size: int
    config: Config = dataclasses.field(default_factory=Config)

    def init(self, key: chex.PRNGKey, observations: jax.Array) -> State:
        def rows(*shape):
            return jnp.zeros((self.batch_size, *shape))

        observations, actions = rows(self.observation_size), rows(self.action_size)
        zeros = rows()
        batch = Batch(observations, actions, zeros, observations, zeros, zeros, zeros)
        return State(
            step=jnp.zeros((), jnp.int32),
            updates=jnp.zeros((), jnp.int32),
            value=jnp.zeros(()),
            batch=batch,
            draw=jax.random.normal(key),
            weights=zeros,
        )

    def update(self, state, batch, key, guide=unguided):
        value = self.next_values(state, batch, key, guide)
        draw = jax.random.normal(key)
        new = State(
            step=state.step + 1,
            updates=state.updates + 1,
            value=state.value,
            batch=batch,
            draw=draw,
            weights=state.value - value,
        )
        return new, {"loss": batch.rewards.mean()}

    def next_values(self, state, batch, key, guide=unguided):
        def value(params, observations):
            return jnp.full(len(observations), params)

        return guide(value)(state.value, batch.next_observations)

    def values(self, params, batch):
        return jnp.full(len(batch.rewards), params)

    def q_values(self, state, batch):
        return self.values(state.value, batch)[None]

    def value_params(self, state):
        return state.value

    def online_value_params(self, state):
        return state.value

    def online(self):
        return self

    def start_online(self, state):
        return state.replace(value=jnp.ones_like(state.value))

    def explore(self, state, observations, key):
        shape = (len(observations), self.action_size)
        return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)

    def act(self, state, observations):
        return jnp.zeros((len(observations), self.action_size))


def parts(config, batch_size):
    """Returns the parts of an experiment with the probe for its algorithm."""
    result = parts_lib.resolve(config)
    task = result.task
    probe = Probe(batch_size, task.observation_size, task.action_size)
    return dataclasses.replace(result, algorithm=probe, online=probe, model=None)


def dataset(rows, task):
    """Returns a dataset whose rewards, from -1 down, number its rows."""
    zeros = jnp.zeros(rows)
    return transitions.Dataset(
        observations=jnp.ones((rows, task.observation_size)),
        actions=jnp.zeros((rows, task.action_size)),
        rewards=-1.0 - jnp.arange(rows, dtype=jnp.float32),
        next_observations=jnp.ones((rows, task.observation_size)),
        masks=zeros + 1,
        mc_returns=zeros,
    )


def preprocessing(task):
    """Returns the one that changes nothing."""
    return parts_lib.Preprocessing(
        transitions.Normalizer.identity(task.observation_size),
        transitions.RewardTransform.identity(),
    )
