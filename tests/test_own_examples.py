"""The examples of an own weight and an own algorithm, through the program."""

import importlib
import json
import pathlib
import sys
import types

import pytest

from samg_jax import algorithms, checks, settings
from samg_jax.experiment import config_checks
from samg_jax.guidance import weights
from samg_jax.runs import lifecycle
from tests.fixtures import small_experiments

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def registered():
    """Leaves the registries as they were, for other tests in this process."""
    before = dict(weights.REGISTRY), dict(algorithms.MODULES)
    yield
    for registry, own in zip(
        (weights.REGISTRY, algorithms.MODULES), before, strict=True
    ):
        registry.clear()
        registry.update(own)
    for name in ("own_weight", "own_algorithm"):
        sys.modules.pop(f"examples.{name}", None)


@pytest.mark.parametrize(
    ("module", "fields"),
    [
        ("own_weight", {"guidance.weight": "gentle"}),
        ("own_algorithm", {"algorithm": "normalized_awac"}),
    ],
)
def test_an_example_trains(module, fields, dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT))
    fields = {"guidance.module": f"examples.{module}", **fields}
    config = small_experiments.config("awac_samg", dataset, fields)
    run = lifecycle.run(config, tmp_path / "run")
    meta = json.loads((run.workdir / "config.json").read_text())
    for name, value in fields.items():
        found = meta
        for part in name.split("."):
            found = found[part]
        assert found == value
    if "algorithm" in fields:
        assert type(run.experiment.online).__name__ == "NormalizedAWAC"
        rows = (run.workdir / "training.csv").read_text()
        assert "actor_loss" in rows


def test_bounds_of_an_own_hyperparameter_hold(dataset, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT))
    fields = {
        "guidance.module": "examples.own_algorithm",
        "algorithm": "normalized_awac",
    }
    config = small_experiments.config("awac_samg", dataset, fields)
    own = importlib.import_module("examples.own_algorithm")
    with config.unlocked():
        config.agent = settings.to_config(own.Config)
    assert config.agent.mean_weight == 1.0
    config_checks.check(config)
    config.agent.mean_weight = 0.0
    with pytest.raises(checks.UserError, match=r"config\.agent\.mean_weight is 0"):
        config_checks.check(config)


def test_a_name_is_registered_once_and_with_what_it_needs():
    with pytest.raises(checks.UserError, match=r"'awac' is already that of samg_jax"):
        algorithms.register("awac", types.ModuleType("mine"))
    with pytest.raises(checks.UserError, match="mine has no Config and no make"):
        algorithms.register("mine", types.ModuleType("mine"))
