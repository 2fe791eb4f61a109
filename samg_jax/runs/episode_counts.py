"""What is counted of the training episodes of the online phase."""

from __future__ import annotations

import dataclasses

import numpy as np

from samg_jax.envs import vector


@dataclasses.dataclass
class Goals:
    """Which episodes reached the goal, for the regret; of sparse tasks only.

    An episode succeeds at its first positive reward, wherever it ends.

    Attributes:
        reached: `[S]` bool, whether the unfinished episode has succeeded.
        finished: `[S]` episodes finished since the switch.
        failures: `[S]` those of them without success.
    """

    reached: np.ndarray
    finished: np.ndarray
    failures: np.ndarray

    @classmethod
    def empty(cls, count: int) -> Goals:
        return cls(np.zeros(count, bool), np.zeros(count), np.zeros(count))

    def add(self, step: vector.Step) -> None:
        """Counts a step, and the episodes that end in it."""
        reached = self.reached | (step.rewards > 0)
        self.finished += step.dones
        self.failures += step.dones & ~reached
        self.reached = reached & ~step.dones


@dataclasses.dataclass
class Episodes:
    """Training episodes: those finished since the last log, and their regret.

    Attributes:
        sums: `[S]` of their returns.
        counts: `[S]`.
        goals: None where success is not defined.
    """

    sums: np.ndarray
    counts: np.ndarray
    goals: Goals | None = None

    @classmethod
    def empty(cls, count: int, sparse: bool = False) -> Episodes:
        goals = Goals.empty(count) if sparse else None
        return cls(np.zeros(count), np.zeros(count), goals)

    @classmethod
    def restore(cls, host: dict[str, np.ndarray], sparse: bool = False) -> Episodes:
        """Returns what `arrays` saved, and takes it out of `host`."""
        goals = None
        if sparse:
            names = [field.name for field in dataclasses.fields(Goals)]
            goals = Goals(*(host.pop(f"goals_{name}") for name in names))
        return cls(host.pop("episode_sums"), host.pop("episode_counts"), goals)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns everything counted, to be saved."""
        arrays = {"episode_sums": self.sums, "episode_counts": self.counts}
        if self.goals is not None:
            goals = vars(self.goals)
            arrays |= {f"goals_{name}": array for name, array in goals.items()}
        return arrays

    def add(self, step: vector.Step) -> None:
        """Counts the episodes that end in this step."""
        self.sums += np.where(step.dones, step.episode_returns, 0.0)
        self.counts += step.dones
        if self.goals is not None:
            self.goals.add(step)

    def interrupt(self) -> None:
        """Forgets the unfinished episodes: new ones begin, and these never end."""
        if self.goals is not None:
            self.goals.reached[:] = False

    def take(self) -> dict[str, np.ndarray]:
        """Returns the mean return, NaN where no episode ended, and forgets."""
        with np.errstate(invalid="ignore"):
            result = {"episode_return": self.sums / self.counts}
        self.sums[:] = 0
        self.counts[:] = 0
        return result

    def regret(self) -> dict[str, np.ndarray]:
        """Returns the share of failures among all episodes so far; see `Goals`.

        CORL's regret: a mean over finished episodes of the exploring policy, in which
        a short success counts as much as a long failure. NaN before the first episode
        ends; nothing where success is not defined.
        """
        if self.goals is None:
            return {}
        with np.errstate(invalid="ignore"):
            return {"regret": self.goals.failures / self.goals.finished}
