"""The embedding network, against plain NumPy and SciPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from samg_jax.guidance import embedding
from samg_jax.training import seed_axis
from tests import reference_guidance

B, O, A, M, S = 7, 4, 2, 600, 2  # noqa: E741
CONFIG = embedding.Config(
    hidden_dim=24, embedding_size=6, learning_rate=3e-3, batch_size=64
)
MODEL = embedding.EmbeddingModel(CONFIG, O, A)


@pytest.fixture(scope="module")
def data():
    """Transitions that show their action: s' - s is a linear function of it."""
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(M, O))
    actions = rng.uniform(-1, 1, size=(M, A))
    effect = actions @ rng.normal(size=(A, O))
    columns = observations, actions, observations + effect
    return tuple(np.float32(column) for column in columns)


@pytest.fixture(scope="module")
def trained(data):
    """The state of two seeds after 400 updates, and the losses of all updates."""
    axes = embedding.State(step=None, model=0)

    def step(state, number):
        rows = jax.random.randint(
            seed_axis.stream(0, "rows", number), (CONFIG.batch_size,), 0, M
        )
        update = jax.vmap(MODEL.update, in_axes=(axes, *[None] * 4), out_axes=(axes, 0))
        batch = (jnp.asarray(column)[rows] for column in data)
        state, metrics = update(state, *batch, jax.random.key(0))
        return state, metrics["loss"]

    keys = jax.random.split(jax.random.key(1), S)
    state = seed_axis.share_steps(jax.vmap(MODEL.init)(keys))
    run = jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(400)))
    return run(state)


def reference_errors(params, observations, actions, next_observations):
    """The network again, layer by layer in float64."""
    params, dense = params["params"], reference_guidance.dense

    def phi(x):
        hidden = np.maximum(dense(params["phi"]["Dense_0"], x), 0)
        return np.maximum(dense(params["phi"]["Dense_1"], hidden), 0)

    codes = np.concatenate([phi(observations), phi(next_observations)], axis=1)
    hidden = np.maximum(dense(params["Dense_0"], codes), 0)
    shifted = np.maximum(dense(params["head"], hidden), 0)
    return np.array(
        [
            np.mean((row - (action + 1.0)) ** 2)
            for row, action in zip(shifted, actions, strict=True)
        ]
    )


def first(tree):
    return jax.tree.map(lambda leaf: leaf[0], tree)


def test_errors_are_those_of_the_shifted_action(data):
    state = MODEL.init(jax.random.key(3))
    rows = tuple(column[:B] for column in data)
    errors = jax.jit(MODEL.errors)(state.model.params, *rows)
    expected = reference_errors(state.model.params, *rows)
    np.testing.assert_allclose(errors, expected, rtol=1e-5)
    # One phi for both states: what they are called does not change their codes.
    assert set(state.model.params["params"]) == {"phi", "Dense_0", "head"}


def test_no_output_starts_dead(data):
    params = MODEL.init(jax.random.key(3)).model.params
    shifted = MODEL.network.apply(params, data[0], data[2])
    assert np.min(np.mean(np.asarray(shifted) > 0, axis=0)) > 0.9


def test_training_learns_the_action_for_every_seed(data, trained):
    state, losses = trained
    assert losses.shape == (400, S)
    assert np.all(losses[-20:].mean(axis=0) < 0.2 * losses[0])
    assert state.step == 400
    findings = MODEL.examine(state, *data)
    assert np.all(findings["share_explained"] > 0.8)
    assert not MODEL.warning({k: float(v[0]) for k, v in findings.items()})


def test_a_network_that_learnt_nothing_is_reported(data):
    keys = jax.random.split(jax.random.key(1), S)
    state = seed_axis.share_steps(jax.vmap(MODEL.init)(keys))
    findings = MODEL.examine(state, *data)
    finding = {name: float(value[1]) for name, value in findings.items()}
    assert "hardly predicts actions" in MODEL.warning(finding)
    assert "config.guidance.embedding.steps" in MODEL.warning(finding)
    assert MODEL.warning({**finding, "share_explained": float("nan")})


def test_weight_is_the_upper_tail_of_the_normal_of_all_errors(data, trained):
    state, _ = trained
    weight = MODEL.fit(state, *data)
    own = first(weight)
    errors = reference_errors(own.params, *data)
    np.testing.assert_allclose(own.mu, errors.mean(), rtol=1e-4)
    np.testing.assert_allclose(own.sigma, errors.std(), rtol=1e-4)
    fn = jax.jit(functools.partial(embedding.probabilities, CONFIG))
    p_int = fn(own, *data)
    expected = stats.norm.sf(errors, errors.mean(), errors.std())
    np.testing.assert_allclose(p_int, expected, atol=1e-4)
    shapes = jax.tree.map(jnp.shape, jax.vmap(MODEL.empty)(stacked(state)))
    assert shapes == jax.tree.map(jnp.shape, weight)


def stacked(state):
    return state.replace(step=jnp.zeros(S))


def test_weight_falls_with_noise_in_the_action_and_stays_in_range(data, trained):
    own = first(MODEL.fit(trained[0], *data))
    fn = jax.jit(functools.partial(embedding.probabilities, CONFIG))
    observations, actions, next_observations = data
    noise = np.random.default_rng(1).normal(size=actions.shape).astype(np.float32)
    means = []
    for level in (0.0, 0.1, 0.3, 1.0, 3.0):
        p_int = np.asarray(
            fn(own, observations, actions + level * noise, next_observations)
        )
        assert p_int.min() >= 0
        assert p_int.max() <= 1
        means.append(p_int.mean())
    assert np.all(np.diff(means) < 0)
    assert means[-1] < 0.05


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"hidden_dim": 0}, "embedding.hidden_dim"),
        ({"embedding_size": 1.5}, "embedding.embedding_size"),
        ({"steps": -1}, "embedding.steps"),
        ({"learning_rate": 0.0}, "embedding.learning_rate"),
        ({"holdout": 1.0}, "embedding.holdout"),
    ],
)
def test_wrong_settings_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        embedding.Config(**changes)
