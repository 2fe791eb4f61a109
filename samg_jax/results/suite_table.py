"""The tidy table of a suite: one row per seed and evaluation."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

import numpy as np
import pandas as pd

from samg_jax import checks
from samg_jax.results import suite_location

TASK = ["algorithm", "dataset"]
VARIANT = ["algorithm", "variant", "dataset"]
RUN = [*VARIANT, "seed"]  # What tells runs apart.
NUMBERS = (
    "seed",
    "step",
    "return",
    "normalized_score",
    "success",
    "regret",
    "wall_time",
    "peak_memory",
)
WORDS = (
    "algorithm",
    "variant",
    "dataset",
    "data_source",
    "phase",
    "physics",
    "versions",
    "git_commit",
)
# Which older tables lack; empty there.
MACHINE = ("processor", "devices")
FEWEST_SEEDS = 5  # Fewer give no interval.
FEWEST_DATASETS = 3  # Fewer give no pooled number.
D4RL = "D4RL"
PHASES = ("offline", "online")
# The order in which variants are shown; others follow, by name.
VARIANTS = ("vanilla", "no_data", "samg", "samg_even", "samg_random", "samg_embedding")


def read(folder: pathlib.Path) -> pd.DataFrame:
    """Returns the rows of a suite, checked, in the order of their runs and steps.

    Two columns are added: `score`, which is the normalized score where the whole
    dataset has one and the raw return elsewhere, and `unit`, which says which. A
    column `failed` is all False where the table has none, and those of `MACHINE` and
    `networks` empty.

    Raises:
        checks.UserError: there is no table, or not one that can be reported.
    """
    damaged = []
    for path in suite_location.there(folder):
        reader = pd.read_parquet if path.suffix == ".parquet" else pd.read_csv
        try:
            frame = reader(path)
        except (OSError, ValueError) as error:  # The libraries' own are of these.
            damaged.append(f"{path} cannot be read: {str(error).splitlines()[0]}")
            continue
        return check(frame, str(path))
    if damaged:
        raise checks.UserError(
            f"{'; '.join(damaged)}. A suite's table is needed. Give the suite's "
            "command again: it rebuilds the table, and trains nothing that is "
            "complete."
        )
    raise checks.UserError(
        f"There are no results in {str(folder)!r}: it has neither "
        f"{' nor '.join(suite_location.FILES)}. Name the out folder of a suite."
    )


def readable(folder: pathlib.Path) -> bool:
    """Returns whether the folder has a table that can be reported."""
    try:
        read(folder)
    except checks.UserError:
        return False
    return True


def check(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Returns the rows of a table as `read` does.

    Args:
        frame: with at least the columns of `NUMBERS` and `WORDS`.
        name: of the table, for the messages.
    """
    missing = sorted({*NUMBERS, *WORDS} - set(frame.columns))
    if missing:
        raise checks.UserError(
            f"{name} has no column {', '.join(missing)}. A suite's table has "
            f"{', '.join([*WORDS, *NUMBERS])}. Rebuild it with the suite's command."
        )
    if frame.empty:
        raise checks.UserError(
            f"{name} has no rows, so there is nothing to report. Wait until the suite "
            "has finished an evaluation."
        )
    frame = frame.copy()
    for column in NUMBERS:
        try:
            frame[column] = pd.to_numeric(frame[column])
        except (ValueError, TypeError) as error:
            raise checks.UserError(
                f"{name} has something else than numbers in the column {column}: "
                f"{error}. Give the suite's command again: it rebuilds the table."
            ) from error
    for column in MACHINE:
        if column not in frame:
            frame[column] = ""
    for column in (*WORDS, *MACHINE):
        frame[column] = frame[column].fillna("").astype(str)
    unknown = sorted(set(frame["phase"]) - set(PHASES))
    if unknown:
        raise checks.UserError(
            f"{name} has the phase {unknown[0]!r}; allowed are {' and '.join(PHASES)}. "
            "Correct the column."
        )
    _check_alike(frame, name)
    repeated = frame.duplicated([*RUN, "phase", "step"])
    if repeated.any():
        where = frame.loc[repeated, [*RUN, "phase", "step"]].iloc[0].to_dict()
        raise checks.UserError(
            f"{name} has {where} more than once; every evaluation of a seed is one row."
            " Remove the repetition."
        )
    finite = frame.groupby("dataset")["normalized_score"].transform(
        lambda scores: np.isfinite(scores).any()
    )
    frame["score"] = frame["normalized_score"].where(finite, frame["return"])
    frame["unit"] = np.where(finite, "normalized score", "return")
    if "networks" not in frame:
        frame["networks"] = ""
    if "failed" not in frame:
        frame["failed"] = False
    frame["failed"] = frame["failed"].fillna(False).astype(bool)
    return frame.sort_values([*RUN, "phase", "step"], ignore_index=True)


def _check_alike(frame: pd.DataFrame, name: str) -> None:
    for column in ("data_source", "physics"):
        values = frame.groupby("dataset")[column].unique()
        for dataset, own in values.items():
            if len(own) > 1:
                raise checks.UserError(
                    f"In {name} the dataset {dataset!r} has the {column} "
                    f"{' and '.join(map(repr, sorted(own)))}. A report compares scores "
                    "only if data and simulator are the same. Report them separately."
                )


def caution(rows: pd.DataFrame) -> str:
    """Returns what must stand above whatever is shown of the rows.

    It says which data are not D4RL's, or which simulator is not, and where variants
    were not fine-tuned for as many steps as each other; empty if all are as they
    should be. Every part of it is `WHAT: WHICH`, so that `mark` can shorten it.
    """
    datasets = rows.drop_duplicates("dataset")
    others = datasets[datasets["data_source"] != D4RL]
    parts = []
    for source, own in others.groupby("data_source"):
        names = ", ".join(sorted(own["dataset"]))
        parts.append(f"{source[:1].upper()}{source[1:]}, not D4RL: {names}")
    stock = datasets[datasets["physics"] != "d4rl"]
    for physics, own in stock.groupby("physics"):
        names = ", ".join(sorted(own["dataset"]))
        parts.append(f"Physics {physics}, not D4RL's: {names}")
    online = rows[rows["phase"] == "online"]
    steps = online.groupby(VARIANT)["step"].max()
    counts = steps.groupby(["dataset", "algorithm"]).nunique()
    unequal = [" ".join(keys) for keys, count in counts.items() if count > 1]
    if unequal:
        parts.append(f"Variants with different steps: {', '.join(unequal)}")
    return "; ".join(parts)


def mark(caution: str) -> str:
    """Shortens a caution to what it says, without the names of what it is said of."""
    parts = dict.fromkeys(part.split(": ")[0] for part in caution.split("; "))
    return "; ".join(parts)


def updates(rows: pd.DataFrame) -> int | None:
    """Offline updates of the rows; None if they have no offline evaluation."""
    offline = rows[rows["phase"] == "offline"]
    return int(offline["step"].max()) if len(offline) else None


def in_order(variants: Iterable[str]) -> list[str]:
    """Returns the variants, each once, in the order in which they are shown."""
    known = {name: place for place, name in enumerate(VARIANTS)}
    return sorted(set(variants), key=lambda name: (known.get(name, len(known)), name))


def pretrained(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns the offline rows, once for each algorithm, dataset and seed.

    The variants of an algorithm fork from one pre-training; a table may repeat it.
    """
    offline = frame[frame["phase"] == "offline"]
    return offline.drop_duplicates(["algorithm", "dataset", "seed", "step"])


def offline_scores(frame: pd.DataFrame, dataset: str, algorithm: str) -> pd.Series:
    """Returns the last offline score of every seed that stayed finite."""
    rows = pretrained(frame)
    rows = rows[(rows["dataset"] == dataset) & (rows["algorithm"] == algorithm)]
    last = rows.sort_values("step").groupby("seed").last()
    return last.loc[~last["failed"], "score"]
