import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from samg_jax import distributions
from tests import reference

B, A, N = 7, 3, 5


@pytest.fixture
def policy():
    rng = np.random.default_rng(0)
    mean, log_std = rng.normal(size=(2, B, A)).astype(np.float32)
    return mean, log_std - 0.5


@pytest.fixture
def inject(monkeypatch):
    """Returns a function that fixes the noise of all draws that follow."""

    def set_noise(noise):
        noise = jnp.float32(noise)

        def draw(key, shape, dtype):
            assert noise.shape == tuple(shape)
            return noise.astype(dtype)

        monkeypatch.setattr(jax.random, "normal", draw)
        return noise

    return set_noise


def test_gaussian_log_prob_matches_a_plain_loop(policy):
    mean, log_std = policy
    x = np.random.default_rng(1).normal(size=(N, B, A)).astype(np.float32)
    actual = distributions.gaussian_log_prob(x, mean, log_std)
    expected = [
        [reference.gaussian_log_prob(x[n, b], mean[b], log_std[b]) for b in range(B)]
        for n in range(N)
    ]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    scipys = stats.norm.logpdf(np.float64(x), mean, np.exp(np.float64(log_std)))
    np.testing.assert_allclose(actual, scipys.sum(-1), rtol=1e-5, atol=1e-5)


def test_one_log_std_serves_all_rows(policy):
    mean, log_std = policy
    x = np.zeros_like(mean)
    actual = distributions.gaussian_log_prob(x, mean, log_std[0])
    repeated = np.broadcast_to(log_std[0], mean.shape)
    expected = distributions.gaussian_log_prob(x, mean, repeated)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("samples", [None, 1, N])
def test_tanh_gaussian_matches_a_plain_loop(policy, inject, samples):
    mean, log_std = policy
    shape = (B, A) if samples is None else (samples, B, A)
    noise = inject(2 * np.random.default_rng(1).normal(size=shape))
    actions, log_probs = distributions.sample_tanh_gaussian(
        jax.random.key(0), mean, log_std, samples
    )
    assert actions.shape == shape
    assert log_probs.shape == shape[:-1]
    for index in np.ndindex(*log_probs.shape):
        expected_action, expected_log_prob = reference.tanh_gaussian(
            noise[index], mean[index[-1]], log_std[index[-1]]
        )
        np.testing.assert_allclose(actions[index], expected_action, rtol=1e-5)
        np.testing.assert_allclose(
            log_probs[index], expected_log_prob, rtol=1e-5, atol=1e-4
        )


def test_tanh_gaussian_density_at_a_known_point(inject):
    inject([[(0.7 - 0.3) / np.exp(-0.5)]])
    mean, log_std = jnp.float32([[0.3]]), jnp.float32([[-0.5]])
    action, log_prob = distributions.sample_tanh_gaussian(
        jax.random.key(0), mean, log_std, None
    )
    np.testing.assert_allclose(action, [[0.6043678]], rtol=1e-6)
    np.testing.assert_allclose(log_prob, [-0.1818606], rtol=2e-6)
    gaussian = distributions.gaussian_log_prob(jnp.float32([[0.7]]), mean, log_std)
    np.testing.assert_allclose(gaussian, [-0.6364011], rtol=1e-6)


@pytest.mark.parametrize(("mean", "log_std"), [(0.3, -0.5), (-1.0, 0.2), (0.0, -2.0)])
def test_tanh_gaussian_density_integrates_to_one(inject, mean, log_std):
    noise = inject(np.linspace(-9, 9, 20001)[:, None])
    shape = noise.shape
    actions, log_probs = distributions.sample_tanh_gaussian(
        jax.random.key(0), jnp.full(shape, mean), jnp.full(shape, log_std), None
    )
    del actions  # In float32 too coarse near the ends.
    actions = np.tanh(mean + np.exp(log_std) * np.float64(noise[:, 0]))
    total = np.trapezoid(np.exp(np.float64(log_probs)), actions)
    np.testing.assert_allclose(total, 1.0, rtol=1e-4)


@pytest.mark.parametrize("u", [-40.0, -12.0, 12.0, 40.0])
def test_tanh_gaussian_density_is_exact_for_saturated_actions(inject, u):
    noise = inject([[u]])
    zero = jnp.zeros((1, 1))
    action, log_prob = distributions.sample_tanh_gaussian(
        jax.random.key(0), zero, zero, None
    )
    _, expected = reference.tanh_gaussian(noise[0], [0.0], [0.0])
    # Saturated: 1 - tanh(u)^2 has no digit left, however tanh is compiled.
    assert 1.0 - abs(float(action[0, 0])) < 4 * np.finfo(np.float32).eps
    np.testing.assert_allclose(log_prob, [expected], rtol=1e-5)


@pytest.mark.parametrize(("std", "limit"), [(0.2, 0.5), (1.0, 0.5), (0.03, 0.01)])
def test_perturbed_actions_match_a_plain_loop(inject, std, limit):
    rng = np.random.default_rng(0)
    actions = np.float32(rng.uniform(-1, 1, size=(B, A)))
    noise = inject(rng.normal(size=(B, A)))
    actual = distributions.sample_perturbed(jax.random.key(0), actions, std, limit)
    expected = [reference.perturbed(actions[b], noise[b], std, limit) for b in range(B)]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_samples_follow_the_distributions_they_name():
    mean, log_std = jnp.full((1, 1), 0.4), jnp.full((1, 1), -0.3)
    actions, _ = distributions.sample_tanh_gaussian(
        jax.random.key(0), mean, log_std, 5000
    )
    u = np.arctanh(np.float64(actions)).ravel()
    assert stats.kstest(u, stats.norm(0.4, np.exp(-0.3)).cdf).pvalue > 0.01

    wide = jnp.full((5000, 1), 0.4)
    clipped = distributions.sample_clipped_gaussian(jax.random.key(1), wide, log_std[0])
    clipped, std = np.ravel(clipped), np.exp(-0.3)
    for end, share in [
        (1.0, stats.norm.sf(0.6 / std)),
        (-1, stats.norm.cdf(-1.4 / std)),
    ]:
        spread = np.sqrt(share * (1 - share) / 5000)
        assert abs(np.mean(clipped == end) - share) < 4 * spread


def test_clipped_gaussian_matches_a_plain_loop(policy, inject):
    mean, log_std = policy
    noise = inject(np.random.default_rng(1).normal(size=(B, A)))
    actual = distributions.sample_clipped_gaussian(jax.random.key(0), mean, log_std[0])
    expected = [
        reference.clipped_gaussian(noise[b], mean[b], log_std[0]) for b in range(B)
    ]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    assert np.any(np.abs(actual) == 1.0)


def test_a_policy_with_unequal_mean_and_log_std_is_refused(policy):
    mean, log_std = policy
    for wrong in (log_std[0], log_std[:, :1], log_std[:-1]):
        with pytest.raises(AssertionError):
            distributions.sample_tanh_gaussian(jax.random.key(0), mean, wrong, None)
