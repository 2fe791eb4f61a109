import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samg_jax import networks
from tests import reference

B, O, A, E = 7, 5, 3, 2  # noqa: E741
WIDTHS = (48, 40)


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    return jnp.float32(rng.normal(size=(B, O))), jnp.float32(rng.normal(size=(B, A)))


def initialize(module, *inputs, seed=0):
    """Returns initial parameters as NumPy arrays."""
    params = jax.jit(module.init)(jax.random.key(seed), *inputs)["params"]
    return jax.tree.map(np.asarray, params)


def layers_of(params):
    """Returns kernel and bias of each layer of the MLP, in order."""
    mlp = params.get("MLP_0", params)
    return [
        (np.float64(mlp[f"Dense_{i}"]["kernel"]), np.float64(mlp[f"Dense_{i}"]["bias"]))
        for i in range(len(mlp))
    ]


def assert_uniform(values, bound):
    assert np.abs(values).max() <= bound * (1 + 1e-6)
    if values.size >= 40:
        assert values.max() > 0.85 * bound
        assert values.min() < -0.85 * bound
    if values.size >= 500:
        np.testing.assert_allclose(values.std(), bound / np.sqrt(3), rtol=0.1)


def assert_orthogonal(kernel, gain):
    rows, columns = kernel.shape
    gram = kernel @ kernel.T if rows < columns else kernel.T @ kernel
    expected = gain**2 * np.eye(min(rows, columns))
    np.testing.assert_allclose(gram, expected, atol=1e-5 * gain**2)


def test_default_init_is_uniform_in_the_inverse_root_of_the_inputs(inputs):
    mlp = networks.MLP(WIDTHS, A)
    for kernel, bias in layers_of(initialize(mlp, inputs[0])):
        bound = 1 / np.sqrt(kernel.shape[0])
        assert_uniform(kernel, bound)
        assert_uniform(bias, bound)
        assert np.any(bias != 0)


@pytest.mark.parametrize("gain", [np.sqrt(2.0), 0.01])
def test_orthogonal_init_has_its_gain_and_no_bias(inputs, gain):
    init = networks.orthogonal_init(gain)
    mlp = networks.MLP((4, 24), A, init, init)  # Narrowing, widening, narrowing.
    for kernel, bias in layers_of(initialize(mlp, inputs[0])):
        assert_orthogonal(kernel, gain)
        np.testing.assert_array_equal(bias, 0.0)


@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_xavier_init_has_its_bound_and_no_bias(inputs, gain):
    init = networks.xavier_init(gain)
    mlp = networks.MLP(WIDTHS, A, init, init)
    for kernel, bias in layers_of(initialize(mlp, inputs[0])):
        assert_uniform(kernel, gain * np.sqrt(6 / sum(kernel.shape)))
        np.testing.assert_array_equal(bias, 0.0)


def test_mlp_matches_a_plain_loop(inputs):
    mlp = networks.MLP(WIDTHS, A)
    params = initialize(mlp, inputs[0])
    actual = jax.jit(mlp.apply)({"params": params}, inputs[0])
    expected = [reference.mlp(params, row) for row in inputs[0]]
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)


def test_ensemble_members_are_independent_critics(inputs):
    ensemble = networks.critic_ensemble((12, 10), E)
    params = initialize(ensemble, *inputs)
    actual = jax.jit(ensemble.apply)({"params": params}, *inputs)
    assert actual.shape == (E, B)
    for kernels, biases in layers_of(params):
        assert kernels.shape[0] == biases.shape[0] == E
        assert np.all(kernels[0] != kernels[1])
    rows = np.concatenate(inputs, axis=1)
    for e in range(E):
        member = jax.tree.map(lambda leaf, e=e: np.asarray(leaf)[e], params["MLP_0"])
        expected = [reference.mlp(member, row)[0] for row in rows]
        np.testing.assert_allclose(actual[e], expected, rtol=1e-4, atol=1e-5)


def test_each_ensemble_member_is_initialized_like_a_critic_of_its_own(inputs):
    gain = np.sqrt(2.0)
    hidden, head = networks.orthogonal_init(gain), networks.orthogonal_init(0.01)
    ensemble = networks.critic_ensemble((12, 10), E, hidden, head)
    *hidden_layers, (heads, _) = layers_of(initialize(ensemble, *inputs))
    for e in range(E):
        for kernels, _ in hidden_layers:
            assert_orthogonal(kernels[e], gain)
        assert_orthogonal(heads[e], 0.01)
    default = layers_of(initialize(networks.critic_ensemble(WIDTHS, E), *inputs))
    for kernels, biases in default:
        assert_uniform(kernels, 1 / np.sqrt(kernels.shape[1]))
        assert_uniform(biases, 1 / np.sqrt(kernels.shape[1]))


def test_unequal_critics_are_critics_of_their_own_sizes(inputs):
    gain, sizes = np.sqrt(2.0), [(12, 10), (7,), (5, 9, 6)]
    hidden, head = networks.orthogonal_init(gain), networks.orthogonal_init(0.01)
    critics = networks.UnequalCritics(sizes, hidden, head)
    params = initialize(critics, *inputs)
    actual = jax.jit(critics.apply)({"params": params}, *inputs)
    assert actual.shape == (3, B)
    rows = np.concatenate(inputs, axis=1)
    for e, widths in enumerate(sizes):
        member = params[f"Critic_{e}"]["MLP_0"]
        *hidden_layers, (kernel, _) = layers_of(member)
        assert [bias.shape[0] for _, bias in hidden_layers] == list(widths)
        for hidden_kernel, _ in hidden_layers:
            assert_orthogonal(hidden_kernel, gain)
        assert_orthogonal(kernel, 0.01)
        expected = [reference.mlp(member, row)[0] for row in rows]
        np.testing.assert_allclose(actual[e], expected, rtol=1e-4, atol=1e-5)
    stacked = [jnp.stack([x, x + 1]) for x in inputs]
    shape = jax.eval_shape(critics.apply, {"params": params}, *stacked).shape
    assert shape == (3, 2, B)


def test_critics_map_over_leading_axes(inputs):
    ensemble = networks.critic_ensemble((12, 10), E)
    params = {"params": initialize(ensemble, *inputs)}
    observations, actions = inputs
    actual = jax.jit(ensemble.apply)(params, observations[0], actions[0])
    assert actual.shape == (E,)
    stacked = [jnp.stack([x, x + 1, x - 1, 2 * x]) for x in inputs]
    assert jax.eval_shape(ensemble.apply, params, *stacked).shape == (E, 4, B)


def test_value_has_one_number_per_observation(inputs):
    value = networks.Value(WIDTHS)
    params = initialize(value, inputs[0])
    actual = jax.jit(value.apply)({"params": params}, inputs[0])
    expected = [reference.mlp(params["MLP_0"], row)[0] for row in inputs[0]]
    assert actual.shape == (B,)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)


def test_deterministic_actor_is_squashed_and_may_start_near_zero(inputs):
    actor = networks.DeterministicActor(WIDTHS, A, networks.uniform_init(1e-3))
    params = initialize(actor, inputs[0])
    actual = jax.jit(actor.apply)({"params": params}, inputs[0])
    expected = [np.tanh(reference.mlp(params["MLP_0"], row)) for row in inputs[0]]
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-7)
    *hidden, head = layers_of(params)
    for kernel, bias in hidden:
        assert_uniform(kernel, 1 / np.sqrt(kernel.shape[0]))
        assert np.any(bias != 0)
    for values in head:
        assert_uniform(values, 1e-3)
        assert np.any(values != 0)


def test_gaussian_actor_has_one_clipped_log_std_per_dimension(inputs):
    actor = networks.GaussianActor(WIDTHS, A)
    params = initialize(actor, inputs[0])
    np.testing.assert_array_equal(params["log_std"], np.zeros(A))
    params = {**params, "log_std": jnp.float32([-30.0, 0.5, 4.0])}
    mean, log_std = jax.jit(actor.apply)({"params": params}, inputs[0])
    np.testing.assert_array_equal(log_std, [-20.0, 0.5, 2.0])
    expected = [reference.mlp(params["MLP_0"], row) for row in inputs[0]]
    np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-6)


def test_tanh_gaussian_actor_scales_shifts_and_clips_its_log_std(inputs):
    actor = networks.TanhGaussianActor(WIDTHS, A)
    params = initialize(actor, inputs[0])
    assert (float(params["multiplier"]), float(params["offset"])) == (1.0, -1.0)
    apply = jax.jit(actor.apply)
    rows = np.array([reference.mlp(params["MLP_0"], row) for row in inputs[0]])
    for multiplier, offset in [(1.0, -1.0), (2.5, 0.3), (500.0, -10.0)]:
        scalars = {"multiplier": jnp.float32(multiplier), "offset": jnp.float32(offset)}
        mean, log_std = apply({"params": {**params, **scalars}}, inputs[0])
        assert mean.shape == log_std.shape == (B, A)
        np.testing.assert_allclose(mean, rows[:, :A], rtol=1e-4, atol=1e-6)
        expected = np.clip(multiplier * rows[:, A:] + offset, -20.0, 2.0)
        np.testing.assert_allclose(log_std, expected, rtol=1e-4, atol=1e-4)
    assert {-20.0, 2.0} <= set(np.ravel(expected))
