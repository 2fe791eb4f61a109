import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from samg_jax import losses, optimization
from samg_jax.guidance import collapse, cvae
from tests import reference_guidance

B, O, A, M = 6, 5, 3, 512  # noqa: E741
SMALL = cvae.Config(
    hidden_dim=24, batch_size=64, beta=0.1, steps=300, kl_warmup_steps=4
)


def make_model(**changes):
    return cvae.CVAE(dataclasses.replace(SMALL, **changes), O, A)


def make_data(rows=M):
    rng = np.random.default_rng(0)
    observations = 2.0 * rng.normal(size=(rows, O))
    actions = rng.uniform(-1, 1, size=(rows, A))
    next_observations = observations + actions @ rng.normal(size=(A, O))
    arrays = observations, actions, next_observations
    return tuple(np.float32(x) for x in arrays)


@functools.cache
def start(model):
    """A state with drawn parameters: nothing to compile, unlike `init`."""
    rng = np.random.default_rng(1)
    scale = jnp.asarray(model.measure_target_scale(*make_data()[1:]))
    shapes = jax.eval_shape(model.init, jax.random.key(0), scale)
    state = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    params = jax.tree.map(
        lambda x: jnp.float32(rng.uniform(-0.3, 0.3, size=x.shape)), state.model.params
    )
    return state.replace(model=state.model.replace(params=params), target_scale=scale)


@functools.cache
def jitted_update(model):
    return jax.jit(model.update)


def train(model, key, data, steps):
    """A loop of updates on random rows, as one scan."""
    init_key, key = jax.random.split(key)

    def step(state, key):
        row_key, update_key = jax.random.split(key)
        rows = jax.random.randint(row_key, (model.config.batch_size,), 0, M)
        return model.update(state, *(x[rows] for x in data), update_key)

    keys = jax.random.split(key, steps)
    return jax.lax.scan(step, model.init(init_key), keys)


@pytest.fixture(scope="module")
def trained():
    data = tuple(map(jnp.asarray, make_data()))
    model = make_model()
    run = jax.jit(jax.vmap(lambda key: train(model, key, data, SMALL.steps)))
    states, metrics = run(jax.random.split(jax.random.key(0), 2))
    return model, states, metrics, data


def examine(model, params, observations, actions):
    means, stds = model.encode(params, observations, actions)
    return collapse.health(means, losses.kl_divergence(means, stds))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"decoder_input": "latent_and_pair", "decoder_layers": 1},
        {"reconstruct": "next_state_action", "scale_targets": True, "latent_size": 4},
        {"reconstruct": "next_state_action", "action_weight": 3.0},
    ],
)
def test_loss_matches_a_float64_evaluation_of_the_bound(changes):
    model = make_model(**changes)
    observations, actions, next_observations = make_data(B)
    state = start(model)
    params, scale = state.model.params, state.target_scale
    key = jax.random.key(2)
    loss, metrics = jax.jit(model.loss)(
        params, observations, actions, next_observations, scale, 0.3, key
    )
    means, stds = reference_guidance.encode(params, observations, actions, layers=2)
    inputs = means + stds * np.asarray(jax.random.normal(key, means.shape))
    targets = next_observations
    if changes.get("decoder_input") == "latent_and_pair":
        inputs = np.concatenate([inputs, observations, actions], axis=1)
    if changes.get("reconstruct") == "next_state_action":
        targets = np.concatenate([next_observations, actions], axis=1)
        factors = [1.0] * O + [changes.get("action_weight", 1.0)] * A
        scale = np.asarray(scale) * np.array(factors)
    predictions = reference_guidance.decode(
        params, inputs, layers=model.config.decoder_layers
    )
    arguments = predictions, targets, scale, means, stds
    expected = reference_guidance.negative_bound(*arguments, beta=0.3)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    expected = reference_guidance.negative_bound(*arguments, beta=0.0)
    np.testing.assert_allclose(metrics["reconstruction"], expected, rtol=1e-5)
    expected = reference_guidance.kl(means, stds).mean()
    np.testing.assert_allclose(metrics["kl"], expected, rtol=1e-5)
    assert set(metrics) == {"loss", "reconstruction", "kl", "beta"}


def test_kl_matches_its_definition_and_vanishes_at_the_prior():
    rng = np.random.default_rng(0)
    means = np.float32(rng.normal(size=(B, 4)))
    stds = np.float32(np.exp(rng.uniform(-4, 2, size=(B, 4))))
    expected = reference_guidance.kl(means, stds)
    np.testing.assert_allclose(losses.kl_divergence(means, stds), expected, rtol=1e-5)
    prior = losses.kl_divergence(jnp.zeros((B, 4)), jnp.ones((B, 4)))
    np.testing.assert_array_equal(prior, 0.0)


def test_encoder_clamps_the_log_stds():
    model = make_model()
    observations, actions, _ = make_data(B)
    params = jax.tree.map(jnp.copy, start(model).model.params)
    bias = params["encoder"]["params"]["log_std"]["bias"]
    for shift, expected in ((-100.0, np.exp(-4.0)), (100.0, np.exp(15.0))):
        params["encoder"]["params"]["log_std"]["bias"] = bias + shift
        means, stds = model.encode(params, observations, actions)
        chex.assert_shape([means, stds], (B, 2 * A))
        np.testing.assert_allclose(stds, expected, rtol=1e-5)


def test_layers_start_uniform_within_the_inverse_root_of_fan_in():
    model = make_model()
    params = jax.jit(model.init)(jax.random.key(0)).model.params
    fan_ins = {"encoder": O + A, "decoder": 2 * A}
    for part, fan_in in fan_ins.items():
        largest = np.abs(params[part]["params"]["Dense_0"]["kernel"]).max()
        assert 0.8 * fan_in**-0.5 < largest <= fan_in**-0.5


def test_update_is_a_step_of_adam_on_the_loss():
    model = make_model()
    data = make_data(SMALL.batch_size)
    key = jax.random.key(3)
    update = jitted_update(model)
    state, _ = update(start(model), *data, jax.random.key(4))
    after, metrics = update(state, *data, key)
    assert after.step == 2

    @jax.jit
    def expected(state):
        args = (*data, state.target_scale, model.beta(1), key)
        params = state.model.params
        grads = jax.grad(lambda p: model.loss(p, *args)[0])(params)
        adam = optimization.adam(1e-3)
        updates, _ = adam.update(grads, state.model.opt_state, params)
        return optax.apply_updates(params, updates), model.loss(params, *args)[0]

    params, loss = expected(state)
    chex.assert_trees_all_close(after.model.params, params, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 0, {0: 0.5, 10: 0.5}),
        (10, 0, {0: 0.0, 9: 0.0, 10: 0.5}),
        (0, 20, {0: 0.0, 5: 0.125, 20: 0.5, 100: 0.5}),
        (10, 20, {0: 0.0, 10: 0.0, 20: 0.25, 30: 0.5, 31: 0.5}),
    ],
)
def test_beta_is_annealed(start, length, expected):
    model = make_model(beta=0.5, kl_warmup_start=start, kl_warmup_steps=length)
    steps = jnp.array(list(expected))
    actual = jax.jit(model.beta)(steps)
    np.testing.assert_allclose(actual, list(expected.values()), rtol=1e-6)


def test_update_reads_beta_at_its_own_step():
    model = make_model()
    data = make_data(SMALL.batch_size)
    update = jitted_update(model)
    state = start(model)
    betas, traces = [], set()
    for i in range(6):
        state, metrics = update(state, *data, jax.random.key(i))
        betas.append(metrics["beta"])
        traces.add(update._cache_size())
    np.testing.assert_allclose(betas, [0, 0.025, 0.05, 0.075, 0.1, 0.1], rtol=1e-6)
    assert len(traces) == 1  # Nothing was traced again.


def test_training_lowers_the_loss_and_a_seed_in_a_batch_is_that_seed_alone(trained):
    model, _, metrics, data = trained
    assert np.all(metrics["loss"][:, -20:].mean(1) < metrics["loss"][:, :20].mean(1))
    init_key, key = jax.random.split(jax.random.split(jax.random.key(0), 2)[1])
    alone = jax.jit(model.init)(init_key)
    for i, step_key in enumerate(jax.random.split(key, SMALL.steps)[:5]):
        row_key, update_key = jax.random.split(step_key)
        rows = jax.random.randint(row_key, (SMALL.batch_size,), 0, M)
        batch = (x[rows] for x in data)
        alone, alone_metrics = jitted_update(model)(alone, *batch, update_key)
        for name, value in alone_metrics.items():
            np.testing.assert_allclose(metrics[name][1, i], value, rtol=1e-4)


def test_a_healthy_encoder_is_not_reported(trained):
    model, states, _, (observations, actions, _) = trained
    check = jax.jit(jax.vmap(lambda p: examine(model, p, observations, actions)))
    report = check(states.model.params)
    assert not report["collapsed"].any()
    assert np.all(report["mean_std"] > 0.1)


def test_a_collapsed_encoder_is_reported(trained):
    model, states, _, (observations, actions, _) = trained
    params = jax.tree.map(lambda x: x[0], states.model.params)
    encoder = params["encoder"]["params"]
    silent = jax.tree.map(jnp.zeros_like, encoder["mean"])
    params["encoder"]["params"] = {**encoder, "mean": silent}
    report = jax.jit(functools.partial(examine, model))(params, observations, actions)
    assert report["collapsed"]
    assert report["mean_std"] == 0.0
    message = collapse.message(report, model.config)
    for flag in ("kl_warmup_steps=", "decoder_layers=1", "beta=0.02"):
        assert f"config.guidance.cvae.{flag}" in message
    assert "decoder_input" not in message


@pytest.mark.parametrize(
    ("scale", "kl", "expected"),
    [
        (1.0, 0.03, False),
        (1.0, 0.9e-3, True),
        (0.9e-2, 0.03, True),
        (1.1e-2, 1.1e-3, False),
        (np.nan, 0.03, True),
        (1.0, np.nan, True),
    ],
)
def test_collapse_is_a_small_spread_or_a_small_kl_or_not_finite(scale, kl, expected):
    means = scale * jnp.array([[1.0, -1.0, 1.0], [-1.0, 1.0, -1.0]]) + 5.0
    assert collapse.health(means, jnp.float32(kl))["collapsed"] == expected


def test_the_message_proposes_to_hide_the_pair_from_the_decoder():
    config = dataclasses.replace(SMALL, decoder_input="latent_and_pair")
    message = collapse.message({"mean_std": 1e-4, "kl": 1e-5}, config)
    assert "config.guidance.cvae.decoder_input=latent" in message


def test_holdout_split_is_a_partition_and_always_the_same():
    train_rows, held_out = collapse.holdout_split(1000, 0.05)
    assert (len(train_rows), len(held_out)) == (950, 50)
    together = np.concatenate([train_rows, held_out])
    np.testing.assert_array_equal(np.sort(together), np.arange(1000))
    np.testing.assert_array_equal(held_out, collapse.holdout_split(1000, 0.05)[1])
    assert 350 < np.mean(held_out) < 650  # Drawn from all over the data.
    assert [len(x) for x in collapse.holdout_split(2, 0.01)] == [1, 1]
    with pytest.raises(ValueError, match="number of rows is 1"):
        collapse.holdout_split(1, 0.05)


def test_whole_episodes_are_held_out():
    rng = np.random.default_rng(0)
    ends = rng.uniform(size=5_000) < 0.02
    ends[-1] = True
    split = collapse.episode_split(ends, 0.05)
    assert split.unit == "episodes"
    together = np.concatenate([split.train, split.held_out])
    np.testing.assert_array_equal(np.sort(together), np.arange(5_000))
    assert 0.05 <= len(split.held_out) / 5_000 <= 0.1
    episode = np.concatenate([[0], np.cumsum(ends)[:-1]])
    assert not set(episode[split.train]) & set(episode[split.held_out])
    again = collapse.episode_split(ends, 0.05)
    np.testing.assert_array_equal(split.held_out, again.held_out)


@pytest.mark.parametrize("lengths", [[1_000], [500, 500], [990, 10]])
def test_rows_are_held_out_where_episodes_are_too_few(lengths):
    ends = np.zeros(1_000, bool)
    ends[np.cumsum(lengths) - 1] = True
    split = collapse.episode_split(ends, 0.05)
    train_rows, held_out = collapse.holdout_split(1_000, 0.05)
    assert split.unit == "rows"
    np.testing.assert_array_equal(split.train, train_rows)
    np.testing.assert_array_equal(split.held_out, held_out)


def test_targets_are_scaled_by_their_inverse_variance_but_constants_are_not():
    model = make_model(scale_targets=True, reconstruct="next_state_action")
    _, actions, next_observations = make_data()
    next_observations = next_observations * [1, 10, 0.1, 1, 0] + 3.3
    scale = model.measure_target_scale(actions, np.float32(next_observations))
    expected = np.float32(next_observations).astype(np.float64).var(axis=0)
    np.testing.assert_allclose(scale[:4], 1 / expected[:4], rtol=1e-5)
    assert scale[4] == 1.0
    np.testing.assert_allclose(scale[O:], 1 / actions.var(axis=0), rtol=1e-4)
    plain = make_model().measure_target_scale(actions, next_observations)
    np.testing.assert_array_equal(plain, np.ones(O))
    with pytest.raises(ValueError, match="measure_target_scale"):
        model.init(jax.random.key(0))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"decoder_input": "latents"}, "Did you mean 'latent'"),
        ({"reconstruct": "state"}, "next_state"),
        ({"steps": 1e5}, "integer"),
        ({"decoder_layers": 0}, "at least 1"),
        ({"latent_size": 0}, "at least 1"),
        ({"beta": -1.0}, "beta"),
        ({"beta": float("nan")}, "finite"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"holdout": 1.0}, "holdout"),
        ({"kl_warmup_steps": -1}, "kl_warmup_steps"),
    ],
)
def test_wrong_settings_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        make_model(**changes)
