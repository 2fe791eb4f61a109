"""What a suite compared and what it established, in three sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from samg_jax.results import pairing, seed_outcomes, tidy_table

NAMED = 4  # A sentence names this many comparisons or datasets, and counts the rest.


def sentences(frame: pd.DataFrame, outcomes: pd.DataFrame) -> tuple[str, ...]:
    """What was compared, what is established, and what is not.

    A difference between SAMG and another variant is established if the 95 % interval
    of the final score's paired difference has a width and excludes 0.
    """
    final = pairing.differences(outcomes, "final")
    known = [pairing.established(values) for values in final["values"]]
    final = final.assign(known=np.array(known, bool))
    few = final["values"].map(len) < tidy_table.FEWEST_SEEDS
    said = (
        compared(frame, outcomes),
        _established(outcomes, final[final["known"]]),
        _open(outcomes, final[~final["known"] & ~few], final[few]),
    )
    return tuple(text.replace(" ± ", "\u00a0±\u00a0") for text in said)


def compared(frame: pd.DataFrame, outcomes: pd.DataFrame) -> str:
    """The sentence on what was compared, on which data, with which lengths."""
    algorithms = listed(sorted(set(frame["algorithm"])))
    data = listed(
        f"{source} data ({_few(sorted(set(own['dataset'])), 'datasets')})"
        for source, own in frame.groupby("data_source")
    )
    keys = [*tidy_table.TASK, frame["variant"].mask(frame["phase"] == "offline", "")]
    updates = frame.groupby(keys)["updates"].max()
    offline = _span(updates[updates >= 0])
    offline = f"{offline} offline updates" if offline else "pre-training"
    if outcomes.empty:
        seeds = frame.groupby(tidy_table.TASK)["seed"].nunique()
        return (
            f"This report shows {algorithms} with {_seeds(seeds)} on {data} after "
            f"{offline}, without fine-tuning."
        )
    kept = seed_outcomes.finished(outcomes)
    seeds = kept.groupby(tidy_table.VARIANT)["seed"].nunique()
    left = len(outcomes) - len(kept)
    dropped = f"; {_count(left, 'seed')} failed or unfinished" if left else ""
    return (
        f"This report compares {listed(tidy_table.in_order(outcomes['variant']))} for "
        f"{algorithms} with {_seeds(seeds)}{dropped} on {data}, after {offline} and "
        f"{_span(outcomes['steps'])} environment steps."
    )


def _established(outcomes: pd.DataFrame, rows: pd.DataFrame) -> str:
    if not (outcomes["variant"] == pairing.SAMG).any():
        return "Nothing about SAMG is established: the results have no variant samg."
    if rows.empty:
        return (
            "Nothing is established: no 95 % paired interval of the final score "
            "between samg and another variant excludes 0."
        )
    parts = []
    for above, word in ((True, "above"), (False, "below")):
        own = rows[(rows["mean"] > 0) == above]
        parts += [f"{word} {text}" for text in _by_other(own)]
    return (
        "Established, as the 95 % paired interval of the final score excludes 0: samg "
        f"ends {'; '.join(parts)}."
    )


def _open(outcomes: pd.DataFrame, rows: pd.DataFrame, few: pd.DataFrame) -> str:
    if not (outcomes["variant"] == pairing.SAMG).any():
        return "No comparison is left open."
    parts = []
    if len(rows):
        texts = "; ".join(f"against {text}" for text in _by_other(rows, listing=False))
        parts.append(f"the interval does not exclude 0 {texts}")
    if len(few):
        count = _seeds(few["values"].map(len))
        texts = "; ".join(f"against {text}" for text in _by_other(few, width=False))
        verb = "gives" if count == "1 seed" else "give"
        parts.append(f"{count} {verb} no interval {texts}")
    apart = pairing.incomparable(outcomes)
    if apart:
        names = [
            f"{other} for {algorithm} on {dataset}"
            for algorithm, dataset, other in apart
        ]
        parts.append(f"budgets differ against {_few(names, 'comparisons')}")
    if parts:
        return f"Not established: {'; '.join(parts)}."
    if not set(outcomes["variant"]) - {pairing.SAMG}:
        return "Not established: the results have no variant except samg."
    return "No comparison of samg with another variant is left open."


def _by_other(
    rows: pd.DataFrame, width: bool = True, listing: bool = True
) -> list[str]:
    """Texts such as `vanilla on hopper for awac (+4.1 ± 2.0)`, one per variant.

    Args:
        rows: Rows of `pairing.differences`.
        width: Whether the half-widths of the intervals are given.
        listing: Whether the first few of many tasks are named; else the text has their
            number and the range of the means.
    """
    texts = []
    for other in tidy_table.in_order(rows["over"]):
        own = rows[rows["over"] == other].sort_values(["dataset", "algorithm"])
        if len(own) > NAMED and not listing:
            low, high = own["mean"].min(), own["mean"].max()
            texts.append(f"{other} on {len(own)} tasks ({low:+.1f} to {high:+.1f})")
            continue
        places = []
        for dataset, here in own.head(NAMED).groupby("dataset"):
            names = [
                f"{row.algorithm} ({row.mean:+.1f}"
                + (f" ± {row.width:.1f})" if width else ")")
                for row in here.itertuples()
            ]
            places.append(f"on {dataset} for {listed(names)}")
        if len(own) > NAMED:
            places.append(f"{len(own) - NAMED} more")
        texts.append(f"{other} {listed(places)}")
    return texts


def listed(names: Iterable[str]) -> str:
    """Names as `a, b and c`."""
    names = list(names)
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _few(names: Sequence[str], what: str) -> str:
    if len(names) <= NAMED:
        return listed(names)
    shown = ", ".join(names[: NAMED - 1])
    return f"{shown} and {len(names) - NAMED + 1} more of {len(names)} {what}"


def _span(counts: Iterable[float]) -> str:
    counts = sorted(set(counts))
    if not counts:
        return ""
    ends = [f"{count:,.0f}" for count in (counts[0], counts[-1])]
    return ends[0] if len(counts) == 1 else " to ".join(ends)


def _seeds(counts: pd.Series) -> str:
    text = _span(counts) or "0"
    return f"{text} seed" if text == "1" else f"{text} seeds"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
