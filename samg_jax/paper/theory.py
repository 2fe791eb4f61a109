"""SAMG's theorems as checks: measurements on random problems, and their bounds.

The theorems are stated for V. Here they are checked for Q: V is the mean of Q under the
policy, so its error is no larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import numpy as np
import tabulate

from samg_jax.paper import markov
from samg_jax.paper.random_problems import Estimates, Problem, Settings

# The share of its first error below which a sampled estimate counts as converged.
CONVERGED = 0.05
ROUNDING = 1e-9
LEAST_P = 0.1  # The least of weights that are not cut, but differ between pairs.


class Check(NamedTuple):
    """One statement, on the process where it comes closest to failing.

    Attributes:
        name: the quantity.
        measured: the measured value.
        bound: the bound of the theory.
        attained: whether the bound must be attained, not only kept.
    """

    name: str
    measured: float
    bound: float
    attained: bool = False

    @property
    def holds(self) -> bool:
        if self.attained:
            return bool(np.isclose(self.measured, self.bound, rtol=1e-6))
        return self.measured <= self.bound * (1.0 + ROUNDING) + ROUNDING


def check_all(
    problems: Sequence[Problem],
    estimates: Estimates,
    key: chex.PRNGKey,
    settings: Settings,
) -> list[Check]:
    """Run every check; the key is consumed."""
    contraction_key, step_key = jax.random.split(key)
    return [
        *check_contraction(problems, contraction_key),
        *check_td(problems, estimates),
        *check_step(problems, step_key, settings),
        *check_bias(problems, settings),
    ]


def check_contraction(
    problems: Sequence[Problem], key: chex.PRNGKey, tables: int = 50
) -> list[Check]:
    """Check that T_p contracts by its modulus, and by no less; the key is consumed.

    Args:
        problems: The problems.
        key: The key of the tables.
        tables: The number of random Q to which T_p is applied, for each problem.
    """
    random = {"p cut": [], "p = 0.5": [], "p uncut": []}
    apart = {name: [] for name in random}
    keys = jax.random.split(key, len(problems))
    for problem, one in zip(problems, keys, strict=True):
        size, discount = len(problem.p), problem.process.discount
        table_key, weight_key = jax.random.split(one)
        values = np.float64(jax.random.normal(table_key, (tables, size)))
        uncut = jax.random.uniform(weight_key, (size,), minval=LEAST_P)
        ps = problem.p, np.full(size, 0.5), np.float64(uncut)
        for name, p in zip(random, ps, strict=True):
            bound = markov.modulus(discount, p)
            random[name] += [(_ratio(problem, table, p), bound) for table in values]
            # Tables that differ by a constant approach each other only at the bound.
            apart[name].append((_ratio(problem, problem.q + 1.0, p), bound))
    checks = [
        Check(f"contraction, random Q, {name}", *_worst(found))
        for name, found in random.items()
    ]
    return checks + [
        Check(f"contraction, Q apart by a constant, {name}", *_worst(found), True)
        for name, found in apart.items()
    ]


def check_step(
    problems: Sequence[Problem], key: chex.PRNGKey, settings: Settings
) -> list[Check]:
    """Check Theorem 2's bound on one step, and that guided pairs are faster.

    From 0, which is below all values, the error of a guided pair is at most 1 - p times
    the error without guidance, after any number of steps. The key is consumed.
    """
    steps, ratios = [], []
    keys = jax.random.split(key, len(problems))
    for problem, one in zip(problems, keys, strict=True):
        process, p = problem.process, problem.p
        offline_error = _norm(problem.inexact - problem.q)
        for table in np.float64(jax.random.normal(one, (50, len(p)))):
            q = problem.q + table
            after = markov.backup(process, q, problem.inexact, p) - problem.q
            bounds = markov.step_bounds(
                process.discount, p, _norm(table), offline_error
            )
            steps += zip(np.abs(after), bounds, strict=True)
        zeros = np.zeros_like(p)
        plain = markov.iterate(process, zeros, zeros, zeros, settings.backups)
        guided = markov.iterate(process, zeros, problem.accurate, p, settings.backups)
        plain, guided = np.abs(plain[1:] - problem.q), np.abs(guided[1:] - problem.q)
        seen = (p > 0) & (plain > 1e-6)  # Smaller errors are rounding.
        kept = np.broadcast_to(1.0 - p, plain.shape)
        ratios += zip((guided[seen] / plain[seen]), kept[seen], strict=True)
    return [
        Check("Theorem 2, error after one step", *_worst(steps)),
        Check("Theorem 2, guided pairs' error over plain's", *_worst(ratios)),
    ]


def check_td(problems: Sequence[Problem], estimates: Estimates) -> list[Check]:
    """Check the end of TD(0): Theorem 1, and that Theorem 2 makes it faster."""
    ends = {"plain": [], "accurate": [], "inexact": []}
    guided = {"plain": [], "accurate": []}
    for index, problem in enumerate(problems):
        first = _norm(problem.q)
        biased = markov.fixed_point(problem.process, problem.inexact, problem.p)
        for name, places in ends.items():
            target = biased if name == "inexact" else problem.q
            error = getattr(estimates, name)[index, -1] - target
            places.append((_norm(error) / first, CONVERGED))
            if name in guided:
                guided[name].append(np.abs(error)[problem.p > 0].mean())
    plain, accurate = np.mean(guided["plain"]), np.mean(guided["accurate"])
    return [
        Check("Theorem 1, TD plain: last error over first", *_worst(ends["plain"])),
        Check("Theorem 1, TD guided, accurate Q_off", *_worst(ends["accurate"])),
        Check("TD guided, inexact Q_off, to biased point", *_worst(ends["inexact"])),
        Check("Theorem 2, TD error of guided pairs, plain's", accurate, plain),
    ]


def check_bias(problems: Sequence[Problem], settings: Settings) -> list[Check]:
    """Check the lasting bias of a fixed Q_off, and that a cut-off removes it.

    Constant weights and constant errors of the frozen values attain the bound.
    """
    inexact, misplaced, constant, cut = [], [], [], []
    left = settings.backups - settings.cutoff
    for problem in problems:
        process, q, p = problem.process, problem.q, problem.p
        for offline, found in [
            (problem.inexact, inexact),
            (problem.misplaced, misplaced),
        ]:
            bias = markov.fixed_point(process, offline, p) - q
            error = _norm(offline - q)
            found.append((_norm(bias), markov.bias_bound(process.discount, p, error)))
        half, shifted = np.full_like(p, 0.5), q + settings.offline_error
        bias = markov.fixed_point(process, shifted, half) - q
        bound = markov.bias_bound(process.discount, half, settings.offline_error)
        constant.append((_norm(bias), bound))
        trace = markov.iterate(
            process,
            np.zeros_like(p),
            problem.inexact,
            p,
            settings.backups,
            settings.cutoff,
        )
        before = _norm(trace[settings.cutoff] - q)
        cut.append((_norm(trace[-1] - q), process.discount**left * before))
    return [
        Check("bias, inexact Q_off", *_worst(inexact)),
        Check("bias, Q_off right at the guided pairs alone", *_worst(misplaced)),
        Check("bias, constant p and error", *_worst(constant), attained=True),
        Check(f"error {left} steps after a cut-off", *_worst(cut)),
    ]


def table(checks: Sequence[Check]) -> str:
    """One line per check, on the process that comes closest to failing."""
    rows = []
    for check in checks:
        verdict = "holds" if check.holds else "BROKEN"
        if check.holds and check.attained:
            verdict = "attained"
        rows.append([check.name, check.measured, check.bound, verdict])
    header = ["", "measured", "bound", ""]
    return tabulate.tabulate(rows, header, "plain", floatfmt=".4f")


def _norm(values: np.ndarray) -> float:
    return float(np.abs(values).max())


def _ratio(problem: Problem, q: np.ndarray, p: np.ndarray) -> float:
    """The distance of T_p `q` from T_p of the true values, over that of `q`."""
    images = [
        markov.backup(problem.process, table, problem.inexact, p)
        for table in (q, problem.q)
    ]
    return _norm(images[0] - images[1]) / _norm(q - problem.q)


def _worst(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The measured value and the bound that it is closest to, or breaks."""
    measured, bounds = np.array(pairs, np.float64).T
    worst = int(np.argmax(measured / np.maximum(bounds, ROUNDING)))
    return float(measured[worst]), float(bounds[worst])
