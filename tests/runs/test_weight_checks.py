"""A weight of the user's own is tried before it guides: its shape and its range."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from samg_jax import checks
from samg_jax.experiment import datasets
from samg_jax.guidance import weights
from samg_jax.results import run_summary
from samg_jax.runs import lifecycle, live_run, weight_checks
from samg_jax.training import offline_phase, online_phase
from tests.fixtures import small_runs

FIRST = np.float32([[0.5] * 11, [-0.5] * 11])  # Observations of two seeds.


@pytest.fixture
def config(dataset, monkeypatch):
    """Returns a function: the small experiment with a function for its weight."""
    monkeypatch.setattr(weights, "REGISTRY", dict(weights.REGISTRY))

    def make(fn, **changes):
        weights.REGISTRY.pop("own", None)
        model = changes.pop("model", None)
        weights.register("own", fn, cut=changes.pop("cut", False), model=model)
        return small_runs.config(
            "awac_samg", dataset, guidance__weight="own", **changes
        )

    return make


def small_actions(config, guidance, s, a, s2, key):
    return jnp.exp(-jnp.mean(jnp.square(a), axis=-1))


def test_a_weight_in_the_range_is_accepted_wherever_it_is_tried(config, tmp_path):
    run = lifecycle.run(config(small_actions), tmp_path)
    stored = small_runs.saved(run.workdir)["['buffer']['weights']"]
    assert 0 < stored.min() < stored.max() < 1


@pytest.mark.parametrize(
    ("fn", "found"),
    [
        (lambda c, g, s, a, s2, key: jnp.exp(-jnp.square(a)), r"float32 .* \(64, 3\)"),
        (lambda c, g, s, a, s2, key: jnp.float32(0.5), r"float32 of the shape \(\)"),
        (lambda c, g, s, a, s2, key: s[:, :1], r"\(64, 1\)"),
        (lambda c, g, s, a, s2, key: (s[:, 0], a[:, 0]), "for 64 transitions"),
        (lambda c, g, s, a, s2, key: None, "returns None for 64 transitions"),
        (lambda c, g, s, a, s2, key: s[:, 0] + 1j, r"complex64 of the shape \(64,\)"),
    ],
)
def test_another_shape_is_refused_before_anything_is_computed(
    fn, found, config, tmp_path
):
    with pytest.raises(checks.UserError, match=found) as error:
        lifecycle.run(config(fn), tmp_path / "run")
    assert "It must be one real number for each" in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("cut", [False, True])
def test_another_range_is_refused_before_pre_training(
    cut, config, tmp_path, monkeypatch
):
    def distance(config, guidance, s, a, s2, key):
        return 1.0 + jnp.mean(jnp.square(a), axis=-1)

    monkeypatch.setattr(offline_phase, "make_updates", None)
    settings = config(distance, cut=cut)
    with pytest.raises(checks.UserError, match="100% of its values") as error:
        lifecycle.run(settings, tmp_path)
    assert "on 64 offline transitions" in str(error.value)
    assert not (tmp_path / "config.json").exists()  # It may be corrected there.


@pytest.mark.usefixtures("without_data")
def test_another_range_is_refused_at_the_switch_of_a_fork(
    samg_run, config, tmp_path, monkeypatch
):
    monkeypatch.setattr(online_phase, "make_step", None)
    changes = {"offline__restore": str(samg_run)}
    settings = config(lambda c, g, s, a, s2, key: jnp.log(a[:, 0]), **changes)
    with pytest.raises(checks.UserError, match="first state and a random"):
        lifecycle.run(settings, tmp_path)


class State(struct.PyTreeNode):
    step: jax.Array


class Fitted:
    """A stand-in for the model of a weight; only its fit counts here."""

    name = title = "stand-in"

    def init(self, key, measured):
        return State(jnp.zeros((), jnp.int32))

    def empty(self, state):
        return jnp.zeros(())


def test_the_range_is_that_of_the_fitted_weight(config, dataset):
    def scaled(config, guidance, s, a, s2, key):
        return guidance.weight * small_actions(config, guidance, s, a, s2, key)

    settings = config(scaled, model=lambda config, o, a: Fitted())
    experiment = small_runs.resolve.experiment(settings)
    weight_checks.check_shape(experiment)
    data = datasets.load(experiment, str)[0]
    state = types.SimpleNamespace(
        seeds=jnp.arange(2, dtype=jnp.uint32),
        weight=jnp.float32([0.9, 0.5]),
        alive=jnp.array([True, True]),
    )
    weight_checks.check_on_data(experiment, state, data)
    state.weight = jnp.float32([0.9, 1.9])
    with pytest.raises(ValueError, match=r"returns 1\.\d+, .* on 64 offline"):
        weight_checks.check_on_data(experiment, state, data)
    state.weight = jnp.float32([0.9, jnp.nan])
    with pytest.raises(ValueError, match=r"returns nan, .* 50% of its values"):
        weight_checks.check_on_data(experiment, state, data)
    state.alive = jnp.array([True, False])  # It has failed anyway, and is not tried.
    weight_checks.check_on_data(experiment, state, data)


def test_every_place_is_tried_at_the_switch_with_its_own_settings(config):
    def constant(config, guidance, s, a, s2, key):
        return 3 * jnp.full(len(s), guidance.constant)

    experiment = small_runs.resolve.experiment(config(constant))
    one = weights.make_guidance(experiment.guidance, ())
    guidance = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), one)
    alive = jnp.array([True, True])
    guidance = guidance.replace(constant=jnp.float32([0.1, 0.3]))
    weight_checks.check_at_switch(experiment, guidance, alive, FIRST)
    guidance = guidance.replace(constant=jnp.float32([0.1, 0.4]))
    with pytest.raises(ValueError, match=r"returns 1\.2, .* 50% of its values"):
        weight_checks.check_at_switch(experiment, guidance, alive, FIRST)
    weight_checks.check_at_switch(experiment, guidance, jnp.array([True, False]), FIRST)


def unpacks(config, guidance, s, a, s2, key):
    first, second = [1, 2, 3]
    return first, second


def looks_up(config, guidance, s, a, s2, key):
    return {}["limits"]


@pytest.mark.parametrize(
    ("fn", "said"),
    [
        (unpacks, "ValueError: too many values to unpack"),
        (looks_up, "KeyError: 'limits'"),
    ],
)
def test_a_bug_in_a_weight_is_in_the_log_with_its_traceback(fn, said, config, tmp_path):
    workdir = tmp_path / "run"
    with pytest.raises((ValueError, KeyError)) as error:
        lifecycle.run(config(fn), workdir)
    assert not isinstance(error.value, checks.UserError)
    text = (workdir / "log.txt").read_text()
    assert f"in {fn.__name__}\n" in text
    assert said in text
    with live_run.locked(workdir), pytest.raises((ValueError, KeyError)):
        lifecycle.run(config(fn), workdir)
    other = config(fn, num_seeds=1)
    lifecycle.write_config(other.to_dict(), workdir)  # Now it is another run's.
    with pytest.raises((ValueError, KeyError)):
        lifecycle.run(config(fn), workdir)
    assert (workdir / "log.txt").read_text() == text


def test_a_bug_in_the_module_of_a_weight_is_in_the_log(config, tmp_path, monkeypatch):
    (tmp_path / "arm_with_a_bug.py").write_text("x, y = [1, 2, 3]\n")
    monkeypatch.syspath_prepend(tmp_path)
    broken = config(small_actions, guidance__module="arm_with_a_bug")
    with pytest.raises(ValueError, match="too many values"):
        lifecycle.run(broken, tmp_path / "run")
    text = (tmp_path / "run" / "log.txt").read_text()
    assert "arm_with_a_bug.py" in text
    assert "too many values" in text


def test_a_picture_that_fails_at_the_end_leaves_its_cause_in_the_log(
    config, tmp_path, monkeypatch, capsys
):
    def fail(*_):
        raise ZeroDivisionError("a bug of ours")

    run = lifecycle.run(config(small_actions, online__steps=0), tmp_path)
    monkeypatch.setattr(run_summary.learning_curves, "draw_run", fail)
    run_summary.report(run)
    assert "Traceback" not in "".join(capsys.readouterr())
    text = (tmp_path / "log.txt").read_text()
    assert "Traceback" in text
    assert "ZeroDivisionError: a bug of ours" in text
