"""What a run asks of its environment: an end to episodes, and how it is resumed.

An environment whose state cannot be saved exactly resumes at episode boundaries. Its
checkpoints hold everything but that state, and wait until the episodes that are under
way have ended. A resumed run begins new episodes in all simulators. Of an episode that
was under way in a checkpoint, which only happens with several seeds, the transitions
stay in the buffer, without an end, as of an episode that a time limit cuts; it counts
in no return and no regret.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np

from samg_jax import checks
from samg_jax.envs import tasks, tryout
from samg_jax.experiment import sweeps
from samg_jax.experiment.resolved import Experiment
from samg_jax.training import devices, online_phase, seed_axis

LONGEST = 1_000  # Steps that a checkpoint waits if nothing bounds an episode.


def check(experiment: Experiment) -> None:
    """Refuses an environment whose episodes need not end, if something waits for it."""
    task = experiment.task
    if task.max_episode_steps is not None:
        return
    if experiment.offline_returns:
        raise checks.UserError(
            f"The environment {task.env_id!r} has no time limit, but Cal-QL sums the "
            "rewards of whole episodes, which must end. Register it with "
            "gymnasium.register(..., max_episode_steps=N), or use another algorithm, "
            "as in config=configs/cql.py."
        )
    check_limit(
        task, experiment.settings.evaluation.max_steps, "config.evaluation.max_steps"
    )


def check_limit(task: tasks.Task, max_steps: int | None, name: str) -> None:
    """Refuses evaluation episodes that might never end.

    Args:
        task: the task.
        max_steps: what cuts them, if anything.
        name: the field or flag that sets it.
    """
    if task.max_episode_steps is None and max_steps is None:
        raise checks.UserError(
            f"The environment {task.env_id!r} has no time limit, so that an evaluation "
            "episode might never end. Register it with gymnasium.register(..., "
            f"max_episode_steps=N), or set {name}=1000, for example."
        )


def try_out(experiment: Experiment, replicas: int | None = None) -> Experiment:
    """The experiment, with what a try-out of the environment has shown; see `tryout`.

    Args:
        experiment: The resolved experiment.
        replicas: simulators that train; None for one per seed and combination.
    """
    if replicas is None:
        replicas = len(sweeps.spread(experiment).seeds)
    trial = tryout.run(
        experiment.task, experiment.physics, experiment.settings.single_env, replicas
    )
    return dataclasses.replace(experiment, trial=trial)


def describe(trial: tryout.Trial) -> list[str]:
    """What a user must know of a try-out, in lines; none for an exact one."""
    lines = []
    if not trial.exact:
        lines.append(f"resume: at episode boundaries ({trial.reason})")
    elif not trial.repeats:
        lines.append(
            "resume: training continues exactly; evaluation may not, since episodes "
            "of this environment do not depend on their seed only"
        )
    if trial.single:
        lines.append(
            f"environment: built only once ({trial.why_single}); evaluation uses the "
            "same one and interrupts the training episode, and training then begins a "
            "new one"
        )
    if trial.outside:
        lines.append(
            f"environment: {trial.outside}; nothing here reads these bounds or clips"
        )
    return lines


def new_seeds(experiment: Experiment, step: int) -> list[int]:
    """Seeds of the training environments that begin new episodes after a step."""
    return seed_axis.host_seeds(experiment.seeds, f"training from {step}")


def make_restart(
    experiment: Experiment,
) -> Callable[[online_phase.State, jax.Array], online_phase.State]:
    """The compiled function that answers new first observations `[S, O]`.

    It is `(state, observations) -> state`, with the actions that the policy chooses
    there. Nothing else changes: the transitions before keep their successors. The state
    is donated.
    """
    explore = online_phase.make_explorer(experiment)

    def one(state, observations):
        state = state.replace(observations=observations)
        return state.replace(actions=explore(state))

    @functools.partial(jax.jit, donate_argnums=0)
    def restart(state, observations):
        specs = devices.specs(state)
        in_specs = specs, devices.OF_SEEDS
        return devices.each(experiment.mesh, one, in_specs, specs)(state, observations)

    return restart


class SharedDraws:
    """NumPy's random numbers that all share, watched from checkpoint to checkpoint.

    An environment that begins to draw from them late shows nothing in its try-out.
    """

    def __init__(self, trial: tryout.Trial):
        self._watched = trial.exact
        self._seen = self._state()

    @staticmethod
    def _state() -> bytes:
        _, keys, *rest = np.random.get_state()  # noqa: NPY002
        return keys.tobytes() + repr(rest).encode()

    def check(self, warn: Callable[[str], None]) -> None:
        """Warns once if they were drawn since the start, by whatever."""
        if self._watched and self._state() != self._seen:
            self._watched = False
            warn(
                "Random numbers of np.random, which everything in the process shares, "
                "were drawn during training. A checkpoint does not hold them, so a "
                "resume from here on is not exact. An environment has numbers of its "
                "own in self.np_random."
            )


class Saving:
    """When a checkpoint that is due is taken: at once, or at the end of episodes.

    It waits until every simulator has ended the episode that was under way when the
    checkpoint was due, for one time limit at most.
    """

    def __init__(self, experiment: Experiment):
        limit = experiment.settings.evaluation.max_steps
        self._count = 0 if experiment.trial.exact else len(experiment.seeds)
        self._longest = experiment.task.max_episode_steps or limit or LONGEST
        self._running: np.ndarray | None = None
        self._left = 0

    @property
    def pending(self) -> bool:
        """Whether a checkpoint is due and not yet taken."""
        return self._running is not None

    def ask(self) -> None:
        """Says that a checkpoint is due."""
        if self._running is None:
            self._running = np.ones(self._count, bool)
            self._left = self._longest

    def reached(self, ended: np.ndarray) -> bool:
        """Whether to save now, after a step.

        Args:
            ended: `[S]` bool, whose episodes have ended in it.
        """
        if self._running is None:
            return False
        self._running &= ~ended[: self._count]
        if self._running.any() and self._left > 0:
            self._left -= 1
            return False
        self._running = None
        return True
