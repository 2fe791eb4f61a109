"""Variants, networks and hyperparameters as the jobs of a suite have them."""

import json
import pathlib

import pandas as pd
import pytest

from samg_jax.results import glossary, run_setups, seed_outcomes, tidy_table
from tests.fixtures import made_suite

RESULTS = pathlib.Path(__file__).parents[2] / "launch" / "results"
AGENT = {"discount": 0.99, "actor_hidden_dims": [64, 64], "critic_hidden_dims": [32]}


@pytest.fixture
def folder(tmp_path):
    """A suite of three variants: one by its job, one by its run, one not recorded."""
    weights = {"samg": "cvae", "samg_mine": "even"}
    for variant, weight in weights.items():
        place = tmp_path / "jobs" / "cql" / "hopper-local" / "seed0-1" / variant
        (place / "complete").mkdir(parents=True)
        config = {
            "agent": AGENT,
            "dataset": {
                "name": "hopper",
                "path": "/a/b.hdf5",
                "reward_scale": 0.1,
                "reward_transform": "affine",
            },
            "guidance": {"weight": weight, "threshold": 0.5},
            "online": {"steps": 2000, "batch_size": 128, "updates_per_step": 4},
            "offline": {"updates": 500, "batch_size": 256},
            "seed": 0,
        }
        job = {"algorithm": "cql", "variant": variant, "dataset": "hopper-local"}
        if variant == "samg":
            content, path = {**job, "config": config}, place / "job.json"
        else:
            content, path = config, place / "complete" / "config.json"
            (place / "job.json").write_text("damaged")
        path.write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def frame(folder):
    names = ("vanilla", "samg", "samg_mine", "samg guidance.threshold=0.3")
    rows = [made_suite.rows("cql", variant) for variant in names]
    return run_setups.add(
        tidy_table.check(pd.concat(rows), "made"), run_setups.read(folder)
    )


def test_networks_are_those_of_the_configs(frame):
    found = frame.drop_duplicates("variant").set_index("variant")["networks"]
    known = "actor 64x64, critic 32"
    assert found.to_dict() == {
        "vanilla": "",
        "samg": known,
        "samg_mine": known,
        "samg guidance.threshold=0.3": known,
    }
    assert set(seed_outcomes.of(frame)["networks"]) == {"", known}


def test_budgets_say_what_is_not_recorded(folder, frame):
    table = run_setups.budgets(frame, seed_outcomes.of(frame), run_setups.read(folder))
    rows = {row[2]: row[3:] for row in table.rows}
    unknown = run_setups.UNKNOWN
    assert rows["vanilla"] == (unknown, "2,000", unknown, unknown, unknown)
    assert rows["samg"] == (unknown, "2,000", "4", "128", "actor 64x64, critic 32")
    offline = made_suite.rows("cql", "offline", phase="offline", step=[10, 500, 1500])
    frame = tidy_table.check(pd.concat([frame, offline]), "made")
    table = run_setups.budgets(frame, seed_outcomes.of(frame), {})
    rows = {row[2]: row[3:] for row in table.rows}
    assert rows["samg"] == ("1,500", "2,000", unknown, unknown, unknown)
    assert rows["offline"] == ("1,500", "-", "-", unknown, unknown)


def test_hyperparameters_are_told_once_and_then_what_differs(folder, frame):
    found = run_setups.read(folder)
    kept = frame[frame["variant"] != "vanilla"]
    rows = {row[2]: row[3] for row in run_setups.hyperparameters(kept, found).rows}
    shared = (
        "agent.discount=0.99, dataset.reward_scale=0.1, "
        "dataset.reward_transform=affine, offline.batch_size=256, "
        "online.batch_size=128, online.updates_per_step=4"
    )
    assert rows["all"] == shared
    # A constant weight is not cut, so it reads no threshold.
    assert rows["samg"] == "guidance.threshold=0.5, guidance.weight=cvae"
    assert rows["samg_mine"] == "guidance.weight=even"
    # One that is not recorded changes nothing for the others.
    rows = {row[2]: row[3] for row in run_setups.hyperparameters(frame, found).rows}
    assert rows["all"] == shared
    assert rows["vanilla"] == run_setups.UNKNOWN
    (row,) = run_setups.hyperparameters(frame, {}).rows
    assert row == ("hopper-local", "cql", "all", run_setups.UNKNOWN)


def test_fields_that_a_run_does_not_read_are_left_out():
    config = {
        "agent.cql_weight": 5.0,
        "dataset.reward_scale": 0.1,  # Has no transform.
        "guidance.cvae.beta": 0.5,
        "guidance.embedding.layers": 1,
        "guidance.penalty": "mixed",
        "guidance.weight": "cvae",
        "online.offline_share": 0.5,
        "online.data": "buffer",
        "online.steps": 100,
    }
    kept = {"guidance.cvae.beta", "guidance.weight", "online.data"}
    own = {"agent.cql_weight"}
    assert set(run_setups.decisive(config, "awac")) == kept | own
    assert set(run_setups.decisive(config, "cql")) == kept | own | {"guidance.penalty"}
    config |= {"guidance.weight": "none", "online.data": "mix"}
    kept = {"guidance.weight", "online.data", "online.offline_share"}
    assert set(run_setups.decisive(config, "cql")) == kept | own


def test_the_pre_training_has_a_row_only_if_it_differs(frame):
    rows = made_suite.rows("cql", "offline", phase="offline", step=[10, 500, 1500])
    frame = tidy_table.check(pd.concat([frame, rows]), "made")
    base = {"guidance.weight": "cvae", "online.steps": 9, "online.data": "buffer"}
    for rate, shown in ((0.1, False), (0.2, True)):
        found = {
            ("cql", "samg", "hopper-local"): base | {"agent.rate": 0.1},
            ("cql", "offline", "hopper-local"): {"agent.rate": rate},
        }
        table = run_setups.hyperparameters(frame, found)
        assert ("offline" in {row[2] for row in table.rows}) == shown


def test_a_copy_of_the_configs_tells_the_same(folder, frame, tmp_path):
    found = run_setups.read(folder)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / run_setups.FILE).write_text(run_setups.text(found, "From elsewhere."))
    assert (
        "b.hdf5" not in (copy / run_setups.FILE).read_text()
    )  # No path of the machine.
    again = run_setups.read(copy)
    assert run_setups.hyperparameters(frame, again) == run_setups.hyperparameters(
        frame, found
    )
    both = [
        run_setups.budgets(frame, seed_outcomes.of(frame), one)
        for one in (again, found)
    ]
    assert both[0] == both[1]
    assert glossary.table(frame, again) == glossary.table(frame, found)
    said = run_setups.note(copy)
    assert said == "From elsewhere."
    assert run_setups.text(again, said) == (copy / run_setups.FILE).read_text()
    # The jobs of a folder win over the file.
    (folder / run_setups.FILE).write_text('{"rows": [{"algorithm": "cql"}, 3]}')
    assert run_setups.read(folder) == found
    assert run_setups.note(folder) == ""


@pytest.mark.parametrize("damaged", ["", "[]", '{"rows": 3, "note": []}', '{"rows'])
def test_damaged_configs_are_not_recorded(damaged, tmp_path):
    (tmp_path / run_setups.FILE).write_text(damaged)
    assert run_setups.read(tmp_path) == {}
    assert run_setups.note(tmp_path) == ""


@pytest.mark.parametrize("name", ["demo", "local"])
def test_the_committed_results_have_the_configs_of_all_rows(name):
    frame = tidy_table.read(RESULTS / name)
    found = run_setups.read(RESULTS / name)
    frame = run_setups.add(frame, found)
    table = run_setups.budgets(frame, seed_outcomes.of(frame), found)
    assert all(run_setups.UNKNOWN not in row for row in table.rows)
    table = run_setups.hyperparameters(frame, found)
    assert all(run_setups.UNKNOWN not in row for row in table.rows)
    table = glossary.table(frame, found)
    assert all(run_setups.UNKNOWN not in row[1] for row in table.rows)
    # The lengths of the configs are those of the results.
    for row, own in frame.groupby(tidy_table.VARIANT):
        phase = "offline" if row[1] == "offline" else "online"
        field = {"offline": "offline.updates", "online": "online.steps"}[phase]
        assert own["step"].max() == found[row][field]


def test_the_glossary_has_known_variants_and_a_suites_own(folder, frame):
    found = run_setups.read(folder)
    rows = dict(glossary.table(frame, found).rows)
    assert list(rows)[:2] == ["vanilla", "samg"]
    assert rows["vanilla"] == glossary.MEANINGS["vanilla"]
    assert rows["samg_mine"] == (
        "A variant of these results: as samg, with guidance.weight=even."
    )
    assert (
        rows["samg guidance.threshold=0.3"] == "As samg, with guidance.threshold=0.3."
    )
    assert glossary.meaning("samg_best", {}).endswith("are not recorded.")
