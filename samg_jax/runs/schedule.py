"""When things happen: the boundaries at which a phase stops to log or to save."""

from __future__ import annotations

from collections.abc import Iterator

from samg_jax.experiment import spec

# Updates per compiled call: short enough for a bar, and long enough to hide dispatch.
# On a CPU, calls of 10, 100, 400 and more are equally fast, and calls of 1 up to 27 %
# slower; a GPU, whose updates are shorter, needs longer ones.
LONGEST_CHUNK = 1_000


def segments(
    start: int, end: int, periods: list[int], longest: int = LONGEST_CHUNK
) -> Iterator[tuple[int, int]]:
    """Yields consecutive ranges that end at every multiple of every period.

    The ranges after a resume are those of a run that never stopped, because they
    depend on absolute steps only.
    """
    while start < end:
        stops = [(start // period + 1) * period for period in (*periods, longest)]
        stop = min(*stops, end)
        yield start, stop
        start = stop


def due(step: int, period: int, end: int) -> bool:
    """Returns whether something periodic happens after `step`; it always does last."""
    return step % period == 0 or step == end


def periods(phase: spec.Offline | spec.Online) -> list[int]:
    """Returns the periods of a phase."""
    return [phase.log_every, phase.eval_every, phase.checkpoint_every]
