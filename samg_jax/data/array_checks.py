"""What every array of rows must satisfy, whatever file or library it comes from.

Each message begins with the name of the array and of its source, says what is wrong
in which row, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from samg_jax import checks

# Policies that end in a tanh reach 1 up to rounding; more than this is another scale.
ACTION_TOLERANCE = 1e-4


def check_kind(dtype: np.dtype, what: str) -> None:
    """Refuses arrays that do not hold real numbers.

    Args:
        dtype: of the array.
        what: the array and its source, as in `'rewards' in FILE`.
    """
    if dtype.kind not in "biuf":
        raise checks.UserError(
            f"{what} has the type {dtype}; numbers are needed. Write it as float32."
        )


def check_shape(shape: tuple[int, ...] | None, what: str, rank: int) -> tuple[int, ...]:
    """The shape that an array is read in; a column `[T, 1]` counts as rank 1.

    Args:
        shape: as stored; None for an array without any extent.
        what: the array and its source.
        rank: 1 or 2.
    """
    wanted = shape
    if rank == 1 and shape is not None and len(shape) == 2 and shape[1] == 1:
        wanted = shape[:1]
    if wanted is None or len(wanted) != rank or 0 in wanted[1:]:
        raise checks.UserError(
            f"{what} has the shape {'of an empty dataset' if shape is None else shape};"
            f" allowed is {'[T, size]' if rank == 2 else '[T] or [T, 1]'}, one row per "
            "step. Write it in that shape."
        )
    return wanted


def numbers(values: np.ndarray, what: str, rank: int) -> np.ndarray:
    """`values` as float32 of a rank; refuses NaN and what overflows.

    Args:
        values: as stored, of any real type.
        what: the array and its source.
        rank: 1 for `[T]` or `[T, 1]`, 2 for `[T, size]`.
    """
    check_kind(values.dtype, what)
    shape = check_shape(values.shape, what, rank)
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # What overflows is refused just below.
        values = np.asarray(values, np.float32).reshape(shape)
    bad = ~np.isfinite(values).all(axis=tuple(range(1, rank)))
    if bad.any():
        row = int(bad.argmax())
        raise checks.UserError(
            f"{what} has {int(bad.sum())} rows with NaN or infinity (in float32), "
            f"first row {row}: {values[row]}. All must be finite. Remove those "
            "episodes or collect again."
        )
    return values


def flags(values: np.ndarray, what: str) -> np.ndarray:
    """`values` as `[T]` bool; refuses what is neither 0 nor 1."""
    values = numbers(values, what, 1)
    bad = (values != 0) & (values != 1)
    if bad.any():
        row = int(bad.argmax())
        raise checks.UserError(
            f"{what} is {values[row]} in row {row}; it is a flag, 0 or 1. Write it as "
            "booleans."
        )
    return values.astype(bool)


def check_lengths(lengths: Mapping[str, int], source: str) -> None:
    """Refuses arrays of different lengths, and fewer than two rows.

    Args:
        lengths: array -> rows.
        source: file or dataset.
    """
    if len(set(lengths.values())) > 1:
        raise checks.UserError(
            f"The arrays of {source} have different numbers of rows: {dict(lengths)}. "
            "Each row is one step, so all must agree. Write the file again, and arrays "
            "that are transposed, as MATLAB writes them, the other way round."
        )
    rows = lengths["rewards"]
    if rows < 2:
        raise checks.UserError(
            f"{source} has {rows} rows; a transition needs two that follow each other. "
            "Collect more steps."
        )


def check_actions(actions: np.ndarray, what: str, remedy: str = "") -> None:
    """Refuses actions outside [-1, 1].

    Args:
        actions: `[T, A]`.
        what: the array and its source.
        remedy: what to do; by default to rescale and write the file again.
    """
    sizes = np.abs(actions)
    bad = (sizes > 1.0 + ACTION_TOLERANCE).any(axis=1)
    if bad.any():
        row = int(bad.argmax())
        worst = actions[row, sizes[row].argmax()]
        remedy = remedy or (
            "Policies here act in [-1, 1]. Rescale with the limits of the environment, "
            "2 * (action - low) / (high - low) - 1, and write the file again."
        )
        raise checks.UserError(
            f"{what} leave [-1, 1] in {int(bad.sum())} rows, first row {row} with the "
            f"value {worst}. {remedy}"
        )
