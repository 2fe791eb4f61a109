"""An own algorithm: its fields and its name. The README's tests train the examples."""

import importlib
import pathlib
import sys
import types

import pytest

from samg_jax import algorithms, checks, settings
from samg_jax.experiment import config_checks
from samg_jax.guidance import weights
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
    config_checks.check(config.to_dict())
    config.agent.mean_weight = 0.0
    with pytest.raises(checks.UserError, match=r"config\.agent\.mean_weight is 0"):
        config_checks.check(config.to_dict())


def test_a_name_is_registered_once_and_with_what_it_needs():
    with pytest.raises(checks.UserError, match=r"'awac' is already that of samg_jax"):
        algorithms.register("awac", types.ModuleType("mine"))
    with pytest.raises(checks.UserError, match="mine has no Config and no make"):
        algorithms.register("mine", types.ModuleType("mine"))
