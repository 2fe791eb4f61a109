"""Normals fitted to the latents of the offline data, and a pair's probability."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from samg_jax import checks
from samg_jax.guidance import nearest
from samg_jax.types import Params

KINDS = ("tail", "window", "joint", "nearest")
MEANS_ONLY = ("joint", "nearest")  # Kinds that read all dimensions' means at once.
FITS = ("per_dimension", "pooled")
SMALLEST_SIGMA = 1e-6  # Avoids a division by 0 for a constant latent dimension.
CORRELATION_RIDGE = 1e-6  # Keeps the covariance of redundant dimensions invertible.

# (params, observations [b, O], actions [b, A]) -> means [..., b, Z], stds [..., b, Z].
EncodeFn = Callable[[Params, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


class Normals(struct.PyTreeNode):
    """The distribution of the latents over the offline data.

    Attributes:
        mean_mu: `[Z]` center of the latent means; `Z` equal numbers if pooled.
        mean_sigma: `[Z]` standard deviation of the latent means.
        std_mu: `[Z]` center of the latent standard deviations.
        std_sigma: `[Z]` standard deviation of the latent standard deviations.
        joint_mu: `[Z]` center of the latent means, never pooled.
        joint_factor: `[Z, Z]` lower Cholesky factor of the latent means' covariance.
        nearest: centers of the latents of single pairs, see `nearest.Codes`.
    """

    mean_mu: jax.Array
    mean_sigma: jax.Array
    std_mu: jax.Array
    std_sigma: jax.Array
    joint_mu: jax.Array
    joint_factor: jax.Array
    nearest: nearest.Codes


class _Moments(NamedTuple):
    """Count, mean `[..., Z]` and scatter matrix `[..., Z, Z]`, in float64."""

    count: int  # type: ignore[assignment]  # It hides `tuple.count`, which is unused.
    mean: np.ndarray
    scatter: np.ndarray


def fit(
    encode: EncodeFn,
    params: Params,
    observations: jax.Array,
    actions: jax.Array,
    fit: str = "per_dimension",
    batch_size: int = 16_384,
    rows: jax.Array | None = None,
    codes: int = nearest.REFERENCES,
) -> Normals:
    """Fit the normals to the latents of the whole offline data.

    The device computes the latents batch by batch, and the host merges their moments
    in float64 (Chan, Golub and LeVeque, 1979), so that they are exact to the last bits
    of float32. For several seeds, pass an `encode` mapped over stacked params; each
    leaf of the result then has their leading axes.

    Args:
        encode: A function `(params, observations, actions) -> (means, stds)`.
        params: The parameters of the encoder.
        observations: `[M, O]` raw.
        actions: `[M, A]`.
        fit: "per_dimension", or "pooled" for one normal shared by the dimensions.
        batch_size: The number of rows to encode at once.
        rows: The rows that may be stored for `nearest`, None for all.
        codes: The number of latents to store for the kind "nearest"; 0 for any other
            kind, because finding them is most of the work.
    """
    checks.choice("config.guidance.fit", fit, FITS)
    batches = in_batches(encode, params, observations, actions, batch_size=batch_size)
    moments = ((_moments(means), _moments(stds)) for means, stds in batches)
    means, stds = functools.reduce(
        lambda left, right: tuple(map(_merge, left, right)), moments
    )
    leaves = {
        **dict(zip(("mean_mu", "mean_sigma"), _normal(means, fit), strict=True)),
        **dict(zip(("std_mu", "std_sigma"), _normal(stds, fit), strict=True)),
        "joint_mu": means.mean,
        "joint_factor": _covariance_factor(means),
    }
    leaves = {k: jnp.asarray(v, jnp.float32) for k, v in leaves.items()}
    if codes:
        found = nearest.fit(encode, params, observations, actions, rows, codes)
    else:
        *seeds, size = means.mean.shape
        zeros = nearest.empty(size, 0)
        found = jax.tree.map(lambda x: jnp.zeros((*seeds, *x.shape)), zeros)
    return Normals(**leaves, nearest=found)


def fit_values(batches: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation `[..., Z]` of values, with the precision of `fit`.

    Args:
        batches: Arrays `[..., b, Z]` with leading axes for seeds.
    """
    return _normal(functools.reduce(_merge, map(_moments, batches)), "per_dimension")


def in_batches(
    fn: Callable[..., Any],
    state: Any,
    *columns: jax.Array,
    batch_size: int = 16_384,
) -> Iterator[Any]:
    """Yields `fn(state, *columns)` for consecutive rows, on the host.

    Args:
        fn: The function, which is jitted here once per call.
        state: The first argument of `fn`.
        *columns: `[M, ...]` each, such as observations and actions.
        batch_size: The number of rows per call of `fn`; the last batch may be smaller.
    """
    chex.assert_rank(columns, 2)
    chex.assert_equal_shape_prefix(columns, 1)
    checks.integer("batch_size", batch_size, 1)
    checks.integer("number of rows", len(columns[0]), 1)
    fn = jax.jit(fn)
    for start in range(0, len(columns[0]), batch_size):
        rows = slice(start, start + batch_size)
        yield jax.device_get(fn(state, *(column[rows] for column in columns)))


def probabilities(
    kind: str,
    means: jax.Array,
    stds: jax.Array,
    normals: Normals,
    delta: jax.Array | float = 1.0,
    use_std: bool = False,
) -> jax.Array:
    """p_int, how familiar each pair is, before any cut. SAMG (2024), Eq. 3.

    Args:
        kind: "tail", the share of offline pairs at least as far from the center;
            "window", the share within `delta` of the pair, both averaged over latent
            dimensions; "joint", the tail of the normal with full covariance; or
            "nearest", the share at least as far from the nearest stored pair.
        means: `[B, Z]` latent means of the pairs.
        stds: `[B, Z]` latent standard deviations.
        normals: The normals fitted to the offline data.
        delta: The half-width of the window, in standard deviations of the normal.
        use_std: Whether to average with the same probability of the latent stds.

    Returns:
        `[B]` in [0, 1].
    """
    checks.choice("config.guidance.kind", kind, KINDS)
    check_kind(kind, use_std=use_std)
    chex.assert_rank([means, stds], 2)
    chex.assert_equal_shape([means, stds])
    chex.assert_shape(normals.mean_mu, (means.shape[1],))
    if kind == "joint":
        return _joint(means, normals.joint_mu, normals.joint_factor)
    if kind == "nearest":
        return nearest.probabilities(means, normals.nearest)
    per_dimension = _tail if kind == "tail" else functools.partial(_window, delta=delta)
    p = per_dimension((means - normals.mean_mu) / normals.mean_sigma)
    if use_std:
        p_std = per_dimension((stds - normals.std_mu) / normals.std_sigma)
        p = 0.5 * (p + p_std)
    return jnp.mean(p, axis=-1)


def check_kind(kind: str, fit: str = "per_dimension", use_std: bool = False) -> None:
    """Refuses pooled normals and latent stds for kinds that would ignore them."""
    if kind not in MEANS_ONLY:
        return
    if fit == "pooled":
        raise checks.UserError(
            f"config.guidance.fit is 'pooled' with config.guidance.kind {kind!r}. That "
            "kind has no normals per dimension that could be pooled. Set "
            "config.guidance.fit=per_dimension, or kind to 'tail' or 'window'."
        )
    if use_std:
        raise checks.UserError(
            f"config.guidance.use_std is True with config.guidance.kind {kind!r}. That "
            "kind is one of the latent means only. Set "
            "config.guidance.use_std=False, or kind to 'tail' or 'window'."
        )


def _tail(u):
    # This is 2 (1 - F(|u|)) without cancellation.
    return jax.scipy.special.erfc(jnp.abs(u) * np.sqrt(0.5))


def _window(u, delta):
    # This is F(u + delta) - F(u - delta), mirrored to the side where F is small and
    # precise.
    u = jnp.abs(u)
    return jax.scipy.special.ndtr(delta - u) - jax.scipy.special.ndtr(-delta - u)


def _joint(means, mu, factor):
    whitened = jax.scipy.linalg.solve_triangular(factor, (means - mu).T, lower=True)
    squared_distances = jnp.sum(jnp.square(whitened), axis=0)
    return jax.scipy.special.gammaincc(0.5 * means.shape[1], 0.5 * squared_distances)


def _moments(values):
    values = values.astype(np.float64)
    mean = values.mean(axis=-2)
    centered = values - mean[..., None, :]
    return _Moments(values.shape[-2], mean, np.swapaxes(centered, -1, -2) @ centered)


def _merge(a, b):
    count = a.count + b.count
    shift = b.mean - a.mean
    between = shift[..., :, None] * shift[..., None, :] * (a.count * b.count / count)
    return _Moments(
        count, a.mean + shift * (b.count / count), a.scatter + b.scatter + between
    )


def _normal(moments, fit):
    mu = moments.mean
    variance = np.diagonal(moments.scatter, axis1=-2, axis2=-1) / moments.count
    if fit == "pooled":
        # The variance of all dimensions pooled: the mean within, plus that of the
        # means.
        variance = variance.mean(axis=-1, keepdims=True) + mu.var(
            axis=-1, keepdims=True
        )
        mu, variance = (
            np.broadcast_to(x, moments.mean.shape)
            for x in (mu.mean(axis=-1, keepdims=True), variance)
        )
    return mu, np.maximum(np.sqrt(variance), SMALLEST_SIGMA)


def _covariance_factor(moments):
    # The ridge is added to correlations, so that it is relative to each dimension.
    _, sigma = _normal(moments, "per_dimension")
    scales = sigma[..., :, None] * sigma[..., None, :]
    correlations = moments.scatter / moments.count / scales
    identity = np.eye(sigma.shape[-1])
    # A seed that diverged stays non-finite and does not stop the others.
    finite = np.isfinite(correlations).all(axis=(-2, -1), keepdims=True)
    safe = np.where(finite, correlations, identity) + CORRELATION_RIDGE * identity
    factor = sigma[..., :, None] * np.linalg.cholesky(safe)
    return np.where(finite, factor, np.nan)
