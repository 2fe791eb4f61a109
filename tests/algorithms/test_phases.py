"""What moves at which update: delayed actors, SPOT's three phases, IQL's policies."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samg_jax.algorithms import iql, spot, td3_bc
from samg_jax.training import seed_axis
from tests.fixtures import toy_problems

B, O, A = 6, 4, 3  # noqa: E741

TD3_BC = td3_bc.make(td3_bc.Config(hidden_dims=(9, 8), policy_delay=3), A)
SPOT = spot.make(
    spot.Config(
        hidden_dims=(9, 8),
        vae_hidden_dims=(10, 7),
        vae_steps=2,
        discount_online=0.9,
        cooling_steps=4,
    ),
    A,
)


@functools.cache
def compiled(algorithm):
    return jax.jit(algorithm.update)


def train(algorithm, state, steps):
    """Returns the states before and after each of some updates, and their metrics."""
    rng = np.random.default_rng(0)
    states, metrics = [state], []
    for step in range(steps):
        batch = toy_problems.random_batch(rng, B, O, A)
        state, reported = compiled(algorithm)(state, batch, jax.random.key(step))
        states.append(state)
        metrics.append(reported)
    return states, metrics


def fresh(algorithm):
    return jax.jit(algorithm.init)(jax.random.key(0), jnp.zeros((B, O)))


def moves(states, name):
    """Returns the updates, counted from 1, that changed a part of the state."""
    trees = [jax.tree.leaves(getattr(state, name)) for state in states]
    return [
        step
        for step, (old, new) in enumerate(itertools.pairwise(trees), start=1)
        if any(np.any(a != b) for a, b in zip(old, new, strict=True))
    ]


DELAYED = ("actor", "target_actor", "target_critic")


def test_td3_bc_moves_actor_and_targets_at_every_third_update():
    states, metrics = train(TD3_BC, fresh(TD3_BC), 7)
    assert moves(states, "critic") == [1, 2, 3, 4, 5, 6, 7]
    for name in DELAYED:
        assert moves(states, name) == [3, 6]
    losses = [float(reported["actor_loss"]) for reported in metrics]
    assert losses[2] == losses[3] == losses[4] != losses[5]


def test_spot_trains_its_autoencoder_first_and_then_never_again():
    states, _ = train(SPOT, fresh(SPOT), 6)
    assert moves(states, "vae") == [1, 2]
    assert moves(states, "critic") == [3, 4, 5, 6]
    for name in DELAYED:
        assert moves(states, name) == [4, 6]
    assert [int(state.online_step) for state in states] == [0] * 7

    online = SPOT.online()
    state = jax.jit(online.start_online)(states[-1])
    states, metrics = train(online, state, 6)
    assert moves(states, "vae") == []
    assert moves(states, "critic") == [1, 2, 3, 4, 5, 6]
    assert moves(states, "actor") == [2, 4, 6]
    assert [int(state.online_step) for state in states] == list(range(7))
    # 1 - n / 4 of the weight, but not less than a fifth, at updates of the actor.
    weights = [float(reported["support_weight"]) for reported in metrics[1::2]]
    np.testing.assert_allclose(weights, 0.25 * np.float64([0.5, 0.2, 0.2]), rtol=1e-6)


def test_spot_begins_fine_tuning_with_fresh_optimisers_and_its_own_discount():
    before = train(SPOT, fresh(SPOT), 6)[0][-1]
    online = SPOT.online()
    assert (SPOT.config.discount, online.config.discount) == (0.99, 0.9)
    after = jax.jit(online.start_online)(before)
    for name in ("actor", "critic"):
        old, new = getattr(before, name), getattr(after, name)
        jax.tree.map(np.testing.assert_array_equal, old.params, new.params)
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(old.opt_state))
        assert not any(np.any(leaf != 0) for leaf in jax.tree.leaves(new.opt_state))
    for name in ("vae", "target_actor", "target_critic", "step"):
        jax.tree.map(
            np.testing.assert_array_equal, getattr(before, name), getattr(after, name)
        )
    kept = spot.make(spot.Config(), A).online()
    assert kept.config.discount == 0.99


def test_spots_last_layers_start_small():
    state = fresh(SPOT)
    for params, bound in (
        (state.actor.params["params"]["MLP_0"], 1e-3),
        (state.critic.params["params"]["MLP_0"], 3e-3),
    ):
        for leaf in jax.tree.leaves(params["Dense_2"]):
            assert 0 < np.abs(leaf).max() <= bound
        assert np.abs(params["Dense_1"]["kernel"]).max() > 0.1


@pytest.mark.parametrize("algorithm", [TD3_BC, SPOT, SPOT.online()])
def test_the_branch_is_not_computed_for_nothing_when_seeds_are_batched(algorithm):
    @jax.eval_shape
    def states():
        keys = jax.random.split(jax.random.key(0), 2)
        init = jax.vmap(algorithm.init, in_axes=(0, None))
        return seed_axis.share_steps(init(keys, jnp.zeros((B, O))))

    axes = seed_axis.axes(states)
    batched = jax.vmap(algorithm.update, in_axes=(axes, None, None), out_axes=(axes, 0))
    batch = toy_problems.random_batch(np.random.default_rng(0), B, O, A)
    program = jax.make_jaxpr(batched)(states, batch, jax.random.key(0))
    assert " cond[" in str(program)


@pytest.mark.parametrize("deterministic", [False, True])
def test_iql_explores_around_what_it_evaluates(deterministic):
    config = iql.Config(hidden_dims=(9, 8), deterministic=deterministic)
    algorithm = iql.make(config, A)
    state = fresh(algorithm)
    observations = jnp.float32(np.random.default_rng(0).normal(size=(5000, O)))
    acted = jax.jit(algorithm.act)(state, observations)
    explored = jax.jit(algorithm.explore)(state, observations, jax.random.key(1))
    assert np.abs(acted).max() < 1.0
    assert np.abs(explored).max() <= 1.0
    if deterministic:
        assert "log_std" not in state.actor.params["params"]
        np.testing.assert_allclose(np.std(explored - acted), 0.03, rtol=0.03)
    else:  # A standard deviation of 1 is clipped often.
        assert np.mean(np.abs(explored) == 1.0) > 0.2
