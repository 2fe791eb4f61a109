"""Values that grow without end while they are still finite: told once per seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from samg_jax import logs

LIMIT = 1e15  # No return, loss or value of a run that learns is nearly as large.


class Watch:
    """Looks at everything that a run logs, and warns of each seed once."""

    def __init__(self):
        self._told: set[int] = set()

    def look(
        self,
        phase: str,
        steps: tuple[int, int],
        metrics: Mapping[str, np.ndarray],
        names: Sequence[str],
    ) -> None:
        """Warns of seeds with a finite value beyond the limit.

        Args:
            phase: `offline` or `online`.
            steps: offline updates and environment steps so far.
            metrics: name -> `[S]`.
            names: `[S]` what the seeds are called.
        """
        for place, name in enumerate(names):
            if place in self._told:
                continue
            found = {key: float(metrics[key][place]) for key in sorted(metrics)}
            large = {
                key: value
                for key, value in found.items()
                if np.isfinite(value) and abs(value) >= LIMIT
            }
            if not large:
                continue
            self._told.add(place)
            largest = max(large, key=lambda key: abs(large[key]))
            unit, step = ("update", steps[0])
            if phase == "online":
                unit, step = ("environment step", steps[1])
            logs.LOGGER.warning(
                "Seed %s explodes: %s is %.3g at %s %d (%s). It is still finite and "
                "trains on, but its scores say little. Lower the learning rates or "
                "scale the rewards down.",
                name,
                largest,
                large[largest],
                unit,
                step,
                phase,
            )
