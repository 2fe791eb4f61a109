"""One way from a config to a run: resolved once, never changed after."""

import dataclasses
import json
import pathlib

import pytest

import samg_jax
from samg_jax import checks
from samg_jax.experiment import resolve, resolved
from samg_jax.runs import lifecycle
from tests.fixtures import small_experiments

PACKAGE = pathlib.Path(samg_jax.__file__).parent
# What may hold a ConfigDict: what makes or resolves one, and the doors of a run.
ABOVE = {
    "api.py",
    "settings.py",
    "benchmarking/benchmark_cases.py",
    "benchmarking/online_loop.py",
    "results/workdirs.py",
    "runs/dry_run.py",
    "runs/lifecycle.py",
}


def test_a_config_stays_as_it_is_and_the_record_is_complete(dataset):
    config = small_experiments.config("awac_samg", dataset, {"env_id": None})
    config.env_id = "Hopper-v4"
    before = json.dumps(config.to_dict())
    experiment = resolve.experiment(config)
    assert json.dumps(config.to_dict()) == before
    assert experiment.record["dataset"]["name"] == dataset.stem
    assert experiment.record["physics"] == experiment.physics == "d4rl"
    assert experiment.record["guidance"]["kind"] == experiment.guidance.kind
    # Nothing is left open, so that a second resolution finds the same.
    again = resolve.from_fields(experiment.record)
    assert again.record == experiment.record
    assert again.settings == experiment.settings
    assert again.algorithm.config == experiment.algorithm.config


def test_a_run_is_known_by_its_experiment_which_is_frozen(dataset, tmp_path):
    config = small_experiments.config("iql", dataset)
    experiment = lifecycle.prepare(config, tmp_path)
    assert isinstance(experiment, resolved.Experiment)
    for holder, field in (
        (experiment, "settings"),
        (experiment.settings, "seed"),
        (experiment.settings.online, "steps"),
        (experiment.guidance, "weight"),
        (experiment.algorithm.config, "tau"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(holder, field, None)


def test_what_a_saved_run_lacks_takes_its_default(dataset):
    fields = resolve.experiment(small_experiments.config("awac", dataset)).record
    older = json.loads(json.dumps(fields))
    for name in ("single_env", "matmul_precision", "devices"):
        del older[name]
    del older["evaluation"]["max_steps"]
    found = resolve.saved(older, "The checkpoint").settings
    assert (found.single_env, found.devices) == (None, 0)
    assert found.matmul_precision == "float32"
    assert found.evaluation.max_steps is None
    older["guidance"]["module"] = "somebody_elses"
    with pytest.raises(checks.UserError, match="somebody_elses"):
        resolve.saved(older, "The checkpoint")


def test_nothing_below_the_doors_knows_config_dicts():
    holders = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "ml_collections" in path.read_text()
    }
    folders = ("configs/", "experiment/", "suites/")
    assert {name for name in holders if not name.startswith(folders)} <= ABOVE
