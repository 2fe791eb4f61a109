"""Random problems for SAMG's theory, and what TD(0) learns on them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from samg_jax import checks
from samg_jax.guidance import weights
from samg_jax.paper import markov

# The number of records of TD(0).
RECORDS = 200


@dataclasses.dataclass(frozen=True)
class Settings:
    """The size of the problems, and the work on them.

    Attributes:
        processes: the number of random processes.
        states: the number of states of each process.
        actions: the number of actions in each state.
        branching: the number of states that a pair leads to.
        discount: the discount, in (0, 1).
        threshold: the threshold p_m_off, below which p is cut to 0.
        offline_error: the largest error of an inexact Q_off.
        iterations: the iterations of TD(0), rounded down to a multiple of `RECORDS`.
        backups: the number of exact backups.
        cutoff: the number of backups after which a cut-off ends the guidance.
    """

    processes: int = 10
    states: int = 30
    actions: int = 2
    branching: int = 2
    discount: float = 0.9
    threshold: float = 0.5
    offline_error: float = 1.0
    iterations: int = 20_000
    backups: int = 120
    cutoff: int = 40

    def __post_init__(self):
        for field in ("processes", "states", "actions", "branching"):
            checks.integer(field, getattr(self, field), 1)
        checks.integer("iterations", self.iterations, RECORDS)
        checks.number("discount", self.discount, 0, 1, 0.9, strict=True)
        checks.number("threshold", self.threshold, 0, 1, 0.5)
        checks.number("offline_error", self.offline_error, 0, np.inf, 1.0)
        if self.branching > self.states:
            raise checks.UserError(
                f"branching is {self.branching}, but there are {self.states} states. "
                "A pair leads to as many different states as there are, at most. Set "
                "branching to fewer or states to more."
            )


class Problem(NamedTuple):
    """A process with weights and frozen values, `[X]` each.

    Attributes:
        process: the process on which to evaluate the policy.
        q: the true values.
        p: the weights after the cut.
        accurate: a Q_off that is right wherever a guided target reads it, at the
            successors of the pairs with p > 0, and wrong everywhere else.
        misplaced: a Q_off that is right at the pairs with p > 0 and wrong elsewhere.
        inexact: a Q_off that is wrong everywhere.
    """

    process: markov.Process
    q: np.ndarray
    p: np.ndarray
    accurate: np.ndarray
    misplaced: np.ndarray
    inexact: np.ndarray


class Estimates(NamedTuple):
    """The values that TD(0) learned on every problem, `[processes, RECORDS, X]` each.

    Attributes:
        plain: without guidance.
        accurate: guided by an accurate Q_off.
        inexact: guided by an inexact Q_off.
    """

    plain: np.ndarray
    accurate: np.ndarray
    inexact: np.ndarray


def random_problem(key: chex.PRNGKey, settings: Settings) -> Problem:
    """A random problem, whose weights are uniform before the cut.

    Args:
        key: The random key; consumed.
        settings: The settings of the problem.

    Raises:
        checks.UserError: The threshold leaves no pair to guide.
    """
    process_key, weight_key, error_key = jax.random.split(key, 3)
    process = markov.garnet(
        process_key,
        settings.states,
        settings.actions,
        settings.branching,
        settings.discount,
    )
    p_int = jax.random.uniform(weight_key, process.rewards.shape)
    p = np.float64(weights.cut(p_int, settings.threshold))
    if not p.any():
        raise checks.UserError(
            f"None of {len(p)} pairs has a weight of {settings.threshold:g} or more, "
            "so nothing is guided. The weights are uniform in [0, 1]. Set threshold "
            "to less or states to more."
        )
    errors = jax.random.uniform(error_key, p.shape, minval=-1.0, maxval=1.0)
    errors = settings.offline_error * np.float64(errors)
    q = markov.true_values(process)
    # A guided target reads Q_off at the successors of guided pairs only.
    read = (process.transitions[p > 0] > 0).any(axis=0)
    return Problem(
        process=process,
        q=q,
        p=p,
        accurate=q + np.where(read, 0.0, errors),
        misplaced=q + np.where(p > 0, 0.0, errors),
        inexact=q + errors,
    )


def random_problems(key: chex.PRNGKey, settings: Settings) -> list[Problem]:
    """The random problems that the settings describe; the key is consumed."""
    keys = jax.random.split(key, settings.processes)
    return [random_problem(one, settings) for one in keys]


def learn(
    problems: Sequence[Problem], key: chex.PRNGKey, settings: Settings
) -> Estimates:
    """Run TD(0) on all problems, plain and guided; the key is consumed.

    All three variants see the same sampled transitions of a process.
    """
    fn = functools.partial(
        markov.temporal_difference,
        records=RECORDS,
        every=settings.iterations // RECORDS,
    )
    keys = jax.random.split(key, len(problems))
    processes = markov.Process(
        rewards=np.stack([problem.process.rewards for problem in problems]),
        transitions=np.stack([problem.process.transitions for problem in problems]),
        discount=settings.discount,
    )
    axes = (markov.Process(0, 0, None), 0, 0, 0)
    batched = jax.jit(jax.vmap(fn, in_axes=axes))
    p = np.stack([problem.p for problem in problems])

    def learned(offline, p):
        arrays = jnp.asarray(offline, jnp.float32), jnp.asarray(p, jnp.float32)
        return np.float64(batched(processes, *arrays, keys))

    accurate = np.stack([problem.accurate for problem in problems])
    inexact = np.stack([problem.inexact for problem in problems])
    return Estimates(
        plain=learned(accurate, np.zeros_like(p)),
        accurate=learned(accurate, p),
        inexact=learned(inexact, p),
    )
