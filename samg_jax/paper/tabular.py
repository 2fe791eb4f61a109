r"""Checks SAMG's theory numerically, on random tabular decision processes.

    python -m samg_jax.paper.tabular
    python -m samg_jax.paper.tabular --discount=0.95 --iterations=40000

The program prints a table of each measured value and its bound, and draws error against
iteration. It ends with an error if a bound is broken. It takes about ten seconds on one
core.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from samg_jax import checks, declarations, lazy, logs
from samg_jax.experiment import command_line
from samg_jax.runs import signals

jax, np = lazy.module("jax"), lazy.module("numpy")
figures = lazy.module("samg_jax.results.figures")
markov = lazy.module("samg_jax.paper.markov")
random_problems = lazy.module("samg_jax.paper.random_problems")
theory = lazy.module("samg_jax.paper.theory")
compilation = lazy.module("samg_jax.compilation")

_PROBLEMS = declarations.load("paper.random_problems")
_DEFAULTS = _PROBLEMS.defaults("Settings")
PROCESSES = command_line.define_integer(
    "processes", _DEFAULTS["processes"], "The number of decision processes.", 1
)
STATES = command_line.define_integer(
    "states", _DEFAULTS["states"], "The number of states of each process.", 2
)
ACTIONS = command_line.define_integer(
    "actions", _DEFAULTS["actions"], "The number of actions in each state.", 1
)
BRANCHING = command_line.define_integer(
    "branching",
    _DEFAULTS["branching"],
    "The number of states that a pair can lead to.",
    1,
)
DISCOUNT = flags.DEFINE_float(
    "discount", _DEFAULTS["discount"], "The discount, below 1.", 0.0
)
THRESHOLD = flags.DEFINE_float(
    "threshold", _DEFAULTS["threshold"], "Weights below this are cut to 0.", 0.0, 1.0
)
OFFLINE_ERROR = flags.DEFINE_float(
    "offline_error",
    _DEFAULTS["offline_error"],
    "Largest error of an inexact Q_off.",
    0.0,
)
ITERATIONS = command_line.define_integer(
    "iterations",
    _DEFAULTS["iterations"],
    "Iterations of TD(0).",
    _PROBLEMS.constant("RECORDS"),
)
SEED = command_line.define_integer("seed", 0, "The seed of everything random.", 0)
OUT = flags.DEFINE_string("out", "runs/tabular.png", "Picture to write.")

ERROR, OFFLINE = r"$|Q - Q^\pi|$", r"$Q_\mathrm{off}$"
PLAIN, GUIDED, CUT = "tab:gray", "tab:blue", "tab:green"


def main(argv: list[str]) -> None:
    """Checks the theory on the processes that the flags describe."""
    del argv
    logs.quiet_libraries()
    path = pathlib.Path(OUT.value).expanduser()
    names = ("processes", "states", "actions", "branching", "discount", "threshold")
    names += ("offline_error", "iterations")
    with checks.program():
        settings = random_problems.Settings(
            **{name: flags.FLAGS[name].value for name in names}
        )
        check_picture(path)
        compilation.start()
        problem_key, td_key, check_key = jax.random.split(jax.random.key(SEED.value), 3)
        problems = random_problems.random_problems(problem_key, settings)
    with signals.program():
        estimates = random_problems.learn(problems, td_key, settings)
        kept = theory.check_all(problems, estimates, check_key, settings)
        print(theory.table(kept))
        if figures.drawn(draw, problems, estimates, settings, path):
            print(f"picture: {path}")
    broken = [check.name for check in kept if not check.holds]
    if broken:
        sys.exit(
            f"error: not kept: {'; '.join(broken)}. All must hold. A discount nearer "
            "to 1 needs more samples for TD: raise iterations."
        )


def check_picture(path: pathlib.Path) -> None:
    """Refuses a path at which the picture could not be written."""
    if path.suffix != ".png":
        raise checks.UserError(
            f"out is {str(path)!r}. The picture is a PNG, in a file that ends in "
            f".png. Set out={path.with_suffix('.png')}, for example."
        )
    checks.file(path, "out", overwrite=True)


def draw(
    problems: Sequence[random_problems.Problem],
    estimates: random_problems.Estimates,
    settings: random_problems.Settings,
    path: pathlib.Path,
) -> pathlib.Path:
    """Draws error against iteration: exact, sampled, and with an inexact Q_off.

    Args:
        problems: The problems of the estimates.
        estimates: The estimates of TD(0).
        settings: The settings of both.
        path: The path of the PNG.
    """
    figure, ((exact, sampled, biased),) = figures.subplots(3)
    _draw_exact(exact, problems, settings)
    _draw_sampled(sampled, problems, estimates, settings)
    _draw_biased(biased, problems, settings)
    for axis in (exact, sampled, biased):
        axis.set_yscale("log")
        axis.legend(frameon=False)
    figure.suptitle(
        f"{len(problems)} random processes of {settings.states} states and "
        f"{settings.actions} actions, discount {settings.discount:g}, threshold "
        f"{settings.threshold:g}: mean and range"
    )
    return figures.save(figure, path)


def _draw_exact(axis, problems, settings):
    plain, guided = [], []
    for problem in problems:
        zeros, where = np.zeros_like(problem.p), problem.p > 0
        for found, p in [(plain, zeros), (guided, problem.p)]:
            trace = markov.iterate(
                problem.process, zeros, problem.accurate, p, settings.backups
            )
            found.append(np.abs(trace - problem.q)[:, where].max(axis=1))
    iterations = np.arange(settings.backups + 1)
    _band(axis, iterations, plain, PLAIN, "plain")
    _band(axis, iterations, guided, GUIDED, "guided")
    axis.set_title(f"Exact backups, accurate {OFFLINE}")
    axis.set_xlabel("iteration (one backup of all pairs)")
    axis.set_ylabel(f"largest error {ERROR}, pairs with p > 0")


def _draw_sampled(axis, problems, estimates, settings):
    every = settings.iterations // random_problems.RECORDS
    iterations = every * np.arange(1, random_problems.RECORDS + 1)
    q = np.stack([problem.q for problem in problems])[:, None]
    for name, color, label in [
        ("plain", PLAIN, "plain (Eq. 14)"),
        ("accurate", GUIDED, "guided (Eq. 13, 14)"),
    ]:
        errors = np.abs(getattr(estimates, name) - q).max(axis=2)
        _band(axis, iterations, errors, color, label)
    axis.set_xscale("log")
    axis.set_title(f"TD(0) from samples, accurate {OFFLINE}")
    axis.set_xlabel("iteration (one sample of each pair)")
    axis.set_ylabel(f"largest error {ERROR}, all pairs")


def _draw_biased(axis, problems, settings):
    settled, cut, bounds = [], [], []
    for problem in problems:
        zeros = np.zeros_like(problem.p)
        for found, cutoff in [(settled, None), (cut, settings.cutoff)]:
            trace = markov.iterate(
                problem.process,
                zeros,
                problem.inexact,
                problem.p,
                settings.backups,
                cutoff,
            )
            found.append(np.abs(trace - problem.q).max(axis=1))
        error = np.abs(problem.inexact - problem.q).max()
        bounds.append(markov.bias_bound(settings.discount, problem.p, error))
    iterations = np.arange(settings.backups + 1)
    _band(axis, iterations, settled, GUIDED, "guided for ever")
    _band(axis, iterations, cut, CUT, f"cut off after {settings.cutoff}")
    bound = np.mean(bounds)
    axis.axhline(bound, color="black", linestyle="--", linewidth=1)
    axis.annotate(
        "bound on the bias that stays",
        (iterations[-1], bound),
        xytext=(0, 3),
        textcoords="offset points",
        horizontalalignment="right",
    )
    axis.set_title(
        f"Exact backups, {OFFLINE} wrong by up to {settings.offline_error:g}"
    )
    axis.set_xlabel("iteration (one backup of all pairs)")
    axis.set_ylabel(f"largest error {ERROR}, all pairs")


def _band(axis, x, lines, color, label):
    """Draws the mean of the lines over a band from their lowest to their highest."""
    lines = np.asarray(lines)
    axis.fill_between(
        x, lines.min(axis=0), lines.max(axis=0), color=color, alpha=0.2, linewidth=0
    )
    axis.plot(x, lines.mean(axis=0), color=color, linewidth=2, label=label)


if __name__ == "__main__":
    command_line.run(main)
