import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samg_jax.algorithms import awac, cql
from samg_jax.guidance import guided_target
from tests import reference
from tests.fixtures import toy_problems

B, O, A, N = 4, 3, 2, 5  # noqa: E741

SMALL = cql.Config(
    actor_hidden_dims=(8, 6),
    critic_hidden_dims=(7,),
    num_samples=N,
    actor_learning_rate=1e-3,
    critic_learning_rate=2e-3,
)


def small(**changes):
    return cql.make(dataclasses.replace(SMALL, **changes), A)


@pytest.mark.parametrize(
    ("size", "density"), [(3, 2.0794415), (6, 4.1588831), (8, 5.5451774)]
)
def test_proposals_at_random_have_the_uniform_density(size, density):
    algorithm = cql.make(SMALL, size)
    batch = toy_problems.random_batch(np.random.default_rng(0), B, O, size)

    @jax.jit
    def propose(key):
        state = algorithm.init(key, batch.observations)
        return algorithm.proposals(state, batch, key)

    proposals = propose(jax.random.key(0))
    np.testing.assert_allclose(proposals.log_densities[:N], -density, rtol=1e-6)
    assert np.abs(proposals.actions[:N]).max() <= 1.0


class SAC:
    """Soft actor-critic in float64 NumPy; gradients by central differences.

    Parameters are `{"actor", "multiplier", "offset", "critics", "targets",
    "log_temperature"}`; each MLP is a dict of layers.
    """

    def __init__(self, params, batch, config):
        self.params, self.batch, self.config = params, batch, config

    def policy(self, params, observation, noise):
        """Returns one action and its log-density."""
        output = reference.mlp(params["actor"], observation)
        mean, raw = output[:A], output[A:]
        log_std = [float(params["multiplier"] * x + params["offset"]) for x in raw]
        log_std = [min(max(x, -20.0), 2.0) for x in log_std]
        return reference.tanh_gaussian(noise, mean, log_std)

    def targets(self, noise):
        temperature = np.exp(self.params["log_temperature"])
        values = []
        for observation, epsilon in zip(
            self.batch.next_observations, noise, strict=True
        ):
            action, log_prob = self.policy(self.params, observation, epsilon)
            inputs = [*observation, *action]
            q = min(reference.mlp(m, inputs)[0] for m in self.params["targets"])
            values.append(q - temperature * log_prob)
        rewards, masks = self.batch.rewards, self.batch.masks
        return reference.td_targets(rewards, masks, values, self.config.discount)

    def critic_loss(self, params, targets):
        rows = np.concatenate([self.batch.observations, self.batch.actions], axis=1)
        q = [[reference.mlp(m, row)[0] for row in rows] for m in params["critics"]]
        return reference.td_loss(q, targets)

    def actor_loss(self, params, noise):
        temperature = float(np.exp(self.params["log_temperature"]))
        log_probs, q = [], []
        for observation, epsilon in zip(self.batch.observations, noise, strict=True):
            action, log_prob = self.policy(params, observation, epsilon)
            inputs = [*observation, *action]
            log_probs.append(log_prob)
            q.append(min(reference.mlp(m, inputs)[0] for m in self.params["critics"]))
        return reference.soft_actor_loss(log_probs, q, temperature), log_probs

    def temperature_gradient(self, log_probs):
        return -sum(log_prob - A for log_prob in log_probs) / len(log_probs)


def gradient(loss, tree, step=1e-6):
    """Returns the central differences of `loss(tree)` with respect to every number."""
    leaves, structure = jax.tree.flatten(tree)
    grads = []
    for i, leaf in enumerate(leaves):
        grad = np.zeros(np.shape(leaf))
        for index in np.ndindex(*np.shape(leaf)):
            ends = []
            for sign in (1, -1):
                moved = np.array(leaf, np.float64)
                moved[index] += sign * step
                ends.append(
                    loss(
                        jax.tree.unflatten(
                            structure, [*leaves[:i], moved, *leaves[i + 1 :]]
                        )
                    )
                )
            grad[index] = (ends[0] - ends[1]) / (2 * step)
        grads.append(grad)
    return jax.tree.unflatten(structure, grads)


def random_state(algorithm, rng):
    zeros = jax.tree.map(jnp.asarray, toy_problems.zero_state(algorithm, O))
    actor = toy_problems.perturb(rng, zeros.actor.params)
    actor["params"] |= {"multiplier": jnp.float32(0.8), "offset": jnp.float32(-0.6)}
    temperature = zeros.log_temperature.replace(params=jnp.float32(-0.4))
    critic = toy_problems.perturb(rng, zeros.critic.params)
    return zeros.replace(
        actor=zeros.actor.replace(params=actor),
        critic=zeros.critic.replace(params=critic),
        target_critic=toy_problems.perturb(rng, zeros.target_critic),
        log_temperature=temperature,
    )


def as_float64(state):
    """Returns the parameters of a state as the reference wants them."""
    state = jax.tree.map(np.float64, state)
    actor = state.actor.params["params"]

    def members(params):
        mlp = params["params"]["MLP_0"]
        return [jax.tree.map(lambda leaf, e=e: leaf[e], mlp) for e in range(2)]

    return {
        "actor": actor["MLP_0"],
        "multiplier": actor["multiplier"],
        "offset": actor["offset"],
        "critics": members(state.critic.params),
        "targets": members(state.target_critic),
        "log_temperature": float(state.log_temperature.params),
    }


def test_without_conservative_weight_an_update_is_one_of_sac():
    algorithm = small(cql_weight=0.0, backup_entropy=True)
    rng = np.random.default_rng(0)
    state, batch = random_state(algorithm, rng), toy_problems.random_batch(rng, B, O, A)
    key = jax.random.key(0)
    # Two draws and no more: there are no proposals to be conservative about.
    with toy_problems.Draws([(2, (1, B, A)), (1, (B, A))]):
        update = jax.jit(algorithm.update).lower(state, batch, key)
    after, metrics = update.compile()(state, batch, key)
    assert "penalty" not in metrics

    params = as_float64(state)
    sac = SAC(params, batch, algorithm.config)
    targets = sac.targets(np.float64(toy_problems.noise(2, (1, B, A)))[0])
    noise = np.float64(toy_problems.noise(1, (B, A)))
    actor_loss, log_probs = sac.actor_loss(params, noise)
    np.testing.assert_allclose(metrics["target"], np.mean(targets), rtol=1e-5)
    np.testing.assert_allclose(
        metrics["td_loss"], sac.critic_loss(params, targets), rtol=1e-5
    )
    np.testing.assert_allclose(metrics["actor_loss"], actor_loss, rtol=1e-5)

    policy = {name: params[name] for name in ("actor", "multiplier", "offset")}
    rates = algorithm.config.actor_learning_rate, algorithm.config.critic_learning_rate
    gradients = {
        "critics": gradient(
            lambda critics: sac.critic_loss({"critics": critics}, targets),
            params["critics"],
        ),
        **gradient(lambda policy: sac.actor_loss(policy, noise)[0], policy),
        "log_temperature": sac.temperature_gradient(log_probs),
    }
    new = as_float64(after)
    for name, grads in gradients.items():
        rate = rates[name == "critics"]
        moved = jax.tree.map(
            np.vectorize(lambda g, r=rate: reference.adam([g], r)), grads
        )
        expected = jax.tree.map(np.add, params[name], moved)
        jax.tree.map(
            lambda a, b, r=rate: np.testing.assert_allclose(
                a, b, rtol=0, atol=2e-3 * r
            ),
            new[name],
            expected,
        )
    flat = [
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
        for tree in (new["critics"], params["targets"], new["targets"])
    ]
    moved = reference.soft_update(*flat[:2], algorithm.config.tau)
    np.testing.assert_allclose(flat[2], moved, rtol=0, atol=1e-7)
    assert after.log_multiplier.params == state.log_multiplier.params


def test_fine_tuning_takes_its_own_weight_and_is_not_calibrated():
    algorithm = small(calibrated=True, cql_weight=5.0, cql_weight_online=2.0)
    online = algorithm.online()
    assert (online.config.cql_weight, online.config.calibrated) == (2.0, False)
    assert (algorithm.config.cql_weight, algorithm.config.calibrated) == (5.0, True)
    kept = small(cql_weight=5.0).online()
    assert kept.config.cql_weight == 5.0

    rng = np.random.default_rng(0)
    state, batch = random_state(algorithm, rng), toy_problems.random_batch(rng, B, O, A)
    plain = small(cql_weight=5.0)
    penalties = {}
    for name, chosen in {
        "calibrated": algorithm,
        "online": online,
        "plain": plain,
    }.items():

        @jax.jit
        def penalty(state, batch, key, chosen=chosen):
            keys = cql.Keys(*jax.random.split(key, 3))
            inputs = state, batch, jnp.zeros(B), keys
            _, metrics = chosen.critic_loss(state.critic.params, inputs, lambda fn: fn)
            return metrics["penalty"]

        for returns in (0.0, 50.0):
            bounded = batch.replace(mc_returns=jnp.full(B, returns))
            penalties[name, returns] = penalty(state, bounded, jax.random.key(0))
    assert penalties["online", 0.0] == penalties["online", 50.0]
    assert penalties["calibrated", 50.0] > penalties["calibrated", 0.0] + 5.0
    np.testing.assert_allclose(
        penalties["online", 0.0], 2.0 / 5.0 * penalties["plain", 0.0], rtol=1e-6
    )


def test_gaps_are_those_of_all_proposals_in_one_call(monkeypatch):
    algorithm = small()
    rng = np.random.default_rng(0)
    state, batch = random_state(algorithm, rng), toy_problems.random_batch(rng, B, O, A)
    actions = jnp.float32(rng.uniform(-1, 1, size=(3 * N, B, A)))
    log_densities = jnp.float32(rng.normal(size=(3 * N, B)))
    inputs = state.critic.params, batch, cql.Proposals(actions, log_densities)
    found = []
    for calls in (1, 3):
        monkeypatch.setattr(cql, "proposal_calls", lambda calls=calls: calls)
        found.append(algorithm.gaps(*inputs))
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)


def test_calibration_may_be_kept_while_fine_tuning():
    kept = small(calibrated=True, calibrated_online=True, cql_weight_online=2.0)
    assert kept.online().config.calibrated
    assert kept.online().config.cql_weight == 2.0
    assert not small(calibrated_online=True).online().config.calibrated


def test_a_bound_of_minus_infinity_is_none():
    plain, calibrated = small(), small(calibrated=True)
    rng = np.random.default_rng(0)
    state, batch = random_state(plain, rng), toy_problems.random_batch(rng, B, O, A)
    batch = batch.replace(mc_returns=jnp.full(B, -jnp.inf))

    def step(algorithm):
        return jax.jit(algorithm.update)(state, batch, jax.random.key(0))

    jax.tree.map(np.testing.assert_array_equal, step(calibrated), step(plain))


def test_the_return_to_go_bounds_the_policys_actions_and_no_others():
    algorithm = small(calibrated=True)
    rng = np.random.default_rng(0)
    state, batch = random_state(algorithm, rng), toy_problems.random_batch(rng, B, O, A)
    actions = jnp.float32(rng.uniform(-1, 1, size=(3 * N, B, A)))
    log_densities = jnp.float32(rng.normal(size=(3 * N, B)))
    proposals = cql.Proposals(actions, log_densities)
    actual = jax.jit(algorithm.gaps)(state.critic.params, batch, proposals)

    critics = as_float64(state)["critics"]
    q = np.zeros((3 * N, 2, B))
    data_q = np.zeros((2, B))
    for e, critic in enumerate(critics):
        for b, observation in enumerate(batch.observations):
            data_q[e, b] = reference.mlp(critic, [*observation, *batch.actions[b]])[0]
            for n in range(3 * N):
                value = reference.mlp(critic, [*observation, *actions[n, b]])[0]
                bound = float(batch.mc_returns[b]) if n >= N else value
                q[n, e, b] = max(value, bound)
    expected = reference.conservative_gaps(
        q, data_q, log_densities, 1.0, (-np.inf, np.inf)
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [small, lambda: awac.make(awac.Config(hidden_dims=(8, 6)), A)],
    ids=["cql", "awac"],
)
def test_states_of_two_algorithms_are_arrays_in_the_same_tree(make):
    observations = jnp.zeros((B, O))
    states = [
        jax.jit(make().init)(jax.random.key(seed), observations) for seed in (0, 1)
    ]
    for state in states:
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    assert stacked.step.shape == (2,)

    state = states[0]
    equal = jax.tree.map(np.array_equal, state.critic.params, state.target_critic)
    assert all(jax.tree.leaves(equal)), "a target starts as a copy"
    pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state)]
    assert len(set(pointers)) == len(pointers), "donation needs buffers of their own"


def test_unequal_critics_learn_as_equal_ones_do():
    settings = {"calibrated": True, "lagrange_gap": 0.8, "max_target_backup": True}
    equal = small(**settings)
    apart = small(**settings, second_critic_hidden_dims=SMALL.critic_hidden_dims)

    def unstack(params):
        members = [jax.tree.map(lambda leaf, e=e: leaf[e], params) for e in range(2)]
        params = {f"Critic_{e}": member["params"] for e, member in enumerate(members)}
        return {"params": params}

    def as_apart(state):
        critic = state.critic.replace(params=unstack(state.critic.params))
        target = unstack(state.target_critic)
        return state.replace(critic=critic, target_critic=target)

    rng = np.random.default_rng(0)
    state, batch = random_state(equal, rng), toy_problems.random_batch(rng, B, O, A)
    fresh = jax.tree.map(jnp.asarray, toy_problems.zero_state(apart, O)).critic
    unequal = as_apart(state)
    unequal = unequal.replace(critic=unequal.critic.replace(opt_state=fresh.opt_state))
    guide = guided_target.make_guide(state.target_critic, jnp.linspace(0.1, 0.9, B))
    guide_apart = guided_target.make_guide(
        unequal.target_critic, jnp.linspace(0.1, 0.9, B)
    )
    step = jax.jit(lambda s: equal.update(s, batch, jax.random.key(0), guide))
    other = jax.jit(lambda s: apart.update(s, batch, jax.random.key(0), guide_apart))
    for _ in range(3):
        state, metrics = step(state)
        unequal, metrics_apart = other(unequal)
        expected = as_apart(state)
        for name in ("actor", "critic", "log_temperature", "log_multiplier"):
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
                getattr(unequal, name).params,
                getattr(expected, name).params,
            )
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
            metrics_apart,
            metrics,
        )


def test_corls_offline_script_has_a_deep_and_a_shallow_critic():
    algorithm = small(
        critic_hidden_dims=(8,) * 5,
        second_critic_hidden_dims=(8,) * 3,
        initialization="offline",
    )
    state = jax.jit(algorithm.init)(jax.random.key(0), jnp.zeros((B, O)))
    critics = state.critic.params["params"]
    assert [len(critics[f"Critic_{e}"]["MLP_0"]) for e in range(2)] == [6, 4]
    batch = toy_problems.random_batch(np.random.default_rng(0), B, O, A)
    after, metrics = jax.jit(algorithm.update)(state, batch, jax.random.key(0))
    assert all(np.isfinite(value) for value in metrics.values())
    for before, now in (
        (state.critic.params, after.critic.params),
        (state.target_critic, after.target_critic),
    ):
        # Every layer of both moves.
        moved = jax.tree.map(lambda a, b: np.any(a != b), before, now)
        assert all(jax.tree.leaves(moved))


def test_temperature_and_multiplier_start_as_in_corl():
    state = jax.jit(small().init)(jax.random.key(0), jnp.zeros((B, O)))
    assert float(jnp.exp(state.log_temperature.params)) == 1.0
    np.testing.assert_allclose(np.exp(state.log_multiplier.params), np.e, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "actor_head", "critic_head", "actor_bias"),
    [("offline", None, 0.01, True), ("finetune", np.sqrt(2), np.sqrt(2), False)],
)
def test_initializations_follow_corls_two_scripts(
    name, actor_head, critic_head, actor_bias
):
    state = jax.jit(small(initialization=name).init)(
        jax.random.key(0), jnp.zeros((B, O))
    )
    actor = state.actor.params["params"]["MLP_0"]
    critic = state.critic.params["params"]["MLP_0"]
    assert np.any(actor["Dense_0"]["bias"] != 0) == actor_bias
    for layer, gain in (("Dense_0", np.sqrt(2)), ("Dense_1", critic_head)):
        for kernel in critic[layer]["kernel"]:
            singular = np.linalg.svd(kernel, compute_uv=False)
            np.testing.assert_allclose(singular, gain, rtol=1e-4)
        np.testing.assert_array_equal(critic[layer]["bias"], 0.0)
    head = actor["Dense_2"]
    np.testing.assert_array_equal(head["bias"], 0.0)
    if actor_head is None:  # Xavier's bound.
        bound = 0.01 * np.sqrt(6 / sum(head["kernel"].shape))
        assert 0.5 * bound < np.abs(head["kernel"]).max() <= bound * (1 + 1e-6)
    else:
        singular = np.linalg.svd(head["kernel"], compute_uv=False)
        np.testing.assert_allclose(singular, actor_head, rtol=1e-4)


def test_an_unknown_initialization_is_refused():
    with pytest.raises(ValueError, match=r"'orthogonal'.*'offline' and 'finetune'"):
        small(initialization="orthogonal")
