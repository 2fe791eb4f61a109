"""Finished runs as rows of the tidy table, and their report."""

import shutil

import ml_collections
import numpy as np
import pandas as pd
import pytest

from samg_jax import checks
from samg_jax.results import (
    pairing,
    result_folders,
    seed_outcomes,
    tidy_table,
    workdirs,
)
from samg_jax.runs import evaluation, run_output, saved_configs
from tests.fixtures import called_programs, made_suite, small_runs


def test_rows_are_those_of_the_run(samg_run, dataset):
    frame = result_folders.read([samg_run]).frame
    assert set(frame["variant"]) == {"offline", "samg"}
    assert set(frame["dataset"]) == {dataset.stem}
    rows = [row for row in small_runs.evaluations(samg_run) if row.phase == "online"]
    own = frame[frame["phase"] == "online"].set_index(["seed", "step"])
    for row in rows:
        found = own.loc[(row.seed, row.env_step)]
        assert found["score"] == row.normalized_score
        assert found["return"] == row.return_mean
        assert (found["updates"], found["physics"]) == (60, "d4rl")
    assert set(frame["networks"]) - {""}


def test_the_columns_of_a_sweep_and_of_success_are_read(tmp_path):
    writer = run_output.Writer(tmp_path, np.array([4]), tensorboard=False, sweep=True)
    scores = run_output_scores([50.0])
    writer.evaluation("offline", (100, 0), scores, np.array([True]))
    writer.replicas = [(4, "threshold=0.3 tau=1"), (4, "threshold=1e-2 tau=1")]
    rates = {"success_rate": np.array([0.5, 1.0])}
    scores = run_output_scores([50.0, 60.0])
    writer.evaluation("online", (100, 30), scores, np.array([True, False]))
    writer.training("online", (100, 30), rates)
    writer.close()
    frame = tidy_table.of_run(tmp_path, algorithm="awac", variant="samg", dataset="d")
    assert list(frame.columns) == list(tidy_table.COLUMNS)
    assert frame["variant"].tolist() == [
        *("offline", "samg threshold=0.3 tau=1", "samg threshold=1e-2 tau=1"),
    ]
    assert frame["step"].tolist() == [100, 30, 30]
    assert frame["failed"].tolist() == [0, 0, 1]
    assert frame["success"].tolist()[1:] == [0.5, 1.0]


def run_output_scores(scores):
    count = len(scores)
    return evaluation.Scores(np.ones((count, 2)), np.array(scores), np.ones(count))


@pytest.fixture(scope="module")
def report(samg_run, awac_run, tmp_path_factory):
    """The folder of the report of two runs, by the program."""
    out = tmp_path_factory.mktemp("runs") / "report"
    with called_programs.running("report", out=str(out), reps=20) as program:
        program.main(["report", str(awac_run), str(samg_run)])
    return out


def test_runs_get_the_page_the_tables_and_the_data_of_a_suite(report):
    html = (report / "index.html").read_text()
    assert "This report compares vanilla and samg for awac with 2 seeds" in html
    assert 'id="dataset-random"' in html
    assert 'id="compute"' not in html  # A run does not measure its job.
    assert (report / "tables" / "scores_random.tex").exists()
    assert len(list((report / "figures").glob("*.png"))) == 3
    frame = tidy_table.read(report)
    # The pre-training of both is there once.
    assert not frame.duplicated([*tidy_table.RUN, "phase", "step"]).any()
    (row,) = pairing.differences(seed_outcomes.of(frame), "final").to_dict("records")
    assert (row["over"], len(row["values"])) == ("vanilla", 2)


def test_the_report_is_made_again_from_its_own_data(report, tmp_path):
    with called_programs.running("report", out=str(tmp_path), reps=20) as program:
        program.main(["report", str(report)])
    for name in ("results.csv", "configs.json"):
        assert (tmp_path / name).read_bytes() == (report / name).read_bytes()
    titles = [(p / "report.md").read_text().split("\n", 1) for p in (report, tmp_path)]
    assert titles[0][1] == titles[1][1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"algorithm": "awac"', '"algorithm": "iql"'),
        ('"weight": "cvae"', '"weight": "none"'),
        ('"episodes": ', '"episodes": 1'),
    ],
)
def test_an_edited_config_is_refused_by_name(samg_run, tmp_path, before, after):
    workdir = tmp_path / "run"
    shutil.copytree(samg_run, workdir)
    text = (workdir / "config.json").read_text()
    assert before in text
    workdirs.read_run(workdir)
    edited = text.replace(before, after, 1)
    (workdir / "config.json").write_text(edited)
    with pytest.raises(checks.UserError, match=r"config\.json was edited"):
        workdirs.read_run(workdir)
    for copy in workdir.glob("o*line/[0-9]*/config_copy.json"):  # As sed would.
        copy.write_text(edited)
    with pytest.raises(checks.UserError, match=r"not the config with which"):
        workdirs.read_run(workdir)


def test_a_config_that_nothing_keeps_is_said_to_be_believed(tmp_path, caplog):
    saved_configs.check_kept(tmp_path, {"algorithm": "awac"})
    assert "believed as it stands" in caplog.text


def test_a_second_run_of_a_kind_is_named_by_its_folder(samg_run, tmp_path):
    for name in ("other", "deeper/other"):
        shutil.copytree(samg_run, tmp_path / name)
    small_runs.change_config(tmp_path / "other", "guidance", {"threshold": 0.123})
    folders = [samg_run, tmp_path / "other", tmp_path / "deeper" / "other"]
    results = result_folders.read(folders)
    named = {"samg", "samg other", f"samg {folders[2]}"}
    assert set(results.frame["variant"]) == {"offline", *named}
    assert {key[1] for key in results.setups} == {"offline", *named}


def test_other_seeds_of_the_same_fields_are_one_variant(samg_run, tmp_path):
    other = tmp_path / "more"
    shutil.copytree(samg_run, other)
    for name in ("metrics.csv", "training.csv"):
        table = pd.read_csv(other / name)
        table.assign(seed=table["seed"] + 7).to_csv(
            other / name, index=False, na_rep="nan"
        )
    frame = result_folders.read([samg_run, other]).frame
    assert set(frame["variant"]) == {"offline", "samg"}
    assert set(frame["seed"]) == {0, 1, 7, 8}


def test_separate_pre_trainings_are_told_apart(samg_run, awac_run, dataset, tmp_path):
    assert result_folders.read([samg_run, awac_run]).note == ""
    other = tmp_path / "other"
    shutil.copytree(awac_run, other)
    table = pd.read_csv(other / "metrics.csv", float_precision="round_trip")
    table["return_mean"] += 1.0
    table.to_csv(other / "metrics.csv", index=False, na_rep="nan")
    note = result_folders.read([samg_run, other]).note
    assert note.startswith("The runs of awac on random were pre-trained separately")
    offline = small_runs.run("bc", dataset, tmp_path / "bc", online__steps=0)
    shutil.copytree(offline, tmp_path / "again")
    with pytest.raises(ValueError, match="is a second run of bc on 'random'"):
        result_folders.read([offline, tmp_path / "again"])


def test_a_suite_and_a_run_stand_side_by_side(samg_run, tmp_path):
    made_suite.suite(seeds=2, evaluations=3).to_csv(tmp_path / "results.csv")
    frame = result_folders.read([tmp_path, samg_run]).frame
    assert set(frame["dataset"]) == {"hopper-local", "halfcheetah-local", "random"}


@pytest.mark.parametrize("changed", ["meta", "physics"])
def test_runs_on_unlike_data_or_simulators_are_refused(changed, samg_run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(samg_run, other)
    if changed == "physics":
        small_runs.change_config(other, "physics", "stock")
        message = "has the physics 'd4rl' and 'stock'"
    else:
        for path in other.glob("online/*/meta/*"):
            path.write_text(path.read_text().replace(" rows,", "0 rows,"))
        for path in other.glob("online/*/files.json"):
            path.unlink()  # It has the checksums.
        message = "differ in data_source on 'random'"
    with pytest.raises(ValueError, match=message):
        result_folders.read([samg_run, other])


@pytest.mark.parametrize(
    ("weight", "preset", "expected"),
    [
        ("cvae", "paper", "samg"),
        ("cvae", "best", "samg best"),
        ("even", "best", "samg_even"),
    ],
)
def test_a_preset_other_than_the_papers_is_named(weight, preset, expected):
    guidance = {"weight": weight, "weight_preset": preset}
    config = ml_collections.ConfigDict({"guidance": guidance})
    assert workdirs.variant(config) == expected


def test_unfinished_and_missing_runs_are_refused(tmp_path, dataset, monkeypatch):
    with pytest.raises(ValueError, match="it has no config"):
        result_folders.read([tmp_path])
    with monkeypatch.context() as patch:
        small_runs.stop_at(patch, "online", 5)
        with pytest.raises(small_runs.Stopped):
            small_runs.run("awac_samg", dataset, tmp_path / "run")
    with pytest.raises(ValueError, match="is not complete"):
        result_folders.read([tmp_path / "run"])


def test_a_table_that_no_report_wrote_is_not_replaced(samg_run, tmp_path):
    for name in ("results.csv", "results.parquet"):
        path = tmp_path / name
        path.write_text("another suite's")
        running = called_programs.running("report", out=str(tmp_path))
        refused = pytest.raises(SystemExit, match=f"{name} exists already")
        with running as program, refused:
            program.main(["report", str(samg_run)])
        assert path.read_text() == "another suite's"
        path.unlink()


def test_only_seeds_that_stayed_finite_in_both_are_paired():
    rows = [
        made_suite.rows(variant="vanilla", seed=0, scores=(1.0, 2.0)).assign(failed=0),
        made_suite.rows(variant="vanilla", seed=1, scores=(1.0, 90.0)).assign(failed=1),
        made_suite.rows(seed=0, scores=(1.0, 6.0)).assign(failed=0),
        made_suite.rows(seed=1, scores=(1.0, 7.0)).assign(failed=0),
    ]
    found = seed_outcomes.of(tidy_table.check(pd.concat(rows), "made"))
    gains = pairing.paired(found, "samg", "vanilla", "final")
    assert gains.to_dict() == {0: 4.0}
    assert pairing.paired(found, "samg", "missing", "final").empty
