"""Small problems of the tests: the golden toy, with all its draws, and random data.

The golden toy is a closed formula for every parameter, batch entry and random draw, so
that an implementation in any framework can compute the same losses.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from samg_jax.types import Batch

S, A, B = 3, 2, 4


def kernel(layer, network, inputs, outputs):
    values = np.zeros((inputs, outputs))
    for i in range(inputs):
        for o in range(outputs):
            phase = 1 + 0.7 * layer + 0.13 * network + 0.37 * i + 0.61 * o
            values[i, o] = 2 * math.cos(phase + 0.011 * i * o) / math.sqrt(inputs)
    return np.float32(values)


def bias(layer, network, outputs):
    phases = [1 + o + layer + network for o in range(outputs)]
    return np.float32([0.05 * math.sin(phase) for phase in phases])


def overwrite_mlp(mlp, network):
    """Returns the layers of one network, filled by the toy's formula."""
    layers = {}
    for layer in range(len(mlp)):
        inputs, outputs = mlp[f"Dense_{layer}"]["kernel"].shape
        layers[f"Dense_{layer}"] = {
            "kernel": kernel(layer, network, inputs, outputs),
            "bias": bias(layer, network, outputs),
        }
    return layers


def overwrite_actor(params, network):
    """Returns the toy's actor; scalars keep their start, a log-std vector is set."""
    inner = dict(params["params"])
    inner["MLP_0"] = overwrite_mlp(inner["MLP_0"], network)
    if "log_std" in inner:
        inner["log_std"] = np.float32([-0.5 + 0.1 * j for j in range(A)])
    return jax.tree.map(jnp.asarray, {"params": inner})


def overwrite_critics(params, networks):
    """Returns the toy's critics, one network number per member of the ensemble."""
    mlp = params["params"]["MLP_0"]
    members = [
        overwrite_mlp(jax.tree.map(lambda leaf, e=e: leaf[e], mlp), network)
        for e, network in enumerate(networks)
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    return {"params": {"MLP_0": stacked}}


def state(algorithm):
    """Returns the golden state of an actor-critic algorithm before its first step."""
    fresh = jax.jit(algorithm.init)(jax.random.key(0), jnp.zeros((B, S)))
    return fresh.replace(
        actor=fresh.actor.replace(params=overwrite_actor(fresh.actor.params, 0)),
        critic=fresh.critic.replace(
            params=overwrite_critics(fresh.critic.params, (1, 2))
        ),
        target_critic=overwrite_critics(fresh.target_critic, (11, 12)),
    )


def batch():
    rows = range(B)

    def table(entry, columns):
        return jnp.float32([[entry(b, j) for j in range(columns)] for b in rows])

    return Batch(
        observations=table(lambda b, j: math.sin(0.5 + 1.3 * b + 0.7 * j), S),
        actions=table(lambda b, j: 0.8 * math.cos(0.2 + 0.9 * b + 1.1 * j), A),
        rewards=jnp.float32([0.1 * b - 0.2 for b in rows]),
        next_observations=table(lambda b, j: math.sin(0.9 + 1.1 * b + 0.5 * j), S),
        masks=jnp.float32([1, 1, 0, 1]),
        mc_returns=jnp.float32([0.3 - 0.2 * b for b in rows]),
        weights=jnp.zeros(B),
    )


def noise(kind, shape):
    """Returns the toy's normal draw; its sample axis is the second, ours the first."""
    return to_ours(1.5 * np.sin(kind + 1.7 * np.arange(math.prod(shape))), shape)


def uniform(shape):
    """Returns the toy's uniform actions."""
    return to_ours(0.9 * np.sin(5 + 1.3 * np.arange(math.prod(shape))), shape)


def to_ours(flat, shape):
    if len(shape) == 2:
        return jnp.float32(flat.reshape(shape))
    samples, rows, columns = shape
    return jnp.float32(flat.reshape(rows, samples, columns).swapaxes(0, 1))


class Draws:
    """Stands in for `jax.random.normal` and `uniform` while a function is traced.

    The draws must come in the order of `expected`, a list of `(kind, shape)`; the kind
    is the toy's number of a normal draw or "uniform". Tracing is followed by `close`,
    which checks that all of them came.
    """

    def __init__(self, monkeypatch, expected):
        self.expected = list(expected)
        self.taken = 0
        monkeypatch.setattr(jax.random, "normal", self.normal)
        monkeypatch.setattr(jax.random, "uniform", self.uniform)

    def next(self, shape):
        assert self.taken < len(self.expected), f"an unexpected draw of {shape}"
        kind, expected_shape = self.expected[self.taken]
        self.taken += 1
        assert tuple(shape) == expected_shape
        return kind

    def normal(self, key, shape=(), dtype=jnp.float32):
        kind = self.next(shape)
        assert kind != "uniform"
        return noise(kind, shape).astype(dtype)

    def uniform(self, key, shape=(), dtype=jnp.float32, minval=0.0, maxval=1.0):
        assert self.next(shape) == "uniform"
        assert (minval, maxval) == (-1.0, 1.0)
        return uniform(shape).astype(dtype)

    def close(self):
        assert self.taken == len(self.expected), "fewer draws than expected"


def random_batch(rng, size, observation_size, action_size):
    """Returns a batch of random transitions, about a third of them terminal."""
    observations, next_observations = rng.normal(size=(2, size, observation_size))
    fields = {
        "observations": observations,
        "actions": rng.uniform(-1, 1, size=(size, action_size)),
        "rewards": rng.normal(size=size),
        "next_observations": next_observations,
        "masks": np.arange(size) % 3 != 1,
        "mc_returns": rng.normal(size=size),
        "weights": rng.uniform(size=size),
    }
    return Batch(**{name: jnp.float32(value) for name, value in fields.items()})


def perturb(rng, params, scale=0.3):
    """Returns the parameters plus noise, in arrays of their own."""
    return jax.tree.map(
        lambda leaf: leaf + jnp.float32(scale * rng.normal(size=leaf.shape)), params
    )
