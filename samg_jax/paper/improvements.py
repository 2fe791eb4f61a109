"""SAMG's gain over vanilla fine-tuning on each level, from the runs' results.

SAMG (2024), Appendix C.7, compares it with the coverage of the level's data.
"""

from __future__ import annotations

import csv
import io
import pathlib
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import tabulate
from matplotlib import lines, patches

from samg_jax import checks, durable
from samg_jax.paper import data_coverage
from samg_jax.results import (
    figures,
    pairing,
    seed_outcomes,
    seed_statistics,
    tidy_table,
    workdirs,
)
from samg_jax.runs import lifecycle

COMPARED = ("vanilla", "samg")
LEGEND = 40  # The number of letters of a level's name.


class Improvement(NamedTuple):
    """SAMG's final scores minus those of vanilla fine-tuning, for one level and base.

    Attributes:
        level: the level of the data.
        algorithm: the base algorithm.
        unit: the unit of the scores, in words.
        seeds: `[S]` seeds that stayed finite in both runs.
        gains: `[S]` differences of their final scores.
    """

    level: str
    algorithm: str
    unit: str
    seeds: tuple[int, ...]
    gains: np.ndarray

    @property
    def interval(self) -> tuple[float, float]:
        """Mean over the seeds and half-width of its 95 % interval."""
        return seed_statistics.interval(self.gains)


def read(folders: Sequence[str], levels: Sequence[str]) -> list[Improvement]:
    """Read the improvement on each level and base from the runs below the folders.

    Args:
        folders: Folders such as `runs/studies`; workdirs may be anywhere below.
        levels: The names of the levels, as in `data_coverage.load`.

    Raises:
        checks.UserError: A folder is missing, a run is incomplete, two runs have the
            same kind or cannot be compared, or no level has both kinds.
    """
    found = defaultdict(dict)
    for workdir in sorted(runs_below(folders)):
        kind = kind_of(workdir)
        if kind is None or kind[0] not in levels:
            continue
        level, algorithm, variant = kind
        pair = found[level, algorithm]
        if variant in pair:
            raise checks.UserError(
                f"results has two runs of {algorithm} {variant} on {level}: "
                f"{str(pair[variant])!r} and {str(workdir)!r}. One of each is compared "
                "with its counterpart. Name folders that have no other."
            )
        pair[variant] = workdir
    result = [
        difference(level, algorithm, [pair[name] for name in COMPARED])
        for (level, algorithm), pair in sorted(found.items())
        if len(pair) == len(COMPARED)
    ]
    if not result:
        raise checks.UserError(
            f"No level of {', '.join(levels)} has a vanilla run and a samg run of one "
            f"base below results={','.join(folders)}. Both are needed, as the suite "
            "finetune makes them. Name the folder of such runs."
        )
    return result


def runs_below(folders: Sequence[str]) -> set[pathlib.Path]:
    """Returns every folder below that holds a run."""
    result = set()
    for name in folders:
        folder = pathlib.Path(name).expanduser()
        if not name.strip() or not folder.is_dir():
            raise checks.UserError(
                f"results names {name!r}, which is no folder. It must hold workdirs "
                "of samg_jax.train, at any depth. Correct it, or leave it out."
            )
        result |= {path.parent.resolve() for path in folder.rglob("config.json")}
    return result


def kind_of(workdir: pathlib.Path) -> tuple[str, str, str] | None:
    """Returns level, algorithm and variant of a run; None if it is not compared."""
    found = workdirs.load_json(workdir / "config.json")
    if isinstance(found, dict) and found and not workdirs.fits(found):
        return None  # Another program wrote it.
    config = workdirs.read_config(workdir)
    if not config.online.steps or config.get("sweep"):
        return None
    variant = lifecycle.variant(config.to_dict())
    if variant not in COMPARED:
        return None
    return workdirs.dataset_of(config), config.algorithm, variant


def difference(level: str, algorithm: str, pair: Sequence[pathlib.Path]) -> Improvement:
    """The improvement between a vanilla run and a SAMG run, paired by seed."""
    outcomes = []
    for workdir in pair:
        _, rows = workdirs.read_run(workdir)
        found = seed_outcomes.of(tidy_table.check(rows, str(workdir)))
        outcomes.append(found.assign(data_source=rows["source"].iloc[0]))
    vanilla, samg = outcomes
    for field in ("data_source", "physics", "unit", "steps", "updates"):
        values = vanilla[field].max(), samg[field].max()
        if values[0] != values[1]:
            raise checks.UserError(
                f"On {level} the vanilla run of {algorithm} and the samg run differ in "
                f"{field}: {values[0]} and {values[1]}. Only that which is alike but "
                "for the guidance is compared. Set results=FOLDER,... to other runs."
            )
    names = samg["variant"].iloc[0], vanilla["variant"].iloc[0]
    gains = pairing.paired(pd.concat(outcomes), *names, "final")
    if gains.empty:
        raise checks.UserError(
            f"On {level} the vanilla run of {algorithm} and the samg run have no seed "
            "in common that stayed finite. Scores are paired by seed. Run both with "
            "the same config.seed and config.num_seeds."
        )
    unit = samg["unit"].iloc[0]
    return Improvement(
        level, algorithm, unit, tuple(gains.index.tolist()), gains.to_numpy()
    )


def table(
    names: Sequence[str],
    measured: data_coverage.Coverage,
    improvements: Sequence[Improvement],
) -> str:
    """One line per level and base: its coverage, and what SAMG gains."""
    rows = []
    for one in improvements:
        index = list(names).index(one.level)
        shares = [
            measured.shares[space][:, index].mean() for space in data_coverage.SPACES
        ]
        gain = seed_statistics.interval_text(one.gains, sign="+")
        rows.append([one.level, *shares, one.algorithm, len(one.seeds), gain])
    gain = f"SAMG minus vanilla, final {improvements[0].unit}"
    header = ["level", *data_coverage.SPACES, "base", "seeds", gain]
    # A level's name may look like a number.
    return tabulate.tabulate(
        rows, header, "plain", floatfmt=".3f", disable_numparse=[0]
    )


def write(improvements: Sequence[Improvement], path: pathlib.Path) -> pathlib.Path:
    """Writes a CSV with one row per level, base and seed; returns its path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["level", "algorithm", "seed", "improvement"])
    for one in improvements:
        for seed, gain in zip(one.seeds, one.gains, strict=True):
            writer.writerow([one.level, one.algorithm, seed, float(gain)])
    durable.write_result(path, text.getvalue())
    return path


def draw(
    names: Sequence[str],
    measured: data_coverage.Coverage,
    improvements: Sequence[Improvement],
    path: pathlib.Path,
) -> pathlib.Path:
    """Draws the improvement against the coverage of each space; returns the path.

    Levels differ by color, as in the picture of coverage, and bases by shape.
    """
    figure, (axes,) = figures.subplots(len(data_coverage.SPACES), width=5.2, height=4.2)
    palette = matplotlib.colormaps["tab10"].colors
    colors = {name: palette[place % 10] for place, name in enumerate(names)}
    bases = sorted({one.algorithm for one in improvements})
    shapes = dict(zip(bases, "os^Dv", strict=False))
    for axis, space in zip(axes, data_coverage.SPACES, strict=True):
        shares = dict(zip(names, measured.shares[space].T, strict=True))
        for one in improvements:
            mean, half = one.interval
            own = shares[one.level]
            axis.errorbar(
                own.mean(),
                mean,
                xerr=own.std(),
                yerr=None if np.isnan(half) else half,  # One seed has no interval.
                fmt=shapes[one.algorithm],
                color=colors[one.level],
                capsize=3,
            )
        axis.axhline(0.0, color="black", linewidth=0.8)
        axis.set_xlim(-0.05, 1.05)
        axis.set_xlabel(f"share of cluster centers covered, {space}")
        axis.set_ylabel(f"SAMG minus vanilla,\nfinal {improvements[0].unit}")
    shown = [name for name in names if any(name == one.level for one in improvements)]
    handles = [
        patches.Patch(color=colors[name], label=figures.plain(name, LEGEND))
        for name in shown
    ]
    handles += [
        lines.Line2D(
            [], [], color="black", marker=shape, linestyle="", label=figures.plain(base)
        )
        for base, shape in shapes.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle(
        "Improvement against data coverage: mean, 95 % interval over the seeds, "
        "std over the repeats"
    )
    return figures.save(figure, path)
