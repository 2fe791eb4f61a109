"""Posterior collapse: the rows it is looked for on, its detection, its remedies."""

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
HOLDOUT_SEED = 20241018  # Fixed, so that all seeds of all runs hold out the same rows.


class Split(NamedTuple):
    """Rows of the offline data, both ascending, and what was held out.

    Attributes:
        train: `[M - H]` what the weight model trains on.
        held_out: `[H]` what it is examined on.
        unit: "episodes", or "rows" where episodes are too few or too long.
    """

    train: jax.Array
    held_out: jax.Array
    unit: str


def episode_split(ends: np.ndarray, share: float) -> Split:
    """Returns a split that holds out whole episodes.

    Neighbors in an episode are nearly the same pair, so that rows held out singly
    are as good as trained on. Where whole episodes would take more than twice the
    share, single rows are held out all the same.

    Args:
        ends: `[M]` bool, the last row of each episode, of the last one too.
        share: of the rows to hold out, in (0, 1).
    """
    checks.number("config.guidance.cvae.holdout", share, 0, 1, 0.05, strict=True)
    last = np.flatnonzero(ends)
    lengths = np.diff(last, prepend=-1)
    order = np.asarray(
        jax.random.permutation(jax.random.key(HOLDOUT_SEED), len(lengths))
    )
    rows = np.cumsum(lengths[order])
    count = int(np.searchsorted(rows, share * len(ends))) + 1
    if count >= len(order) or rows[count - 1] > 2 * share * len(ends):
        return Split(*holdout_split(len(ends), share), "rows")
    chosen = np.isin(np.searchsorted(last, np.arange(len(ends))), order[:count])
    train, held_out = jnp.asarray(~chosen), jnp.asarray(chosen)
    return Split(jnp.flatnonzero(train), jnp.flatnonzero(held_out), "episodes")


def holdout_split(num_rows: int, share: float) -> tuple[jax.Array, jax.Array]:
    """Returns the rows to train on and the rows held out, both ascending.

    The same for every seed and every run: the draw depends on the two arguments only.

    Args:
        num_rows: of the offline data, at least 2.
        share: of the rows to hold out, in (0, 1); at least one row is on each side.

    Returns:
        Indices `[num_rows - H]` and `[H]`.
    """
    checks.integer("number of rows", num_rows, 2)
    checks.number("config.guidance.cvae.holdout", share, 0, 1, 0.05, strict=True)
    held_out = min(max(round(share * num_rows), 1), num_rows - 1)
    rows = jax.random.permutation(jax.random.key(HOLDOUT_SEED), num_rows)
    return jnp.sort(rows[held_out:]), jnp.sort(rows[:held_out])


def health(means: jax.Array, kl: jax.Array) -> Metrics:
    """Returns whether the encoder has collapsed, and the two numbers that tell.

    A collapsed encoder says N(0, 1) to every pair. Numbers that are not finite count
    as a collapse.

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
    """Returns what to tell the user of a collapsed encoder, remedies included.

    Args:
        report: what `health` returned, for one seed.
        config: of the C-VAE that collapsed.
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
        f"{float(report['kl']):.2e}, so p(s, a) tells pairs apart by chance only. A "
        f"healthy encoder has at least {COLLAPSED_MEAN_STD:g} and {COLLAPSED_KL:g}. "
        f"Try in this order: {'; '.join(remedies)}."
    )
