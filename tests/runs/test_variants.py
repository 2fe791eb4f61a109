"""The weights that a run can be guided by: forks of one offline checkpoint."""

import dataclasses
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from samg_jax.experiment import datasets, resolve
from samg_jax.guidance import weights
from samg_jax.runs import forks, lifecycle
from samg_jax.training import offline_phase
from samg_jax.types import ModelState
from tests.fixtures import small_runs


def fork(dataset, workdir, source, **overrides):
    return small_runs.run(
        "awac_samg", dataset, workdir, offline__restore=str(source), **overrides
    )


@pytest.mark.parametrize(
    ("weight", "variant"),
    [
        ("cvae", "samg"),
        ("even", "samg_even"),
        ("random", "samg_random"),
        ("embedding", "samg_embedding"),
        ("none", "no_data"),
    ],
)
def test_a_variant_is_one_flag_and_has_its_name(weight, variant, dataset):
    config = small_runs.config("awac_samg", dataset, guidance__weight=weight)
    resolve.experiment(config)
    assert lifecycle.variant(config.to_dict()) == variant
    assert f"awac_{variant}" in lifecycle.default_workdir(config.to_dict())


@pytest.fixture(scope="module")
def embedding_run(dataset, tmp_path_factory):
    """A run of the embedding's weight, its threshold a quantile; the network alone."""
    workdir = tmp_path_factory.mktemp("embedding") / "run"
    return small_runs.run(
        "awac_samg",
        dataset,
        workdir,
        guidance__weight="embedding",
        guidance__threshold_quantile=0.4,
    )


def test_the_embedding_is_trained_fitted_and_used(embedding_run, dataset):
    assert len(small_runs.training(embedding_run, "loss", "embedding")) == 2 * 4
    log = (embedding_run / "log.txt").read_text()
    assert log.count("Embedding network of seed") == 2
    settings = small_runs.config(
        "awac_samg",
        dataset,
        guidance__weight="embedding",
        guidance__threshold_quantile=0.4,
    )
    experiment, state = small_runs.online_state(settings, embedding_run)
    data = datasets.load(experiment, lambda _: None)[0]
    fn = jax.jit(weights.weights(experiment.guidance))
    for seed in range(2):
        guidance, rows = jax.tree.map(
            lambda leaf, s=seed: leaf[s], (state.guidance, state.buffer)
        )
        columns = data.observations, data.actions, data.next_observations
        active = np.asarray(fn(guidance, *columns, jax.random.key(0))) > 0
        assert active.mean() == pytest.approx(0.6, abs=0.01)
        columns = rows.observations, rows.actions, rows.next_observations
        expected = fn(guidance, *columns, jax.random.key(0))
        np.testing.assert_allclose(rows.weights, expected, atol=1e-5)


@pytest.mark.usefixtures("without_data")
def test_forks_of_the_embedding_need_no_data(embedding_run, dataset, tmp_path):
    changes = {"guidance__weight": "embedding", "guidance__threshold_quantile": 0.4}
    fork(dataset, tmp_path, embedding_run, **changes)
    small_runs.assert_same_arrays(
        small_runs.saved(tmp_path), small_runs.saved(embedding_run)
    )
    # Another quantile is known too: the checkpoint has them all.
    changes["guidance__threshold_quantile"] = 0.7
    config = small_runs.config("awac_samg", dataset, **changes)
    experiment = resolve.experiment(config)
    saved = forks.meta(embedding_run / "offline")
    assert forks.first_fit_step(experiment, saved) is None


def test_a_fork_with_the_embedding_trains_it_where_it_is_missing(
    samg_run, embedding_run, dataset, tmp_path, monkeypatch
):
    changes = {"guidance__weight": "embedding", "guidance__threshold_quantile": 0.4}
    monkeypatch.setattr(offline_phase, "make_updates", None)
    fork(dataset, tmp_path, samg_run, **changes)
    small_runs.assert_same_arrays(
        small_runs.saved(tmp_path), small_runs.saved(embedding_run)
    )


class Center(struct.PyTreeNode):
    step: jax.Array
    model: ModelState


@dataclasses.dataclass(frozen=True)
class Settings:
    steps: int = 30
    batch_size: int = 8
    holdout: float = 0.1


@dataclasses.dataclass(frozen=True)
class Mean:
    """A model of one's own: the mean action, found by steps of its own."""

    action_size: int
    settings: Settings = Settings()
    name: str = "mean"
    title: str = "mean action"

    def measure(self, observations, actions, next_observations):
        return np.abs(actions).max(axis=0)

    def init(self, key, measured):
        params = jnp.zeros(self.action_size) if measured is None else measured
        return Center(jnp.zeros((), jnp.int32), ModelState(params, ()))

    def update(self, state, observations, actions, next_observations, key):
        error = actions.mean(axis=0) - state.model.params
        params = state.model.params + error / (state.step + 1)
        return Center(state.step + 1, ModelState(params, ())), {"error": error.mean()}

    def empty(self, state) -> Any:
        return jnp.zeros(self.action_size)

    def fit(self, state, observations, actions, next_observations, rows=None):
        return state.model.params

    def examine(self, state, observations, actions, next_observations):
        return {"size": np.abs(state.model.params).max(axis=1)}

    def describe(self, findings):
        return f"size {findings['size']:.2f}"

    def warning(self, findings):
        return "It is large." if findings["size"] > 1 else ""


def near_the_mean(config, guidance, observations, actions, next_observations, key):
    return jnp.exp(-jnp.square(actions - guidance.weight).mean(axis=-1))


def test_a_weight_of_ones_own_may_be_trained(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "REGISTRY", dict(weights.REGISTRY))
    weights.register(
        "near",
        near_the_mean,
        cut=True,
        model=lambda config, observation_size, action_size: Mean(action_size),
    )
    changes = {"guidance__weight": "near", "guidance__threshold_quantile": 0.5}
    first, second = tmp_path / "first", tmp_path / "second"
    small_runs.run("awac_samg", dataset, first, online__steps=0, **changes)
    assert (
        "Mean action of seed 1 on held-out data: size 0."
        in (first / "log.txt").read_text()
    )
    monkeypatch.setattr(offline_phase, "make_model_updates", None)
    fork(dataset, second, first, **changes)
    state = small_runs.saved(second)
    center, threshold = (
        state[f"['guidance']['{name}']"] for name in ("weight", "threshold")
    )
    assert np.all(np.abs(center) < 0.3)
    assert not np.array_equal(center[0], center[1])
    actions, stored = state["['buffer']['actions']"], state["['buffer']['weights']"]
    p = np.exp(-np.square(actions - center[:, None]).mean(axis=-1))
    expected = np.where(p < threshold[:, None], 0, p)
    np.testing.assert_allclose(stored, expected, atol=1e-5)
    assert 0 < (stored > 0).mean() < 1


def test_a_quantile_of_a_weight_without_a_model_reads_the_data(
    samg_run, dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr(weights, "REGISTRY", dict(weights.REGISTRY))
    weights.register(
        "gentle", lambda c, g, s, a, s2, key: 1 - jnp.abs(a).mean(axis=-1), cut=True
    )
    changes = {"guidance__weight": "gentle", "guidance__threshold_quantile": 0.25}
    config = small_runs.config("awac_samg", dataset, **changes)
    experiment = resolve.experiment(config)
    saved = forks.meta(samg_run / "offline")
    assert forks.first_fit_step(experiment, saved) == 0
    data, preprocessing, _ = datasets.load(experiment, lambda _: None)
    state = offline_phase.init(experiment, preprocessing)
    split = offline_phase.held_out(experiment, data)
    state, findings = offline_phase.fit_weight(
        experiment, state, jax.device_put(data), split
    )
    p_int = 1 - np.abs(data.actions).mean(axis=-1)
    np.testing.assert_allclose(
        state.quantiles[:, 250], [np.quantile(p_int, 0.25)] * 2, rtol=1e-5
    )
    assert findings["share_active"][0] == pytest.approx(0.75, abs=0.2)


@pytest.mark.parametrize(
    ("changes", "stored"),
    [
        ({"threshold": 0.55}, lambda p: np.where(p < 0.55, 0, p)),
        (
            {"threshold": 0.55, "cut": "soft", "temperature": 0.02},
            lambda p: p / (1 + np.exp((0.55 - p) / 0.02)),
        ),
        ({"weight": "even_less"}, lambda p: 0 * p + 0.25),
    ],
)
def test_a_fit_reports_the_weight_that_would_be_stored(
    changes, stored, dataset, monkeypatch
):
    monkeypatch.setattr(weights, "REGISTRY", dict(weights.REGISTRY))
    weights.register(
        "gentle", lambda c, g, s, a, s2, key: 1 - jnp.abs(a).mean(axis=-1), cut=True
    )
    # Below the threshold of 0.5, which it does not know.
    weights.register("even_less", lambda c, g, s, a, s2, key: 0 * s[:, 0] + 0.25)
    fields = {"weight": "gentle", **changes}
    fields = {f"guidance__{name}": value for name, value in fields.items()}
    config = small_runs.config("awac_samg", dataset, **fields)
    experiment = resolve.experiment(config)
    data, preprocessing, _ = datasets.load(experiment, lambda _: None)
    split = offline_phase.held_out(experiment, data)
    findings = offline_phase.fit_weight(
        experiment,
        offline_phase.init(experiment, preprocessing),
        jax.device_put(data),
        split,
    )[1]
    p = stored(1 - np.abs(np.float64(data.actions[split.held_out])).mean(axis=-1))
    np.testing.assert_allclose(findings["share_active"], [np.mean(p > 0)] * 2)
    np.testing.assert_allclose(findings["p_mean"], [p.mean()] * 2, rtol=1e-4)


def test_a_module_is_imported_for_what_it_registers(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "REGISTRY", dict(weights.REGISTRY))
    (tmp_path / "weights_of_a_test.py").write_text(
        "from samg_jax.guidance import weights\n"
        "weights.register('of_a_test', lambda c, g, s, a, s2, key: s[:, 0] * 0)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    changes = {"guidance__weight": "of_a_test"}
    with pytest.raises(ValueError, match=r"guidance\.module"):
        resolve.experiment(small_runs.config("awac_samg", dataset, **changes))
    changes["guidance__module"] = "weights_of_a_test"
    resolve.experiment(small_runs.config("awac_samg", dataset, **changes))
    assert "of_a_test" in weights.REGISTRY
    sys.modules.pop("weights_of_a_test")


def test_a_module_that_is_not_there_is_refused(dataset, tmp_path, monkeypatch):
    changes = {"guidance__module": "no_such_module"}
    with pytest.raises(ValueError, match="Python cannot find") as error:
        resolve.experiment(small_runs.config("awac_samg", dataset, **changes))
    assert "'no_such_module'" in str(error.value)
    (tmp_path / "needs_another.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    changes = {"guidance__module": "needs_another"}
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        resolve.experiment(small_runs.config("awac_samg", dataset, **changes))
