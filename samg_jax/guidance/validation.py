"""Checks of settings; each error says what was given, what is allowed, what to do."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable


def choice(name: str, value: str, allowed: Iterable[str], advice: str = "") -> None:
    """Refuses a value that is not one of `allowed`, and proposes the nearest."""
    allowed = sorted(allowed)
    if value in allowed:
        return
    close = difflib.get_close_matches(str(value), allowed, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    raise ValueError(
        f"{name} is {value!r}, which is unknown. Allowed: {', '.join(allowed)}. "
        f"{hint}{advice or f'Set --{name} to one of these.'}"
    )


def number(
    name: str,
    value: float,
    low: float,
    high: float,
    example: float,
    strict: bool = False,
) -> None:
    """Refuses a value not finite or outside [low, high]; (low, high) if `strict`."""
    inside = low < value < high if strict else low <= value <= high
    if inside and math.isfinite(value):
        return
    interval = f"({low:g}, {high:g})" if strict else f"[{low:g}, {high:g}]"
    raise ValueError(
        f"{name} is {value!r}. It must be a finite number in {interval}. "
        f"Set --{name} to such a number, for example {example:g}."
    )


def integer(name: str, value: int, low: int, example: int) -> None:
    """Refuses what is not an integer of at least `low`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= low:
        return
    raise ValueError(
        f"{name} is {value!r}. It must be an integer of at least {low}. "
        f"Set --{name} to such a number, for example {example}."
    )
