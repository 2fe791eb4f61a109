"""Small problems of the tests: the golden toy, with all its draws, and random data.

The golden toy is a closed formula for every parameter, batch entry and random draw, so
that an implementation in any framework can compute the same losses.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from samg_jax.types import Batch, ModelState

S, A, B = 3, 2, 4


def kernel(layer, network, inputs, outputs):
    i, o = np.meshgrid(np.arange(inputs), np.arange(outputs), indexing="ij")
    phase = 1 + 0.7 * layer + 0.13 * network + 0.37 * i + 0.61 * o + 0.011 * i * o
    return np.float32(2 * np.cos(phase) / np.sqrt(inputs))


def bias(layer, network, outputs):
    return np.float32(0.05 * np.sin(1 + np.arange(outputs) + layer + network))


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


def single(template, network):
    """Returns an actor or a value of the toy; scalars and log-stds at their start."""
    inner = {"MLP_0": overwrite_mlp(template["params"]["MLP_0"], network)}
    if "log_std" in template["params"]:
        inner["log_std"] = np.float32([-0.5 + 0.1 * j for j in range(A)])
    if "multiplier" in template["params"]:
        inner |= {"multiplier": np.float32(1.0), "offset": np.float32(-1.0)}
    return jax.tree.map(jnp.asarray, {"params": inner})


def critics(template, networks):
    """Returns the toy's critics, one network number per member of the ensemble."""
    mlp = template["params"]["MLP_0"]
    members = [
        overwrite_mlp(jax.tree.map(lambda leaf, e=e: leaf[e], mlp), network)
        for e, network in enumerate(networks)
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    return {"params": {"MLP_0": stacked}}


def autoencoder(template):
    """Returns the toy's autoencoder of SPOT, network 4."""
    encoder = template["encoder"]["params"]
    names = ("Dense_0", "Dense_1", "mean", "log_std")
    layers = [(encoder, name) for name in names]
    decoder = template["decoder"]["params"]
    layers += [(decoder, f"Dense_{layer}") for layer in range(3)]
    filled = {"encoder": {}, "decoder": {}}
    for layer, (tree, name) in enumerate(layers):
        inputs, outputs = tree[name]["kernel"].shape
        filled["encoder" if tree is encoder else "decoder"][name] = {
            "kernel": kernel(layer, 4, inputs, outputs),
            "bias": bias(layer, 4, outputs),
        }
    return {part: {"params": params} for part, params in filled.items()}


def zero_state(algorithm, observation_size=S):
    """Returns a state of zeros: no time is spent on random initialization."""
    observations = jnp.zeros((B, observation_size))
    shapes = jax.eval_shape(algorithm.init, jax.random.key(0), observations)
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)


def state(algorithm):
    """Returns the golden state of an algorithm before its first step."""
    zeros = zero_state(algorithm)
    golden = zeros.replace(
        actor=zeros.actor.replace(params=single(zeros.actor.params, 0)),
    )
    if hasattr(golden, "critic"):
        online = critics(zeros.critic.params, (1, 2))
        golden = golden.replace(
            critic=zeros.critic.replace(params=online),
            target_critic=critics(zeros.target_critic, (11, 12)),
        )
    if hasattr(golden, "target_actor"):
        golden = golden.replace(target_actor=single(zeros.target_actor, 10))
    if hasattr(golden, "value"):
        params = single(zeros.value.params, 3)
        golden = golden.replace(value=zeros.value.replace(params=params))
    if hasattr(golden, "vae"):
        params = autoencoder(zeros.vae.params)
        golden = golden.replace(vae=zeros.vae.replace(params=params))
    if hasattr(golden, "log_multiplier"):
        one = golden.log_multiplier.replace(params=np.float32(1.0))
        golden = golden.replace(log_multiplier=one)
    return jax.tree.map(jnp.asarray, golden)


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

    A context: the draws must come in the order of `expected`, pairs of kind and shape,
    and all of them before it ends. The kind is the toy's number of a normal draw or
    "uniform".
    """

    def __init__(self, expected):
        self.expected = list(expected)
        self.taken = 0

    def __enter__(self):
        self.originals = jax.random.normal, jax.random.uniform
        jax.random.normal, jax.random.uniform = self.normal, self.uniform
        return self

    def __exit__(self, failure, *_):
        jax.random.normal, jax.random.uniform = self.originals
        if failure is None:
            assert self.taken == len(self.expected), "fewer draws than expected"

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
        if (minval, maxval) != (-1.0, 1.0):
            # Not an action: flax asks initializers for their shape at every apply.
            return self.originals[1](key, shape, dtype, minval, maxval)
        assert self.next(shape) == "uniform"
        return uniform(shape).astype(dtype)


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


def perturb_networks(rng, state):
    """Returns the state with noise on the parameters of every network."""
    changes = {}
    for field in dataclasses.fields(state):
        value = getattr(state, field.name)
        if field.name.startswith("target_"):
            changes[field.name] = perturb(rng, value)
        elif isinstance(value, ModelState) and not field.name.startswith("log_"):
            changes[field.name] = value.replace(params=perturb(rng, value.params))
    return state.replace(**changes)


def as_float64(tree):
    """Returns the tree with its floating-point arrays in float64."""

    def cast(leaf):
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(jnp.float64) if floating else leaf

    return jax.tree.map(cast, tree)
