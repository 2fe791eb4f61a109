"""Posterior collapse of the C-VAE: held-out rows, detection, remedies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from samg_jax import checks
from samg_jax.guidance import cvae
from samg_jax.types import Metrics

COLLAPSED_MEAN_STD = 1e-2
COLLAPSED_KL = 1e-3
HOLDOUT_SEED = 20241018  # A constant, so that all runs hold out the same rows.


class Split(NamedTuple):
    """A split of the offline rows; both index arrays ascend.

    Attributes:
        train: `[M - H]` rows that train the weight model.
        held_out: `[H]` rows that examine it.
        unit: "episodes", or "rows" if episodes are too few or too long.
    """

    train: jax.Array
    held_out: jax.Array
    unit: str


def episode_split(ends: np.ndarray, share: float) -> Split:
    """A split that holds out whole episodes.

    Neighboring rows of an episode are nearly equal, so a row that is held out alone is
    as good as trained on. If whole episodes would exceed twice the share, the split
    holds out single rows anyway.

    Args:
        ends: `[M]` bool, true at the last row of each episode, including the last one.
        share: The share of the rows to hold out, in (0, 1).
    """
    checks.number("config.guidance.cvae.holdout", share, 0, 1, 0.05, strict=True)
    last = np.flatnonzero(ends)
    lengths = np.diff(last, prepend=-1)
    order = np.asarray(
        jax.random.permutation(jax.random.key(HOLDOUT_SEED), len(lengths))
    )
    # Episodes are held out in random order until they reach the share of the rows.
    rows = np.cumsum(lengths[order])
    count = int(np.searchsorted(rows, share * len(ends))) + 1
    if count >= len(order) or rows[count - 1] > 2 * share * len(ends):
        return Split(*holdout_split(len(ends), share), "rows")
    chosen = np.isin(np.searchsorted(last, np.arange(len(ends))), order[:count])
    train, held_out = jnp.asarray(~chosen), jnp.asarray(chosen)
    return Split(jnp.flatnonzero(train), jnp.flatnonzero(held_out), "episodes")


def holdout_split(num_rows: int, share: float) -> tuple[jax.Array, jax.Array]:
    """The rows to train on and the rows held out, both ascending.

    The split is equal for all seeds and runs: the draw depends only on the arguments.

    Args:
        num_rows: The number of offline rows, at least 2.
        share: The share of the rows to hold out, in (0, 1); at least one per side.

    Returns:
        Indices `[num_rows - H]` and `[H]`.
    """
    checks.integer("number of rows", num_rows, 2)
    checks.number("config.guidance.cvae.holdout", share, 0, 1, 0.05, strict=True)
    held_out = min(max(round(share * num_rows), 1), num_rows - 1)
    rows = jax.random.permutation(jax.random.key(HOLDOUT_SEED), num_rows)
    return jnp.sort(rows[held_out:]), jnp.sort(rows[:held_out])


def health(means: jax.Array, kl: jax.Array) -> Metrics:
    """Whether the encoder has collapsed, with the two numbers that decide it.

    A collapsed encoder outputs N(0, 1) for every pair. Non-finite numbers count as a
    collapse.

    Args:
        means: `[M, Z]` latent means on held-out data.
        kl: `[M]` KL divergences on the same data, or their mean `[]`.

    Returns:
        Scalars `mean_std`, `kl` and the boolean `collapsed`.
    """
    chex.assert_rank(means, 2)
    mean_std = jnp.mean(jnp.std(means, axis=0))
    kl = jnp.mean(kl)
    alive = (mean_std >= COLLAPSED_MEAN_STD) & (kl >= COLLAPSED_KL)
    return {"mean_std": mean_std, "kl": kl, "collapsed": ~alive}


def message(report: Mapping[str, float], config: cvae.Config) -> str:
    """The message about a collapsed encoder, with remedies.

    Args:
        report: The result of `health` for one seed.
        config: The config of the C-VAE that collapsed.
    """
    flag = "config.guidance.cvae"
    remedies, warmup = [], config.steps // 2
    if config.kl_warmup_steps < warmup:
        remedies.append(f"anneal the KL term ({flag}.kl_warmup_steps={warmup})")
    if config.decoder_input != "latent":
        remedies.append(f"hide the pair from the decoder ({flag}.decoder_input=latent)")
    if config.decoder_layers > 1:
        remedies.append(f"simplify the decoder ({flag}.decoder_layers=1)")
    if config.beta > 0:
        lower = f"{flag}.beta={config.beta / 5:g}"
        remedies.append(f"lower the weight of the KL term ({lower})")
    if not remedies:
        remedies.append(f"train it for longer ({flag}.steps={2 * config.steps})")
    return (
        "The C-VAE has collapsed: on held-out data its latent means have a standard "
        f"deviation of {float(report['mean_std']):.2e} and its KL term is "
        f"{float(report['kl']):.2e}, so p(s, a) separates pairs by chance only. A "
        f"healthy encoder has at least {COLLAPSED_MEAN_STD:g} and {COLLAPSED_KL:g}. "
        f"Try in this order: {'; '.join(remedies)}."
    )
