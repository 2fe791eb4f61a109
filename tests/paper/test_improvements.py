"""SAMG's improvement by level, read from runs and held against coverage."""

import csv
import shutil

import numpy as np
import pytest

from samg_jax.paper import data_coverage, improvements
from tests.fixtures import called_programs, small_runs


@pytest.fixture(scope="module")
def studies(awac_run, samg_run, tmp_path_factory):
    """A folder with a run of each kind on `random`, one deeper than the other."""
    folder = tmp_path_factory.mktemp("studies")
    shutil.copytree(awac_run, folder / "other" / "vanilla")
    shutil.copytree(samg_run, folder / "samg")
    return folder


def test_runs_are_found_by_level_and_base(studies):
    (found,) = improvements.read([str(studies)], ["random", "hopper-demo"])
    assert (found.level, found.algorithm, found.seeds) == ("random", "awac", (0, 1))
    ends = [
        {
            row.seed: row.normalized_score
            for row in small_runs.evaluations(studies / name)
        }
        for name in ("other/vanilla", "samg")
    ]
    np.testing.assert_allclose(found.gains, [ends[1][s] - ends[0][s] for s in (0, 1)])
    with pytest.raises(ValueError, match="No level of hopper-demo has a vanilla run"):
        improvements.read([str(studies)], ["hopper-demo"])
    with pytest.raises(ValueError, match="No level of random has a vanilla run"):
        improvements.read([str(studies / "other")], ["random"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"d4rl"', '"stock"', "differ in physics: d4rl and stock"),
        ("online,0,", "online,7,", "no seed in common"),
    ],
)
def test_what_is_not_alike_is_not_compared(old, new, message, studies, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(studies / "samg", other)
    if "d4rl" in old:
        small_runs.change_config(other, "physics", "stock")
    else:
        text = (other / "metrics.csv").read_text().replace(old, new)
        (other / "metrics.csv").write_text(text.replace("online,1,", "online,8,"))
    pair = [studies / "other" / "vanilla", other]
    with pytest.raises(ValueError, match=message):
        improvements.difference("random", "awac", pair)


def test_a_second_run_of_a_kind_is_refused(studies, tmp_path):
    shutil.copytree(studies / "samg", tmp_path / "again")
    with pytest.raises(ValueError, match="two runs of awac samg on random"):
        improvements.read([str(studies), str(tmp_path)], ["random"])


def test_the_program_holds_the_improvement_against_coverage(
    studies, dataset, tmp_path, capsys
):
    values = {"datasets": [str(dataset)], "results": [str(studies)], "repeats": 1}
    values |= {"clusters": 3, "share": 0.25, "out": str(tmp_path)}
    with called_programs.running("coverage", **values) as program:
        program.main(["coverage"])
    printed = capsys.readouterr().out
    (found,) = improvements.read([str(studies)], ["random"])
    mean, half = found.interval
    assert f"{mean:+.1f} ± {half:.1f}" in printed.splitlines()[-3]
    with (tmp_path / "improvement.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    assert [float(row["improvement"]) for row in rows] == found.gains.tolist()
    assert [row["seed"] for row in rows] == ["0", "1"]
    assert (tmp_path / "improvement.png").stat().st_size > 10_000


def test_the_picture_has_a_point_per_level_and_base(tmp_path, figures):
    names = ["low", "high"]
    measured = data_coverage.Coverage(
        rows=10,
        pooled=100,
        bound=1.0,
        shares={
            "states": np.array([[0.2, 0.9], [0.4, 0.9]]),
            "actions": np.array([[0.1, 0.5], [0.1, 0.7]]),
        },
        examples={},
    )
    found = [
        improvements.Improvement(level, base, "normalized score", (0, 1), gains)
        for level, base, gains in [
            ("low", "awac", np.array([5.0, 7.0])),
            ("high", "awac", np.array([1.0, 1.0])),
            ("low", "iql", np.array([-2.0, -4.0])),
        ]
    ]
    improvements.draw(names, measured, found, tmp_path / "improvement.png")
    for axis, shares in zip(figures[0].axes, [(0.3, 0.9), (0.1, 0.6)], strict=True):
        points = [bars.lines[0].get_xydata() for bars in axis.containers]
        expected = [(shares[0], 6.0), (shares[1], 1.0), (shares[0], -3.0)]
        np.testing.assert_allclose(np.reshape(points, (3, 2)), expected)
        # A level has one color, a base one shape.
        drawn = [bars.lines[0] for bars in axis.containers]
        colors = [line.get_color() for line in drawn]
        assert colors[0] == colors[2] != colors[1]
        assert [line.get_marker() for line in drawn] == ["o", "o", "s"]
    (legend,) = figures[0].legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["low", "high", "awac", "iql"]
    states, _ = figures[0].axes
    assert states.get_ylabel() == "SAMG minus vanilla,\nfinal normalized score"
    assert "states" in states.get_xlabel()
    lines = improvements.table(names, measured, found).splitlines()
    assert lines[1].split()[:5] == ["low", "0.300", "0.100", "awac", "2"]
    assert lines[3].split()[-3:] == ["-3.0", "±", "12.7"]


@pytest.mark.parametrize("content", [b"", b"null", b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_config_below_the_results_is_named(content, tmp_path):
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "config.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json is not the config of a run"):
        improvements.read([str(tmp_path)], ["hopper-medium"])
    # What another program left there is no run.
    path.write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="No level of hopper-medium has"):
        improvements.read([str(tmp_path)], ["hopper-medium"])
