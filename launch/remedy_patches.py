"""The trainer's update computed in other ways: patches of our modules, by name.

For `remedies.py`, which measures them. Each is a context in which programs are built;
the numbers are those of the shipped update but for rounding.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import optax

from samg_jax import distributions, losses, networks, optimization
from samg_jax.algorithms import awac, cql
from samg_jax.training import offline
from samg_jax.training import seeds as seeds_lib


class Critics(NamedTuple):
    """An ensemble's parameters, applied in another way.

    Attributes:
        ensemble: that makes them.
        forward: `(layers, observations, actions) -> q`, `[E, B]`; a layer is its
            kernels `[E, I, H]` and biases `[E, H]`.
    """

    ensemble: Any
    forward: Callable[..., jax.Array]

    def init(self, *inputs: Any) -> Any:
        return self.ensemble.init(*inputs)

    def apply(self, params: Any, observations: Any, actions: Any) -> jax.Array:
        return self.forward(layers_of(params), observations, actions)


def layers_of(params: Any) -> list[tuple[jax.Array, jax.Array]]:
    """Returns kernels and biases of an ensemble, layer by layer."""
    mlp = params["params"]["MLP_0"]
    return [(mlp[name]["kernel"], mlp[name]["bias"]) for name in sorted(mlp)]


def separate(layers: Any, observations: jax.Array, actions: jax.Array) -> jax.Array:
    """Returns `[E, B]`, one member after the other."""
    inputs, members = jnp.concatenate([observations, actions], axis=-1), []
    for member in range(len(layers[0][0])):
        x = inputs @ layers[0][0][member] + layers[0][1][member]
        for kernel, bias in layers[1:]:
            x = jax.nn.relu(x) @ kernel[member] + bias[member]
        members.append(x[:, 0])
    return jnp.stack(members)


def wide(layers: Any, observations: jax.Array, actions: jax.Array) -> jax.Array:
    """Returns `[E, B]`; the members' first layers are columns of one matrix."""
    kernel, bias = layers[0]
    members, size, width = kernel.shape
    columns = jnp.swapaxes(kernel, 0, 1).reshape(size, -1)
    first = jnp.concatenate([observations, actions], axis=-1) @ columns
    first = jnp.swapaxes(first.reshape(-1, members, width), 0, 1)
    return rest(layers, first + bias[:, None])


def rest(layers: Any, x: jax.Array) -> jax.Array:
    """Returns `[E, B]` from what the first layer gives, `[E, B, H]`."""
    for kernel, bias in layers[1:]:
        x = jax.nn.relu(x) @ kernel + bias[:, None]
    return x[..., 0]


def critics(forward: Callable[..., jax.Array]) -> Any:
    """Returns the patch that applies ensembles by `forward`."""
    ensemble = networks.critic_ensemble

    def made(*arguments: Any, **options: Any) -> Critics:
        return Critics(ensemble(*arguments, **options), forward)

    return mock.patch.object(networks, "critic_ensemble", made)


def gaps(score: Callable[..., tuple[jax.Array, jax.Array]]) -> Any:
    """Returns the patch of CQL's gaps by `score`.

    That is `(critic, params, batch, actions) -> (q, data_q)`, `[N, E, B]`, `[E, B]`.
    """

    def patched(self, params, batch, proposals):
        q, data_q = score(self.critic, params, batch, proposals.actions)
        clip = self.config.gap_clip_min, self.config.gap_clip_max
        densities, temperature = (
            proposals.log_densities,
            self.config.softmax_temperature,
        )
        return losses.conservative_gaps(q, data_q, densities, temperature, clip)

    return mock.patch.object(cql.CQL, "gaps", patched)


def as_rows(critic, params, batch, actions, *, score=None):
    """Returns `[N, E, B]`, all proposals are rows of one call."""
    samples, size, _ = actions.shape
    tiled, rows = (
        jnp.tile(batch.observations, (samples, 1)),
        jax.lax.collapse(actions, 0, 2),
    )
    q = critic.apply(params, tiled, rows) if score is None else score(rows)
    return jnp.swapaxes(q.reshape(-1, samples, size), 0, 1)


def axis(critic, params, batch, actions):
    """Scores proposals `[N, B, A]` as they are."""
    observations = jnp.broadcast_to(
        batch.observations, (len(actions), *batch.observations.shape)
    )
    q = critic.apply(params, observations, actions)
    data_q = critic.apply(params, batch.observations, batch.actions)
    return jnp.swapaxes(q, 0, 1), data_q


def states_once(critic, params, batch, actions):
    """Scores with the product of a state taken once for all of its actions."""
    layers = layers_of(params)
    kernel, bias = layers[0]
    split = batch.observations.shape[-1]
    of_states = batch.observations @ kernel[:, :split] + bias[:, None]

    def score(rows):
        tiled = jnp.tile(of_states, (1, len(actions), 1))
        return rest(layers, rows @ kernel[:, split:] + tiled)

    data_q = critic.apply(params, batch.observations, batch.actions)
    return as_rows(critic, params, batch, actions, score=score), data_q


def one_call(critic, params, batch, actions):
    """Scores the data's actions as further rows."""
    q = as_rows(critic, params, batch, jnp.concatenate([actions, batch.actions[None]]))
    return q[:-1], q[-1]


def all_rows(critic, params, batch, actions):
    """Scores all proposals in one call: more rows are in work at a time."""
    q = as_rows(critic, params, batch, actions)
    return q, critic.apply(params, batch.observations, batch.actions)


def merged_calls() -> Any:
    """Returns the patch of AWAC's advantages with both values from one call."""

    def patched(self, state, critic_params, batch, key):
        mean, log_std = self.actor.apply(state.actor.params, batch.observations)
        sampled = distributions.sample_clipped_gaussian(key, mean, log_std)
        rows = jnp.concatenate([batch.actions, sampled])
        q = self.q(critic_params, jnp.tile(batch.observations, (2, 1)), rows)
        of_data, of_policy = jnp.split(q, 2)
        return of_data - of_policy

    return mock.patch.object(awac.AWAC, "advantages", patched)


def adam_by_leaf() -> Any:
    """Returns the patch that steps leaf by leaf, not on one flattened vector."""
    return mock.patch.object(optimization, "adam", optax.adam)


def late_draws() -> Any:
    """Returns the patch that draws rows and keys inside of the scan."""
    scanned = offline._scanned

    def patched(parts, field, draw, update):
        def update_drawn(model, drawn, inputs, preprocessing):
            return update(model, draw(*drawn, inputs), inputs, preprocessing)

        later = lambda seed, step, inputs: (seed, step)  # noqa: E731
        return scanned(parts, field, later, update_drawn)

    return mock.patch.object(offline, "_scanned", patched)


def unrolled() -> Any:
    """Returns the patch of the loop over the updates between two looks."""
    scan = jax.lax.scan

    def patched(fn, *arguments):
        inner = getattr(fn, "__name__", "") == "one"
        return scan(fn, *arguments, unroll=2 if inner else 1)

    return mock.patch.object(jax.lax, "scan", patched)


def mapped_seeds() -> Any:
    """Returns the patch by which the seeds of a block of updates take turns."""
    vmap = jax.vmap

    def in_turns(fn):
        wrapped = jax.custom_batching.custom_vmap(fn)

        @wrapped.def_vmap
        def rule(size, batched, *arguments):
            del size
            leaves, tree = jax.tree.flatten(arguments)
            marks = jax.tree.leaves(batched)

            def one(own):
                own = iter(own)
                pairs = zip(leaves, marks, strict=True)
                return fn(*tree.unflatten(next(own) if m else x for x, m in pairs))

            pairs = zip(leaves, marks, strict=True)
            out = seeds_lib.share_steps(jax.lax.map(one, [x for x, m in pairs if m]))
            stacked = lambda path, _: not seeds_lib.is_counter(path)  # noqa: E731
            return out, jax.tree_util.tree_map_with_path(stacked, out)

        return wrapped

    def patched(fn, *arguments, **options):
        one_seed = getattr(fn, "__name__", "") == "guarded"
        return vmap(in_turns(fn) if one_seed else fn, *arguments, **options)

    return mock.patch.object(jax, "vmap", patched)


PATCHES: dict[str, Callable[[], Any]] = {
    "separate critics": functools.partial(critics, separate),
    "wide first layer": functools.partial(critics, wide),
    "Adam by leaf": adam_by_leaf,
    "late draws": late_draws,
    "unrolled": unrolled,
    "merged calls": merged_calls,
    "mapped seeds": mapped_seeds,
    "axis": functools.partial(gaps, axis),
    "states once": functools.partial(gaps, states_once),
    "one call": functools.partial(gaps, one_call),
    "all rows": functools.partial(gaps, all_rows),
}
