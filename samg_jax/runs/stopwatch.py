"""Where the time of a loop goes: a stopwatch with named parts."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator


@dataclasses.dataclass
class Lap:
    """What happened between two calls of `Clock.lap`.

    Attributes:
        steps: of the loop.
        seconds: all that passed.
        parts: name -> seconds spent in that part, where there was any.
    """

    steps: int
    seconds: float
    parts: dict[str, float]


class Clock:
    """Measures a loop lap by lap; what no part claims is `Lap.seconds` minus theirs.

    A call that only starts work on the device costs little here: the time shows where
    the host waits for the result.

    Attributes:
        laps: the finished ones.
    """

    def __init__(self):
        self.laps: list[Lap] = []
        self.restart(0)

    def restart(self, step: int) -> None:
        """Begins a lap at a step, forgetting what was measured since the last one."""
        self._step, self._parts = step, {}
        self._began = time.perf_counter()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Adds the block's time to a part of the current lap."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - began)

    def add(self, name: str, seconds: float) -> None:
        """Adds time that was measured elsewhere to a part of the current lap."""
        self._parts[name] = self._parts.get(name, 0.0) + seconds

    def lap(self, step: int) -> None:
        """Finishes the lap at a step, and begins the next."""
        passed = time.perf_counter() - self._began
        self.laps.append(Lap(step - self._step, passed, self._parts))
        self.restart(step)
