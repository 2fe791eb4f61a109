"""Data coverage: the share of the state and action space that a level's data reach.

SAMG (2024), Appendix C.7: the levels of one environment are pooled; a random tenth is
embedded by t-SNE, states and actions separately, and clustered hierarchically. A level
covers a cluster center if more than 50 of its samples are in the cluster.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import tabulate
from sklearn import manifold

from samg_jax import checks
from samg_jax.data import sources
from samg_jax.envs import tasks
from samg_jax.paper import clustering

SPACES = ("states", "actions")
PAPER_SHARE = 0.1  # The share of the pooled rows for which the bound of 50 holds.
# t-SNE squares distances in 32 bits; only their ratios matter.
MODERATE = 1e-12, 1e12
FEW_SAMPLES = 5.0  # With a smaller bound the result is mostly noise, which is reported.


class Level(NamedTuple):
    """The data of one level.

    Attributes:
        observations: `[T, O]`.
        actions: `[T, A]`.
    """

    observations: np.ndarray
    actions: np.ndarray


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of the measurement; "open" marks what the paper does not specify.

    Attributes:
        share: the share of the pooled rows that a repeat draws.
        max_rows: the largest number of rows of a repeat (open; t-SNE is slow).
        clusters: the number of clusters (open).
        linkage: the linkage of the hierarchical clustering (open).
        min_samples: the bound that a level's samples must exceed to cover a center, in
            a sample of the paper's size, a tenth of the pool; see `bound`.
        perplexity: the perplexity of t-SNE (open; scikit-learn's default).
        standardize: whether t-SNE gets each dimension in units of its standard
            deviation instead of raw (open).
        repeats: the number of random draws.
    """

    share: float = 0.1
    max_rows: int = 10_000
    clusters: int = 20
    linkage: str = "ward"
    min_samples: int = 50
    perplexity: float = 30.0
    standardize: bool = False
    repeats: int = 10

    def __post_init__(self):
        if not 0.0 < self.share <= 1.0:
            raise checks.UserError(
                f"share is {self.share!r}. It must be above 0 and at most 1. Set "
                "share to such a number, for example 0.1."
            )
        checks.choice("linkage", self.linkage, clustering.LINKAGES)
        checks.number("perplexity", self.perplexity, 0, np.inf, 30, strict=True)
        for field in ("clusters", "repeats", "min_samples"):
            checks.integer(field, getattr(self, field), 1)
        checks.integer("max_rows", self.max_rows, 2)
        check_rows(self.max_rows, self, "max_rows allows a repeat")


class Embedding(NamedTuple):
    """One repeat in one space.

    Attributes:
        points: `[n, 2]` of t-SNE.
        levels: `[n]` index of each row's level.
        clusters: `[n]` index of each row's cluster.
    """

    points: np.ndarray
    levels: np.ndarray
    clusters: np.ndarray


class Coverage(NamedTuple):
    """The results of the measurement.

    Attributes:
        rows: the number of rows that a repeat drew.
        pooled: the number of rows that it drew from.
        bound: the bound that a level's samples must exceed to cover a center.
        shares: space -> `[repeats, L]` covered shares of the cluster centers.
        examples: space -> the embedding of the first repeat.
        warning: a warning of a bound so low that the result is noise; else empty.
    """

    rows: int
    pooled: int
    bound: float
    shares: dict[str, np.ndarray]
    examples: dict[str, Embedding]
    warning: str = ""


def load(datasets: list[str]) -> dict[str, Level]:
    """The data of files, named by their stems, and of named datasets.

    Raises:
        checks.UserError: There is no dataset, or one is unknown, listed twice or from
            another environment.
        DownloadError: A D4RL file is missing and cannot be downloaded.
    """
    if not datasets or not all(given.strip() for given in datasets):
        raise checks.UserError(
            f"datasets is {','.join(datasets)!r}, which has an empty name or none at "
            "all. It must list datasets or HDF5 files, separated by commas. Set "
            "datasets=hopper-medium,hopper-medium-replay, for example."
        )
    levels: dict[str, Level] = {}
    robots: dict[str, str] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for given in map(str.strip, datasets):
        name, robot = sources.label(given), None
        if sources.split(given)[1] is None and not sources.minari_id(given):
            robot = tasks.for_dataset(name).env_id.split("-")[0]
        if name in levels:
            raise checks.UserError(
                f"Two of the datasets are called {name!r}. Each level needs a name of "
                "its own. List it once, or rename a file."
            )
        raw, _ = sources.read(*sources.split(given))
        levels[name] = Level(raw.observations, raw.actions)
        sizes[name] = raw.observations.shape[1], raw.actions.shape[1]
        robot = robot or str(raw.attributes.get("env_id", "")).split("-")[0]
        if robot:  # Other files may not contain it.
            robots[name] = robot
    groups: list[tuple[Mapping[str, object], str]] = [
        (robots, "environments"),
        (sizes, "sizes of rows"),
    ]
    for found, what in groups:
        if len(set(found.values())) > 1:
            raise checks.UserError(
                f"The datasets are of different {what}: {found}. Coverage compares the "
                "levels of one environment. Pass only datasets of one."
            )
    check_varied(levels)
    return levels


def check_varied(levels: Mapping[str, Level]) -> None:
    """Refuses data that are the same in every row: t-SNE has nothing to embed."""
    rows = [level.observations for level in levels.values() if len(level.observations)]
    first = rows[0][0]
    if all((own == first).all() for own in rows):
        raise checks.UserError(
            f"All observations of {', '.join(levels)} are the same, so that coverage "
            "cannot be compared. Give data in which the state changes."
        )


def measure(
    levels: Mapping[str, Level],
    settings: Settings,
    rng: np.random.Generator,
    step: Callable[[], None] = lambda: None,
) -> Coverage:
    """Measure the coverage of every level.

    Args:
        levels: The data of each level, all from one environment.
        settings: The settings of the measurement.
        rng: The generator that draws rows and starts t-SNE.
        step: A function to call after each embedding, `2 * repeats` times.

    Raises:
        checks.UserError: There are too few rows to draw from, or too many per repeat.
    """
    data = list(levels.values())
    pooled = sum(len(level.actions) for level in data)
    rows = sample_size(pooled, settings)
    least = bound(rows, pooled, settings)
    shares = {space: [] for space in SPACES}
    examples = {}
    for _ in range(settings.repeats):
        drawn = draw([len(level.actions) for level in data], rows, rng)
        owners = np.repeat(np.arange(len(data)), [len(own) for own in drawn])
        seed = int(rng.integers(2**31))
        for space, arrays in zip(SPACES, zip(*data, strict=True), strict=True):
            points = embed(
                np.concatenate([a[own] for a, own in zip(arrays, drawn, strict=True)]),
                settings,
                seed,
            )
            numbers = clustering.assign(points, settings.clusters, settings.linkage)
            found = Embedding(points, owners, numbers)
            shares[space].append(covered(found, len(data), settings.clusters, least))
            examples.setdefault(space, found)
            step()
    shares = {space: np.array(found) for space, found in shares.items()}
    said = warning(least, pooled, settings)
    return Coverage(rows, pooled, least, shares, examples, said)


def sample_size(pooled: int, settings: Settings) -> int:
    """The number of rows that a repeat draws from `pooled` rows."""
    rows = min(int(settings.share * pooled), settings.max_rows)
    check_rows(rows, settings, f"a repeat draws, of {pooled:,} rows in all,")
    return rows


def check_rows(rows: int, settings: Settings, words: str) -> None:
    """Refuses `rows` with which t-SNE or the clustering could not work."""
    for flag, value in [
        ("perplexity", settings.perplexity),
        ("clusters", settings.clusters),
    ]:
        if value >= rows:
            raise checks.UserError(
                f"{flag} is {value:g}, but {words} {rows:,} rows. It must be less than "
                f"the rows of a repeat. Set {flag} to less, or use more data or a "
                "larger share or max_rows."
            )


def bound(rows: int, pooled: int, settings: Settings) -> float:
    """The number of a level's samples that must be exceeded to cover a center.

    The paper's bound is for a tenth of the pooled rows. A smaller sample has
    proportionally fewer rows in every cluster, so the bound shrinks with it.

    Raises:
        checks.UserError: The bound is below 1, so any sample would cover a center.
    """
    least = settings.min_samples * min(rows / (PAPER_SHARE * pooled), 1.0)
    if least < 1.0:
        raise checks.UserError(
            f"A repeat draws {rows:,} of {pooled:,} rows, so a center would be covered "
            f"by more than {least:.3g} samples of a level, that is by any. It must be "
            f"1 or more. {remedy(1.0, pooled, settings)}"
        )
    return least


def warning(least: float, pooled: int, settings: Settings) -> str:
    """A warning if the bound is so low that few samples decide, or nothing."""
    if least >= FEW_SAMPLES:
        return ""
    return (
        f"WARNING: more than {least:.3g} samples of a level cover a center, so few "
        f"that chance decides where levels overlap; {FEW_SAMPLES:g} would do. "
        f"{remedy(FEW_SAMPLES, pooled, settings)}"
    )


def remedy(least: float, pooled: int, settings: Settings) -> str:
    """The settings that would reach a bound."""
    if settings.min_samples < least:
        return f"Set min_samples to {least:g} or more."
    rows = math.ceil(least * PAPER_SHARE * pooled / settings.min_samples)
    flags = [f"max_rows={rows}"] * (settings.max_rows < rows)
    flags += [f"share={PAPER_SHARE}"] * (int(settings.share * pooled) < rows)
    return f"Set {' and '.join(flags)} or more."


def draw(lengths: list[int], rows: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of each level, drawn from the pool without replacement."""
    pooled = np.sort(rng.choice(sum(lengths), rows, replace=False, shuffle=False))
    ends = np.cumsum(lengths)
    parts = np.split(pooled, np.searchsorted(pooled, ends[:-1]))
    return [own - first for own, first in zip(parts, ends - lengths, strict=True)]


def embed(rows: np.ndarray, settings: Settings, seed: int) -> np.ndarray:
    """Embed rows `[n, D]` in two dimensions, `[n, 2]`, by t-SNE."""
    rows = rows.astype(np.float64)
    if not np.ptp(rows, axis=0).any():  # t-SNE would end the process.
        return np.zeros((len(rows), 2), np.float32)
    extent = np.ptp(rows, axis=0).max()
    if not MODERATE[0] < extent < MODERATE[1]:
        rows = (rows - rows.mean(axis=0)) / extent
    if settings.standardize:
        deviations = rows.std(axis=0)
        rows = (rows - rows.mean(axis=0)) / np.where(deviations > 0, deviations, 1.0)
    model = manifold.TSNE(
        perplexity=settings.perplexity,
        # This is its own default, but principal components need two dimensions.
        init="pca" if rows.shape[1] > 1 else "random",
        random_state=seed,
    )
    return model.fit_transform(rows)


def covered(
    embedding: Embedding, levels: int, clusters: int, least: float
) -> np.ndarray:
    """The share of the cluster centers that each level covers, `[L]`.

    Args:
        embedding: The embedding of one repeat.
        levels: The number of levels.
        clusters: The number of clusters.
        least: The bound from `bound`.
    """
    counts = np.zeros((clusters, levels), int)
    np.add.at(counts, (embedding.clusters, embedding.levels), 1)
    return (counts > least).mean(axis=0)


def table(names: list[str], coverage: Coverage) -> str:
    """A line of means and deviations per level, and the warning."""
    rows = []
    for index, name in enumerate(names):
        own = [coverage.shares[space][:, index] for space in SPACES]
        rows.append([name, *(f"{one.mean():.3f} ± {one.std():.3f}" for one in own)])
    text = tabulate.tabulate(rows, ["level", *SPACES], "plain", disable_numparse=True)
    return "\n".join([text, *[coverage.warning] * bool(coverage.warning)])
