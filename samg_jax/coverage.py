r"""Measures which share of state and action space the data of each level cover.

    python -m samg_jax.coverage --datasets=hopper-medium,hopper-medium-replay
    python -m samg_jax.coverage --datasets=hopper-demo,mine/random.hdf5 --repeats=3
    python -m samg_jax.coverage --datasets=hopper-demo --results=runs/studies

Levels are D4RL names, HDF5 files (such as D4RL's random and expert levels, which have
no name here) or `minari:ID`, all of one environment. The program prints a table. It
writes `coverage.csv`, with one row per level, space and repeat, and `coverage.png`.
With folders of results, a second table, `improvement.csv` and `improvement.png` compare
SAMG's gain over vanilla fine-tuning on these levels with their coverage.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

from absl import flags
from tqdm import tqdm

from samg_jax import checks, declarations, lazy, logs, startup
from samg_jax.experiment import command_line
from samg_jax.runs import signals

np = lazy.module("numpy")
data_coverage = lazy.module("samg_jax.paper.data_coverage")
coverage_figures = lazy.module("samg_jax.paper.coverage_figures")
figures = lazy.module("samg_jax.results.figures")
improvements = lazy.module("samg_jax.paper.improvements")
size_limits = lazy.module("samg_jax.experiment.size_limits")

_DEFAULTS = declarations.load("paper.data_coverage").defaults("Settings")
_LINKAGES = declarations.load("paper.clustering").constant("LINKAGES")
DATASETS = flags.DEFINE_list(
    "datasets", None, "The levels: D4RL names, HDF5 files and minari:ID."
)
OUT = flags.DEFINE_string("out", "runs/coverage", "Folder to write into.")
RESULTS = flags.DEFINE_list(
    "results", [], "Folders with vanilla and SAMG runs on these levels, at any depth."
)
SEED = command_line.define_integer("seed", 0, "The seed of the rows and of t-SNE.", 0)
flags.DEFINE_float(
    "share", _DEFAULTS["share"], "The share of the pooled rows that a repeat draws."
)
command_line.define_integer(
    "max_rows", _DEFAULTS["max_rows"], "The most rows of a repeat."
)
command_line.define_integer(
    "clusters", _DEFAULTS["clusters"], "The number of cluster centers."
)
flags.DEFINE_enum("linkage", _DEFAULTS["linkage"], _LINKAGES, "How clusters merge.")
command_line.define_integer(
    "min_samples",
    _DEFAULTS["min_samples"],
    "A center is covered by more samples than this; by fewer if a repeat draws less "
    "than the paper's tenth.",
)
flags.DEFINE_float("perplexity", _DEFAULTS["perplexity"], "The perplexity of t-SNE.")
flags.DEFINE_bool(
    "standardize", _DEFAULTS["standardize"], "Scale each dimension first."
)
command_line.define_integer(
    "repeats", _DEFAULTS["repeats"], "The number of random draws."
)
flags.mark_flag_as_required("datasets")
SETTINGS = (
    *("share", "max_rows", "clusters", "linkage", "min_samples", "perplexity"),
    *("standardize", "repeats"),
)


def main(argv: list[str]) -> None:
    """Measures what the flags describe."""
    del argv
    logs.quiet_libraries()
    with checks.program():
        settings = data_coverage.Settings(
            **{name: flags.FLAGS[name].value for name in SETTINGS}
        )
        out = pathlib.Path(OUT.value).expanduser()
        checks.folder(out, "--out=FOLDER")
        startup.begin()
    with signals.program():
        cover(settings, out)


def cover(settings: data_coverage.Settings, out: pathlib.Path) -> None:
    """Measures the levels, prints the table, and writes the files."""
    levels = data_coverage.load(DATASETS.value)
    pooled = sum(len(level.actions) for level in levels.values())
    announce(pooled, settings)
    names = list(levels)
    gains = improvements.read(RESULTS.value, names) if RESULTS.value else []
    rng = np.random.default_rng(SEED.value)
    with tqdm(total=2 * settings.repeats, unit="embedding") as bar:
        measured = data_coverage.measure(levels, settings, rng, bar.update)
    print(checks.with_flags(data_coverage.table(names, measured)))
    print(f"numbers: {coverage_figures.write(names, measured, out / 'coverage.csv')}")
    show(coverage_figures.draw, names, measured, out / "coverage.png")
    if gains:
        print(improvements.table(names, measured, gains))
        print(f"numbers: {improvements.write(gains, out / 'improvement.csv')}")
        show(improvements.draw, names, measured, gains, out / "improvement.png")


def announce(pooled: int, settings: data_coverage.Settings) -> None:
    """Says what a repeat draws; refuses one that the memory does not hold."""
    rows = data_coverage.sample_size(pooled, settings)
    # The clustering compares every pair of rows, in 64 bits.
    size_limits.memory(
        f"A repeat of {rows:,} rows takes", 4 * rows**2, "Lower --max_rows."
    )
    least = data_coverage.bound(rows, pooled, settings)
    wanted = int(settings.share * pooled)
    if rows < wanted:
        print(
            f"{settings.share:.0%} of {pooled:,} rows are {wanted:,}; a repeat draws "
            f"{rows:,}, as --max_rows says"
        )
    print(f"a center is covered by more than {least:.3g} samples of a level")
    if said := data_coverage.warning(least, pooled, settings):
        print(checks.with_flags(said))


def show(draw: Callable[..., pathlib.Path], *given: Any) -> None:
    """Draws a picture, if that can be, and says where it is."""
    picture = figures.drawn(draw, *given)
    if picture:
        print(f"picture: {picture}")


def run() -> None:
    """Runs the program with the arguments of the command line."""
    command_line.run(main)


if __name__ == "__main__":
    run()
