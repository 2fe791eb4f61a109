"""The one table of results: a row per seed and evaluation, of runs and of suites.

algorithm, variant, dataset   variant `offline` in the offline phase; a swept value
is part of the variant
data_source                   `D4RL`, `locally collected`, ...
seed, phase, step             updates of the offline phase, environment steps online
return, normalized_score      of the evaluation episodes; NaN without a reference
success                       share of them that reached the goal; sparse tasks only
regret                        share of failures among training episodes so far
wall_time                     seconds of a suite's job, compilation included
peak_memory                   bytes of a suite's job
physics, processor, devices,  what it was measured with; a suite records the last
versions, git_commit          four
failed                        1 from where the seed became non-finite
updates                       offline updates so far
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from samg_jax import checks
from samg_jax.results import run_files

# Of these files of a suite, the first that can be read is read.
FILES = ("results.parquet", "results.csv")
TASK = ["algorithm", "dataset"]
VARIANT = ["algorithm", "variant", "dataset"]
RUN = [*VARIANT, "seed"]  # Tells runs apart.
NUMBERS = (
    *("seed", "step", "return", "normalized_score", "success", "regret"),
    *("wall_time", "peak_memory"),
)
WORDS = (
    *("algorithm", "variant", "dataset", "data_source", "phase", "physics"),
    *("versions", "git_commit"),
)
MACHINE = ("processor", "devices")  # Older tables lack them.
COLUMNS = (
    *("algorithm", "variant", "dataset", "data_source", "seed", "phase", "step"),
    *("return", "normalized_score", "success", "regret", "wall_time", "peak_memory"),
    *("physics", "processor", "devices", "versions", "git_commit", "failed", "updates"),
)
# Column -> name in `training.csv`.
LOGGED = {"success": "success_rate", "regret": "regret"}
FEWEST_SEEDS = 5  # Fewer seeds give no interval.
FEWEST_DATASETS = 3  # Fewer datasets give no pooled number.
D4RL = "D4RL"
OFFLINE, ONLINE = PHASES = ("offline", "online")
# The order in which variants are shown; others follow, by name.
VARIANTS = ("vanilla", "no_data", "samg", "samg_even", "samg_random", "samg_embedding")


def of_run(workdir: pathlib.Path, **about: Any) -> pd.DataFrame:
    """The rows of a run, from the tables in its workdir.

    Args:
        workdir: The folder of the run.
        **about: See `of_evaluations`.

    Raises:
        checks.UserError: A table is missing or damaged.
    """
    rows = run_files.evaluations(workdir / "metrics.csv")
    logged = run_files.logged(workdir / "training.csv")
    keys = ["phase", "seed", "sweep", "offline_step", "env_step"]
    for column, name in LOGGED.items():
        values = logged[logged["name"] == name].set_index(keys)["value"]
        rows = rows.join(values.rename(column), on=keys)
    return of_evaluations(rows, **about)


def of_evaluations(rows: pd.DataFrame, **about: Any) -> pd.DataFrame:
    """Rows of `metrics.csv` as rows of the table.

    Args:
        rows: The rows, from `run_files.evaluations`.
        **about: Columns that the rows do not have, at least `algorithm` and `variant`.
            What is not recorded is empty or NaN.
    """
    offline = rows["phase"] == OFFLINE
    variant = (about.pop("variant") + " " + rows["sweep"]).str.strip()
    rows = rows.rename(columns={"return_mean": "return"}).assign(
        variant=variant.mask(offline, OFFLINE),
        step=rows["offline_step"].where(offline, rows["env_step"]),
        updates=rows["offline_step"],
        **about,
    )
    for name in COLUMNS:
        if name not in rows:
            rows[name] = np.nan if name in NUMBERS else ""
    return rows[list(COLUMNS)].astype({"success": float, "regret": float})


def kind_of(data_source: str) -> str:
    """The kind of data: `D4RL`, `locally collected`, ...

    Args:
        data_source: The trainer's description of the data, such as `hopper-demo
            (100,000 rows, locally collected, not D4RL)`.
    """
    found = re.search(r"\([\d,]+ rows, (.*)\)$", data_source)
    return found[1].removesuffix(", not D4RL") if found else data_source


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The tables of a suite's folder, in the order in which they are tried."""
    return [folder / name for name in FILES if (folder / name).is_file()]


def read(folder: pathlib.Path) -> pd.DataFrame:
    """The rows of a suite; see `check`.

    Raises:
        checks.UserError: The folder has no table, or none that can be reported.
    """
    damaged = []
    for path in files(folder):
        try:
            if path.suffix == ".parquet":
                frame = pd.read_parquet(path)
            else:
                frame = pd.read_csv(path, float_precision="round_trip")
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
        f"{' nor '.join(FILES)}. Name the out folder of a suite, or workdirs of runs."
    )


def check(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of a table, checked, in the order of their runs and steps.

    Two columns are added: `score`, the normalized score if the dataset has one and the
    raw return otherwise, and `unit`, which says which. Columns that older tables lack
    are filled in.

    Args:
        frame: The rows, with at least the columns of `NUMBERS` and `WORDS`.
        name: The name of the table in messages.
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
    added = {**dict.fromkeys((*MACHINE, "networks"), ""), "failed": 0, "warmup": 0}
    for column, value in added.items():
        if column not in frame:
            frame[column] = value
    for column in (*WORDS, *MACHINE):
        frame[column] = frame[column].fillna("").astype(str)
    frame["failed"] = frame["failed"].fillna(0).astype(bool)
    _check_alike(frame, name)
    scored = frame.groupby("dataset")["normalized_score"]
    finite = scored.transform(lambda scores: np.isfinite(scores).any())
    frame["score"] = frame["normalized_score"].where(finite, frame["return"])
    frame["unit"] = np.where(finite, "normalized score", "return")
    # An older table says it by its last offline evaluation.
    offline = frame[frame["phase"] == OFFLINE].groupby(TASK)["step"].max()
    known = frame[TASK].join(offline.rename("updates"), on=TASK)["updates"]
    if "updates" in frame:
        known = frame["updates"].where(frame["updates"] >= 0, known)
    frame["updates"] = known.fillna(-1).astype(int)
    return frame.sort_values([*RUN, "phase", "step"], ignore_index=True)


def _check_alike(frame: pd.DataFrame, name: str) -> None:
    """Refuses phases, rows and scores that cannot be shown together."""
    unknown = sorted(set(frame["phase"]) - set(PHASES))
    if unknown:
        raise checks.UserError(
            f"{name} has the phase {unknown[0]!r}; allowed are {' and '.join(PHASES)}. "
            "Correct the column."
        )
    for column in ("data_source", "physics"):
        for dataset, own in frame.groupby("dataset")[column].unique().items():
            if len(own) > 1:
                raise checks.UserError(
                    f"In {name} the dataset {dataset!r} has the {column} "
                    f"{' and '.join(map(repr, sorted(own)))}. A report compares scores "
                    "only if data and simulator are the same. Report them separately."
                )
    repeated = frame.duplicated([*RUN, "phase", "step"])
    if repeated.any():
        where = frame.loc[repeated, [*RUN, "phase", "step"]].iloc[0].to_dict()
        raise checks.UserError(
            f"{name} has {where} more than once; every evaluation of a seed is one row."
            " Remove the repetition."
        )


def disclaimer(rows: pd.DataFrame) -> str:
    """What must be said of the rows wherever they are shown; may be empty.

    It names data that are not D4RL's, a simulator that is not, and variants that were
    fine-tuned for different numbers of steps. Each part is `WHAT: WHICH`, so that
    `mark` can shorten it.
    """
    datasets = rows.drop_duplicates("dataset")
    parts = []
    others = datasets[datasets["data_source"] != D4RL]
    for source, own in others.groupby("data_source"):
        names = ", ".join(sorted(own["dataset"]))
        parts.append(f"{source[:1].upper()}{source[1:]}, not D4RL: {names}")
    for physics, own in datasets[datasets["physics"] != "d4rl"].groupby("physics"):
        names = ", ".join(sorted(own["dataset"]))
        parts.append(f"Physics {physics}, not D4RL's: {names}")
    steps = rows[rows["phase"] == ONLINE].groupby(VARIANT)["step"].max()
    counts = steps.groupby(["dataset", "algorithm"]).nunique()
    unequal = [" ".join(keys) for keys, count in counts.items() if count > 1]
    if unequal:
        parts.append(f"Variants with different steps: {', '.join(unequal)}")
    return "; ".join(parts)


def mark(text: str) -> str:
    """A disclaimer without the names of what it is about."""
    return "; ".join(dict.fromkeys(part.split(": ")[0] for part in text.split("; ")))


def in_order(variants: Iterable[str]) -> list[str]:
    """The variants, each once, in the order in which they are shown."""
    known = {name: index for index, name in enumerate(VARIANTS)}
    return sorted(set(variants), key=lambda name: (known.get(name, len(known)), name))


def pretrained(frame: pd.DataFrame) -> pd.DataFrame:
    """The offline rows, once for each algorithm, dataset and seed.

    The variants of an algorithm fork from one pre-training; a table may repeat it.
    """
    offline = frame[frame["phase"] == OFFLINE]
    return offline.drop_duplicates([*TASK, "seed", "step"])


def offline_scores(frame: pd.DataFrame, dataset: str, algorithm: str) -> pd.Series:
    """The last offline score of each seed that stayed finite."""
    rows = pretrained(frame)
    rows = rows[(rows["dataset"] == dataset) & (rows["algorithm"] == algorithm)]
    last = rows.sort_values("step").groupby("seed").last()
    return last.loc[~last["failed"], "score"]
