"""What is published about D4RL's files, and where a file differs from it.

The counts come from public catalogs of the datasets and add up exactly; the returns
are reported ones, or follow from reported ones. None was read from the files for this
table, so a difference is a warning and not an error. Numbers of transitions and of
trajectories follow from the counts: `rows - 1 - timeouts` and `terminals + timeouts`.
"""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np

from samg_jax import checks
from samg_jax.data import d4rl, transitions

# Reported to a decimal; the last, unfinished trajectory may or may not count in them.
REPORTED = 0.005
# Quoted without a source, or mixed from the means of two parts.
QUOTED = 0.02
# An ant that moves further in a step, in meters, was put back to its start.
ANT_JUMP = 2.0


@dataclasses.dataclass(frozen=True)
class Returns:
    """Undiscounted returns of the trajectories of a file, raw.

    Attributes:
        mean: over the trajectories.
        std: likewise, None where only the mean is known.
        low: lowest, None where unknown.
        high: highest, None where unknown.
        tolerance: share of the mean by which a file may differ from any of these.
    """

    mean: float
    std: float | None = None
    low: float | None = None
    high: float | None = None
    tolerance: float = REPORTED


@dataclasses.dataclass(frozen=True)
class Published:
    """What is published about one file.

    Attributes:
        rows: T.
        terminals: rows flagged as the true end of an episode, None where unknown.
        timeouts: rows flagged as the time limit, the last row left out; None likewise.
        returns: of the trajectories, None where unknown.
    """

    rows: int
    terminals: int | None = None
    timeouts: int | None = None
    returns: Returns | None = None


FILES: dict[str, Published] = {
    "halfcheetah-medium-v2": Published(
        1_000_000, 0, 999, Returns(4770.3, 355.8, -310.2, 5309.4)
    ),
    "halfcheetah-medium-replay-v2": Published(
        202_000, 0, 201, Returns(3093.3, 1680.7, tolerance=QUOTED)
    ),
    "halfcheetah-medium-expert-v2": Published(
        2_000_000, 0, 1999, Returns(7713.4, tolerance=QUOTED)
    ),
    "hopper-medium-v2": Published(
        1_000_000, 2185, 1, Returns(1422.1, 379.0, 315.9, 3222.4)
    ),
    "hopper-medium-replay-v2": Published(
        402_000, 1639, 401, Returns(467.3, 511.0, -1.4, 3192.9)
    ),
    "hopper-medium-expert-v2": Published(
        1_999_906, 2274, 939, Returns(2089.9, tolerance=QUOTED)
    ),
    "walker2d-medium-v2": Published(
        1_000_000, 513, 677, Returns(2852.1, 1095.4, -6.6, 4226.9)
    ),
    "walker2d-medium-replay-v2": Published(
        302_000, 791, 301, Returns(682.7, 896.0, tolerance=QUOTED)
    ),
    "walker2d-medium-expert-v2": Published(
        1_999_995, 514, 1676, Returns(3796.6, tolerance=QUOTED)
    ),
    # Of AntMaze only the length that its collector was given is known.
    **{name: Published(1_000_000) for name in d4rl.FILES if name.startswith("antmaze")},
}


def warning(
    name: str, path: pathlib.Path, raw: d4rl.Raw, dataset: transitions.Dataset
) -> str | None:
    """Returns what to tell the user of a file that differs, else None.

    Args:
        name: of a D4RL dataset, or of the demo, of which nothing is published.
        path: of the file.
        raw: its rows.
        dataset: the transitions made of them.
    """
    name = d4rl.canonical_name(name)
    if name not in FILES:
        return None
    different = differences(name, raw)
    if name.startswith("antmaze"):
        different += _antmaze_differences(raw, dataset)
    if not different:
        return None
    return (
        f"{path} differs from what is published about {name}:\n"
        + "".join(f"  {line}\n" for line in different)
        + "It is used as it is, but its scores may not compare with published ones. "
        "To have D4RL's own file, move this one away and run the same command."
    )


def differences(name: str, raw: d4rl.Raw) -> list[str]:
    """Returns a line for each published count or return that a file does not have."""
    published = FILES[name]
    timeouts = None if raw.timeouts is None else int(raw.timeouts[:-1].sum())
    found = {
        "rows": (published.rows, len(raw.rewards)),
        "terminals": (published.terminals, int(raw.terminals.sum())),
        "timeouts before the last row": (published.timeouts, timeouts),
    }
    lines = [
        f"{what}: expected {expected:,}, found "
        + ("no such array" if count is None else f"{count:,}")
        for what, (expected, count) in found.items()
        if expected is not None and count != expected
    ]
    if published.returns is not None and timeouts is not None:
        lines += _return_differences(
            published.returns, transitions.episode_returns(vars(raw))
        )
    return lines


def _return_differences(published: Returns, returns: np.ndarray) -> list[str]:
    if returns.size == 0:
        return ["returns: no trajectory ends in the file"]
    found = {
        "mean": (published.mean, returns.mean()),
        "standard deviation": (published.std, returns.std()),
        "lowest": (published.low, returns.min()),
        "highest": (published.high, returns.max()),
    }
    tolerance = published.tolerance * published.mean
    return [
        f"{what} of the returns: expected {expected:,.1f} within {tolerance:.1f}, "
        f"found {value:,.1f}"
        for what, (expected, value) in found.items()
        if expected is not None and abs(value - expected) > tolerance
    ]


def _antmaze_differences(raw: d4rl.Raw, dataset: transitions.Dataset) -> list[str]:
    lines = []
    others = int(((raw.rewards != 0) & (raw.rewards != 1)).sum())
    if others:
        lines.append(f"rewards: expected 0 or 1, found others in {others:,} rows")
    if raw.timeouts is None:
        lines.append("timeouts: expected in the file, found no such array")
    moves = dataset.next_observations[:, :2] - dataset.observations[:, :2]
    jumps = int((np.linalg.norm(moves, axis=1) > ANT_JUMP).sum())
    if jumps:
        lines.append(
            f"steps of more than {ANT_JUMP:g} m: expected none, found {jumps:,}; there "
            "an episode ends without a timeout, and the transition is a false one"
        )
    return lines


def check_successes(source: str | pathlib.Path, raw: d4rl.Raw) -> None:
    """Refuses rewards of a task that rewards its goal alone, if they do not say so.

    Success is a positive reward, and 0 is none: of a file with -1 and 0 every success
    would be read as a failure, by Cal-QL as one for ever.
    """
    if not raw.rewards.any():
        raise checks.UserError(
            f"All {len(raw.rewards):,} rewards in {source} are 0. The task rewards its "
            "goal alone, so at least one row must have another reward; without it "
            "nothing can be learned. Take D4RL's '..._sparse_fixed.hdf5' of the "
            "-v2 datasets, or label the rewards of your file anew."
        )
    low, high = float(raw.rewards.min()), float(raw.rewards.max())
    if low != 0:
        raise checks.UserError(
            f"The rewards in {source} go from {low:g} to {high:g}. The task rewards "
            "its goal alone: a reward must be 0, and positive at the goal, as in "
            f"D4RL's files. If {low:g} stands for no success, "
            f"{'add' if low < 0 else 'subtract'} {abs(low):g} and write the file "
            "again. For rewards of -1 and 0 in training, set "
            "config.dataset.reward_transform=affine and config.dataset.reward_bias=-1."
        )
    successes = float((raw.rewards > 0).mean())
    if successes > 0.5:
        raise checks.UserError(
            f"{successes:.0%} of the rewards in {source} are positive, which says that "
            "these rows reach the goal. The task rewards its goal alone. If 0 stands "
            "for success here, write 1 - reward, and the file again."
        )
