"""Data coverage, on made data where the answer is known."""

import csv
import pathlib
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from matplotlib import image
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from sklearn import metrics

import samg_jax
from samg_jax import checks
from samg_jax.paper import clustering, coverage_figures, data_coverage
from tests.fixtures import called_programs, small_experiments

SMALL = {"max_rows": 5_000}
ROOT = pathlib.Path(samg_jax.__file__).parents[1]


def blobs(rng, places, rows):
    """Returns points `[rows, 3]` around some of four places, equally many each."""
    centers = 40.0 * np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, -1]])
    chosen = centers[np.resize(places, rows)]
    return chosen + rng.normal(size=(rows, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def measured():
    """Of four places `wide` reaches all in states, `narrow` two; in actions it is
    one against three, and `rare` is everywhere but seldom."""
    rng = np.random.default_rng(0)
    levels = {
        "wide": data_coverage.Level(
            blobs(rng, [0, 1, 2, 3], 1200), blobs(rng, [0], 1200)
        ),
        "narrow": data_coverage.Level(
            blobs(rng, [1, 2], 1200), blobs(rng, [1, 2, 3], 1200)
        ),
        "rare": data_coverage.Level(
            blobs(rng, [0, 1, 2, 3], 60), blobs(rng, [0, 1, 2, 3], 60)
        ),
    }
    settings = data_coverage.Settings(
        share=0.1, max_rows=240, clusters=4, min_samples=10, repeats=2
    )
    steps = []
    found = data_coverage.measure(levels, settings, rng, lambda: steps.append(1))
    assert len(steps) == 4
    return found


def test_known_coverage_is_found(measured):
    assert (measured.pooled, measured.rows) == (2460, 240)
    np.testing.assert_array_equal(measured.shares["states"], [[1, 0.5, 0]] * 2)
    np.testing.assert_array_equal(measured.shares["actions"], [[0.25, 0.75, 0]] * 2)
    table = data_coverage.table(["wide", "narrow", "rare"], measured).splitlines()
    assert table[0].split() == ["level", "states", "actions"]
    cells = [line.split() for line in table[1:]]
    assert cells[0] == ["wide", "1.000", "±", "0.000", "0.250", "±", "0.000"]
    assert cells[1] == ["narrow", "0.500", "±", "0.000", "0.750", "±", "0.000"]


def test_clusters_are_the_places(measured):
    for example in measured.examples.values():
        assert len(np.unique(example.clusters)) == 4
        # Every place is one heap of its own in the embedding.
        assert metrics.silhouette_score(example.points, example.clusters) > 0.5


def test_a_center_is_covered_by_more_samples_than_the_bound():
    clusters = np.repeat([0, 1, 2], [51, 50, 200])
    levels = np.repeat([0, 0, 1], [51, 50, 200])
    example = data_coverage.Embedding(np.zeros((301, 2)), levels, clusters)
    np.testing.assert_allclose(data_coverage.covered(example, 2, 3, 50), [1 / 3, 1 / 3])
    np.testing.assert_allclose(
        data_coverage.covered(example, 2, 3, 49.9), [2 / 3, 1 / 3]
    )


@pytest.mark.parametrize(
    ("rows", "pooled", "bound"),
    [
        (1_000, 10_000, 50),  # The paper's tenth.
        (500, 10_000, 25),
        (10_000, 3_000_000, 50 * 10_000 / 300_000),
        (10_000, 10_000, 50),  # More than it draws: its bound as it is.
    ],
)
def test_the_bound_falls_with_a_sample_smaller_than_the_papers(rows, pooled, bound):
    settings = data_coverage.Settings(share=rows / pooled, max_rows=10_000)
    assert data_coverage.sample_size(pooled, settings) == rows
    assert data_coverage.bound(rows, pooled, settings) == pytest.approx(bound)


def test_coverage_hardly_depends_on_the_size_of_the_sample():
    # Two levels at one place each, one place for both: 800 rows of each in a pool of
    # 2,400, of which the paper would draw 240, or 80 of each.
    rng = np.random.default_rng(0)
    levels = {
        "one": data_coverage.Level(*[blobs(rng, [0, 1], 1200)] * 2),
        "two": data_coverage.Level(*[blobs(rng, [1, 2], 1200)] * 2),
    }
    for max_rows in (240, 60):
        settings = data_coverage.Settings(
            max_rows=max_rows, clusters=3, min_samples=30, perplexity=15, repeats=2
        )
        found = data_coverage.measure(levels, settings, rng)
        assert (found.rows, found.bound) == (max_rows, 30 * max_rows / 240)
        for shares in found.shares.values():
            np.testing.assert_allclose(shares, 2 / 3)


def overlapping(rng, rows):
    """Returns two levels that share half of the states and differ by it in actions."""
    spread, narrow = (rng.uniform(0, high, (rows, 2)) for high in ((2, 1), (1, 1)))
    shift = [[0.5, 0.0]]
    return {
        "wide": data_coverage.Level(spread, narrow),
        "narrow": data_coverage.Level(narrow, narrow + shift),
    }


def test_levels_that_overlap_are_covered_alike_by_samples_of_any_allowed_size():
    # Of 4,000 rows the paper would draw 400. Without the proportional bound the small
    # sample would find hardly a center covered; with any sample enough, nearly all.
    rng = np.random.default_rng(0)
    levels = overlapping(rng, 2_000)
    shares = {}
    for rows in (400, 150):
        settings = data_coverage.Settings(
            max_rows=rows, clusters=8, min_samples=20, perplexity=15, repeats=2
        )
        found = data_coverage.measure(levels, settings, rng)
        assert found.bound == 20 * rows / 400 >= data_coverage.FEW_SAMPLES
        assert found.warning == ""
        shares[rows] = {space: own.mean(axis=0) for space, own in found.shares.items()}
    for space in data_coverage.SPACES:
        assert shares[400][space].min() < 0.9  # There is something to find.
        np.testing.assert_allclose(shares[150][space], shares[400][space], atol=0.15)


def test_a_bound_that_one_sample_passes_is_refused():
    settings = data_coverage.Settings(**SMALL)
    with pytest.raises(
        ValueError,
        match=r"5,000 of 3,400,000 rows, .* by more than 0\.735 .* must be 1 or more\. "
        r"Set max_rows=6800 or more\.",
    ):
        data_coverage.bound(5_000, 3_400_000, settings)
    enough = data_coverage.Settings(max_rows=6_800)
    assert data_coverage.bound(6_800, 3_400_000, enough) == pytest.approx(1)
    few = data_coverage.Settings(share=0.001)
    rows = np.zeros((100_000, 1), np.float32)
    with pytest.raises(ValueError, match=r"by more than 0\.5 .* share=0\.1 or more"):
        data_coverage.measure({"one": data_coverage.Level(rows, rows)}, few, None)


@pytest.mark.parametrize(
    ("bound", "settings", "remedy"),
    [
        (2.5, SMALL, "Set max_rows=10000 or more."),
        (
            2.5,
            {**SMALL, "share": 0.005},
            "Set max_rows=10000 and share=0.1 or more.",
        ),
        (4.9, {"max_rows": 20_000, "share": 0.005}, "Set share=0.1 or more."),
        (3, {"min_samples": 3}, "Set min_samples to 5 or more."),
    ],
)
def test_a_bound_of_few_samples_is_warned_of(bound, settings, remedy):
    said = data_coverage.warning(bound, 1_000_000, data_coverage.Settings(**settings))
    assert said.startswith(f"WARNING: more than {bound:g} samples of a level cover")
    assert said.endswith(remedy)
    assert not data_coverage.warning(5, 1_000_000, data_coverage.Settings(**settings))


def test_the_picture_says_that_few_samples_decide(measured, tmp_path, figures):
    names = ["wide", "narrow", "rare"]
    for found in (measured, measured._replace(bound=2.5, warning="WARNING: few")):
        coverage_figures.draw(names, found, tmp_path / "coverage.png")
    plain, warned = (figure.get_suptitle() for figure in figures)
    assert "WARNING" not in plain
    assert warned.endswith(
        "more than 2.5 samples of the level\nWARNING: so few that chance decides"
    )


def test_the_picture_is_labeled_and_its_legend_names_every_level(
    measured, tmp_path, figures
):
    names = ["wide", "narrow", "rare"]
    coverage_figures.draw(names, measured, tmp_path / "coverage.png")
    (figure,) = figures
    *embeddings, bars = figure.axes
    for axis, space in zip(embeddings, data_coverage.SPACES, strict=True):
        labels = axis.get_xlabel(), axis.get_ylabel()
        assert labels == ("first dimension of t-SNE", "second dimension of t-SNE")
        assert axis.get_title() == f"{space}, ✕ cluster centers"
        points, centers = (found.get_offsets() for found in axis.collections)
        assert (len(points), len(centers)) == (240, 4)
    assert bars.get_ylabel() == "share of cluster centers"
    ticks = [text.get_text() for text in bars.get_xticklabels()]
    assert ticks == list(data_coverage.SPACES)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    explained = [to_hex(patch.get_facecolor()) for patch in legend.get_patches()]
    groups = [one for one in bars.containers if isinstance(one, BarContainer)]
    for index, (group, color) in enumerate(zip(groups, explained, strict=True)):
        assert {to_hex(bar.get_facecolor()) for bar in group} == {color}
        heights = [bar.get_height() for bar in group]
        expected = [shares[:, index].mean() for shares in measured.shares.values()]
        np.testing.assert_allclose(heights, expected)
    # The points of a level have its color in the embeddings, too.
    levels = measured.examples["states"].levels
    found = [to_hex(color) for color in embeddings[0].collections[0].get_facecolors()]
    assert sorted(map(found.count, explained)) == sorted(np.bincount(levels))


def test_rows_are_drawn_from_the_pool_uniformly_and_once():
    rng, lengths = np.random.default_rng(0), [300, 0, 100]
    hits = [np.zeros(length) for length in lengths]
    for _ in range(400):
        drawn = data_coverage.draw(lengths, 40, rng)
        assert sum(map(len, drawn)) == 40
        for rows, own in zip(drawn, hits, strict=True):
            assert len(np.unique(rows)) == len(rows)
            own[rows] += 1
    rates = np.concatenate(hits) / 400
    assert rates.mean() == pytest.approx(0.1)
    assert np.abs(rates - 0.1).max() < 5 * np.sqrt(0.1 * 0.9 / 400)


def test_the_draw_follows_from_the_seed():
    rng = np.random.default_rng(1)
    levels = {"one": data_coverage.Level(*np.split(blobs(rng, [0, 1], 200), 2))}
    settings = data_coverage.Settings(share=0.5, clusters=2, repeats=1, perplexity=5)
    first, again, other = (
        data_coverage.measure(levels, settings, np.random.default_rng(seed)).examples
        for seed in (0, 0, 1)
    )
    for space in data_coverage.SPACES:
        np.testing.assert_array_equal(first[space].points, again[space].points)
        assert not np.array_equal(first[space].points, other[space].points)


def test_a_million_rows_need_no_more_memory_than_the_sample():
    rows = np.zeros((1_000_000, 3), np.float32)
    rows[:, 0] = np.arange(1_000_000)
    levels = {"large": data_coverage.Level(rows, rows[:, :1])}  # One dimension will do.
    settings = data_coverage.Settings(
        max_rows=60, clusters=5, repeats=1, min_samples=10_000
    )
    tracemalloc.start()
    found = data_coverage.measure(levels, settings, np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.rows, found.pooled) == (60, 1_000_000)
    assert peak < rows.nbytes


def test_dimensions_are_scaled_on_demand():
    rows = np.float64(blobs(np.random.default_rng(0), [0, 1], 60))
    rows = np.concatenate([rows, np.full((60, 1), 7.0)], axis=1)
    units = np.zeros_like(rows)  # What never varies does not count.
    units[:, :3] = (rows[:, :3] - rows[:, :3].mean(axis=0)) / rows[:, :3].std(axis=0)
    raw = data_coverage.Settings(perplexity=5)
    expected = data_coverage.embed(units, raw, 0)
    scaling = data_coverage.Settings(perplexity=5, standardize=True)
    for factor in (1, 1024):  # A power of two changes no digit.
        found = data_coverage.embed(rows * [1, 1, factor, 1], scaling, 0)
        np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(data_coverage.embed(rows, raw, 0), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": 0.0}, "share is 0.0. It must be above 0"),
        ({"linkage": "wrad"}, "linkage is 'wrad'.* Did you mean 'ward'"),
        ({"max_rows": 30}, "perplexity is 30, but max_rows allows a repeat 30 rows"),
        ({"perplexity": 1e4}, "perplexity is 10000, but .* Set perplexity to less"),
        ({"clusters": 20_000}, "clusters is 20000, but .* 10,000 rows"),
        ({"perplexity": -1.0}, "perplexity is -1.0"),
        ({"repeats": 0}, "repeats is 0"),
        ({"min_samples": 0}, "min_samples is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        data_coverage.Settings(**settings)


def test_too_few_rows_are_refused():
    with pytest.raises(
        ValueError, match=r"perplexity is 30, but a repeat draws, of 300 .*, 30 rows"
    ):
        data_coverage.sample_size(300, data_coverage.Settings())
    with pytest.raises(
        ValueError, match=r"perplexity is 500, .* of 4,000 .*, 400 rows"
    ):
        data_coverage.sample_size(4000, data_coverage.Settings(perplexity=500))
    with pytest.raises(ValueError, match=r"clusters is 40, .*, 40 rows"):
        data_coverage.sample_size(400, data_coverage.Settings(clusters=40))


@pytest.mark.parametrize("value", [0.0, 1.0, -3e7])
def test_observations_that_are_all_the_same_are_refused(value):
    same = data_coverage.Level(np.full((300, 3), value), np.eye(300, 2))
    other = data_coverage.Level(np.full((300, 3), value + 1), np.eye(300, 2))
    with pytest.raises(checks.UserError, match="observations of one, two are the same"):
        data_coverage.check_varied({"one": same, "two": same})
    data_coverage.check_varied({"one": same, "two": other})


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30])
def test_actions_of_any_scale_are_embedded_also_without_any(scale):
    rng = np.random.default_rng(0)
    settings = data_coverage.Settings(perplexity=5, clusters=3, max_rows=50)
    rows = (scale * rng.normal(size=(50, 2))).astype(np.float32)
    points = data_coverage.embed(rows, settings, 0)
    assert np.isfinite(points).all()
    assert bool(np.ptp(points)) == bool(scale)
    numbers = clustering.assign(points, 3, "ward")
    assert len(set(numbers)) == (3 if scale else 1)


@pytest.mark.parametrize("given", [[], [""], ["hopper-demo", " "]])
def test_no_datasets_are_refused(given):
    with pytest.raises(ValueError, match="an empty name or none at all"):
        data_coverage.load(given)


# The program.


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return small_experiments.write_dataset(
        tmp_path_factory.mktemp("data") / "random.hdf5", 300
    )


def run(*flags):
    """Runs `python -m samg_jax.coverage`; returns the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "samg_jax.coverage", *flags],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


def test_the_program_prints_writes_and_draws(file, tmp_path):
    out = tmp_path / "new"
    process = run(
        f"--datasets=hopper-demo,{file}",
        *("--max_rows=100", "--clusters=3", "--min_samples=200", "--repeats=2"),
        f"--out={out}",
    )
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert lines[0] == (
        "10% of 100,300 rows are 10,030; a repeat draws 100, as --max_rows says"
    )
    assert lines[1] == "a center is covered by more than 1.99 samples of a level"
    firsts = [line.split()[0] for line in lines[2:7]]
    assert firsts == ["WARNING:", "level", "hopper-demo", "random", "WARNING:"]
    assert lines[2] == lines[6]
    assert lines[2].endswith("Set --max_rows=251 or more.")
    with (out / "coverage.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) == 2 * 2 * 2
    assert set(rows[0]) == {
        *("level", "space", "repeat", "coverage", "bound", "warning")
    }
    said = lines[2].replace("--max_rows", "max_rows")
    assert {row["warning"] for row in rows} == {said}
    assert float(rows[0]["bound"]) == pytest.approx(200 * 100 / 10_030)
    for row in rows:  # Of 100 rows nearly all are of the demo.
        assert (float(row["coverage"]) == 1) == (row["level"] == "hopper-demo")
    assert image.imread(out / "coverage.png").shape[1] == 2025
    assert str(out / "coverage.png") in lines[-1]


def test_datasets_of_two_environments_are_refused(file, tmp_path):
    other = tmp_path / "other.hdf5"
    small_experiments.write_dataset(other, 10, "HalfCheetah-v4")
    with pytest.raises(ValueError, match=r"of different sizes of rows: .*'other'"):
        data_coverage.load([str(file), str(other)])
    with pytest.raises(ValueError, match="Two of the datasets are called 'random'"):
        data_coverage.load([str(file), str(file)])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"datasets": ["hoper-demo"]}, "Unknown dataset 'hoper-demo'. Did you mean"),
        ({"datasets": ["hopper-expert"]}, "curl --location --fail --remote-name http"),
        ({"datasets": ["walker2d-random-v2"]}, "/walker2d_random-v2.hdf5, or make"),
        ({"datasets": ["a/hopper_expert-v2.hdf5"]}, "No dataset file at 'a/hopper"),
        ({"datasets": ["minari:a/b-v0"]}, "minari download a/b-v0"),
        ({"datasets": [""]}, "datasets is '', which has an empty name"),
        ({"datasets": ["hopper-demo"], "perplexity": 1e4}, "perplexity is 10000, but"),
        ({"datasets": ["hopper-demo"], "results": ["gone"]}, "'gone', which is no fol"),
    ],
)
def test_mistakes_are_refused_before_anything_is_measured(
    flags, message, tmp_path, monkeypatch
):
    monkeypatch.setattr(data_coverage, "measure", None)
    with (
        called_programs.running("coverage", out=str(tmp_path), **flags) as program,
        pytest.raises(SystemExit) as error,
    ):
        program.main(["coverage"])
    assert str(error.value).startswith("error: ")
    assert message in str(error.value)
