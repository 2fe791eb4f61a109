"""The losses of CORL's own update functions on the golden toy problem.

Every step uses the same batch and the same draws. What an update reports as a sum over
the critics is recomputed per critic, from the state before the step and the same draws.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samg_jax import losses
from samg_jax.algorithms import awac, bc, cql, iql, spot, td3_bc
from tests.fixtures import toy_problems

TOLERANCE = 2e-4
N = 10  # Sampled actions of each kind.

POLICY, TARGET, CURRENT, FOLLOWING, SUPPORT, AUTOENCODER = 1, 2, 3, 4, 5, 6

LOCOMOTION = cql.Config()
ANTMAZE = cql.Config(
    actor_learning_rate=1e-4,
    critic_hidden_dims=(256,) * 5,
    initialization="finetune",
    cql_weight=5.0,
    gap_clip_min=-200.0,
    lagrange_gap=0.8,
    max_target_backup=True,
)
CAL_QL = dataclasses.replace(ANTMAZE, calibrated=True)

GOLDEN_AWAC = {
    "critic loss": (0.0527781, 0.0163622, 0.0180495),
    "actor loss": (2.31443, 1.83207, 1.61296),
}
GOLDEN_BC = {"actor_loss": (0.700228, 0.486066, 0.322296, 0.206608)}
GOLDEN_TD3_BC = {
    "critic_loss": (0.426144, 0.243837, 0.120807, 0.0529697),
    # Reported again until the next step on the actor.
    "actor_loss": (0, -1.79977, -1.79977, -1.83144),
}
GOLDEN_IQL = {
    "actor_learning_rate": (0.0003, 0.00015, 0, 0.00015, 0.0003),
    "value_loss": (0.0480226, 0.0155068, 0.00973635, 0.00595217, 0.00337663),
    "critic_loss": (0.0937628, 0.108099, 0.0952794, 0.0590376, 0.0520583),
}
GOLDEN_IQL_ACTOR = {
    False: (4.55803, 1.64916, 1.16018, 1.29125, 1.54375),
    True: (2.34882, 0.68542, 0.471027, 0.560873, 0.636908),
}
# What is reported at steps without an update of that kind is not compared.
GOLDEN_SPOT = {
    "vae_loss": {1: 3.55677, 2: 1.53699},
    "reconstruction": {1: 1.68721, 2: 0.901976},
    "kl": {1: 3.73911, 2: 1.27003},
    "critic_loss": {
        **{3: 0.426143, 4: 0.243836, 5: 0.120763, 6: 0.0529443},
        **{7: 0.0176627, 8: 0.0197505, 9: 0.00486863, 10: 0.0124247},
    },
    "actor_loss": {4: -0.331638, 6: -0.336192, 8: -0.467451, 10: -0.598093},
    "support_loss": {4: 2.67345, 6: 2.65523, 8: 2.66275, 10: 2.67938},
    "support_weight": {4: 0.25, 6: 0.25, 8: 0.2, 10: 0.15},
}
GOLDEN_CQL = {
    "locomotion": {
        "mean log pi": (-0.871717, -0.901128, -0.929579),
        "actor loss": (-0.767386, -0.737464, -0.707555),
        "temperature loss": (0, -8.70338e-05, -0.000175797),
        "TD loss 1": (0.0248037, 0.0186251, 0.0388714),
        "TD loss 2": (0.0100504, 0.0166452, 0.045657),
        "mean bootstrap value": (-0.0157236, -0.0151818, -0.0143324),
        "D_1": (4.41093, 4.25511, 4.11902),
        "D_2": (4.41631, 4.25906, 4.12081),
        "penalty_1": (44.1093, 42.5511, 41.1902),
        "log temperature after": (-3e-05, -6.00076e-05, -9.00274e-05),
        "log-std offset after": (-0.99997, -0.99994, -0.99991),
    },
    "antmaze": {
        "mean log pi": (-0.871717, -0.956522, -1.03749),
        "actor loss": (-0.88731, -0.907539, -0.909056),
        "temperature loss": (0, -0.000295652, -0.000607697),
        "TD loss 1": (0.0118864, 0.0267862, 0.100892),
        "TD loss 2": (0.0230283, 0.0481059, 0.122895),
        "mean bootstrap value": (0.0207021, 0.0181612, 0.0172829),
        "D_1": (4.4863, 4.22014, 4.00965),
        "D_2": (4.45797, 4.19917, 3.99708),
        "penalty_1": (50.102, 46.4985, 43.6498),
        "multiplier used": (2.71828, 2.7191, 2.71991),
        "log temperature after": (-0.0001, -0.000200065, -0.000300234),
        "log multiplier after": (1.0003, 1.0006, 1.0009),
        "log-std offset after": (-0.9999, -0.9998, -0.9997),
    },
    "cal_ql": {
        "actor loss": (-0.88731, -0.961983, -1.01545),
        "TD loss 1": (0.0118864, 0.0491793, 0.173839),
        "TD loss 2": (0.0230283, 0.0753149, 0.199654),
        "D_1": (4.53368, 4.26968, 4.07872),
        "D_2": (4.49943, 4.24645, 4.06151),
        "penalty_1": (50.746, 47.172, 44.5892),
        "share of Q_1(s, a_s) below G": (0.5, 0.525, 0.625),
    },
}


def cql_rows(algorithm, state, batch, key):
    """Returns the table's rows of one step, and the state after it."""
    config = algorithm.config
    next_values = algorithm.next_values(state, batch, key)
    targets = losses.td_targets(
        batch.rewards, batch.masks, next_values, config.discount
    )
    q = algorithm.critic.apply(state.critic.params, batch.observations, batch.actions)
    proposals = algorithm.proposals(state, batch, key)
    gaps = algorithm.gaps(state.critic.params, batch, proposals).mean(axis=1)
    policy_q = jax.vmap(algorithm.critic.apply, in_axes=(None, None, 0))(
        state.critic.params, batch.observations, proposals.actions[N : 2 * N]
    )
    after, metrics = algorithm.update(state, batch, key)

    multiplier = metrics.get("multiplier", jnp.ones(()))
    excess = gaps - (config.lagrange_gap or 0.0)
    td_losses = jnp.mean((q - targets) ** 2, axis=1)
    rows = {
        "mean log pi": metrics["log_prob"],
        "actor loss": metrics["actor_loss"],
        "temperature loss": metrics["temperature_loss"],
        "TD loss 1": td_losses[0],
        "TD loss 2": td_losses[1],
        "mean bootstrap value": next_values.mean(),
        "D_1": gaps[0],
        "D_2": gaps[1],
        "penalty_1": multiplier * config.cql_weight * excess[0],
        "multiplier used": multiplier,
        "log temperature after": after.log_temperature.params,
        "log multiplier after": after.log_multiplier.params,
        "log-std offset after": after.actor.params["params"]["offset"],
        "share of Q_1(s, a_s) below G": (policy_q[:, 0] < batch.mc_returns).mean(),
    }
    return after, rows, metrics


def run(step, algorithm, draws, steps=3):
    """Returns what these steps report, traced once with these draws."""
    state, batch, key = (
        toy_problems.state(algorithm),
        toy_problems.batch(),
        jax.random.key(0),
    )
    with toy_problems.Draws(draws):
        step = jax.jit(step).lower(state, batch, key)
    step, history = step.compile(), []
    for _ in range(steps):
        state, *reports = step(state, batch, key)
        history.append(reports)
    return history


def assert_rows(history, golden):
    for name, expected in golden.items():
        actual = [float(rows[name]) for rows in history]
        np.testing.assert_allclose(
            actual, expected, rtol=TOLERANCE, atol=1e-12, err_msg=name
        )


def test_awac_takes_the_steps_of_corl():
    algorithm = awac.make(awac.Config(), toy_problems.A)
    draws = [
        (TARGET, (toy_problems.B, toy_problems.A)),
        (POLICY, (toy_problems.B, toy_problems.A)),
    ]
    history = run(algorithm.update, algorithm, draws)
    rows = [
        {
            "critic loss": metrics["critic_loss"],
            "actor loss": metrics["actor_loss"],
        }
        for (metrics,) in history
    ]
    assert_rows(rows, GOLDEN_AWAC)


def test_bc_takes_the_steps_of_corl():
    algorithm = bc.make(bc.Config(), toy_problems.A)
    history = run(algorithm.update, algorithm, [], steps=4)
    assert_rows([metrics for (metrics,) in history], GOLDEN_BC)


def test_td3_bc_takes_the_steps_of_corl():
    algorithm = td3_bc.make(td3_bc.Config(), toy_problems.A)
    draws = [(TARGET, (toy_problems.B, toy_problems.A))]
    history = run(algorithm.update, algorithm, draws, steps=4)
    assert_rows([metrics for (metrics,) in history], GOLDEN_TD3_BC)


@pytest.mark.parametrize("deterministic", [False, True])
def test_iql_takes_the_steps_of_corl(deterministic):
    config = iql.Config(deterministic=deterministic, schedule_steps=2)
    algorithm = iql.make(config, toy_problems.A)
    history = run(algorithm.update, algorithm, [], steps=5)
    golden = {**GOLDEN_IQL, "actor_loss": GOLDEN_IQL_ACTOR[deterministic]}
    assert_rows([metrics for (metrics,) in history], golden)


def test_spot_takes_the_steps_of_corl():
    # In float64: many gradients of the toy are near 0, where Adam amplifies rounding.
    # The table has six digits, and all of them must agree.
    with jax.enable_x64(True):
        config = spot.Config(discount_online=0.995, cooling_steps=10, vae_steps=2)
        offline = spot.make(config, toy_problems.A)
        online = offline.online()
        state = toy_problems.as_float64(toy_problems.state(offline))
        batch, key = toy_problems.as_float64(toy_problems.batch()), jax.random.key(0)
        code = (toy_problems.B, 2 * toy_problems.A)
        policy = [(TARGET, (toy_problems.B, toy_problems.A)), (SUPPORT, code)]
        with toy_problems.Draws([(AUTOENCODER, code), *policy]):
            update = jax.jit(offline.update).lower(state, batch, key).compile()
        history = []
        for _ in range(6):
            state, metrics = update(state, batch, key)
            history.append(metrics)
        frozen = state.vae
        state = jax.jit(online.start_online)(state)
        with toy_problems.Draws(policy):
            update = jax.jit(online.update).lower(state, batch, key).compile()
        for _ in range(4):
            state, metrics = update(state, batch, key)
            history.append(metrics)
    for name, golden in GOLDEN_SPOT.items():
        for step, expected in golden.items():
            actual = float(history[step - 1][name])
            assert float(f"{actual:.6g}") == expected, (name, step)
    jax.tree.map(np.testing.assert_array_equal, frozen, state.vae)
    assert (int(state.step), int(state.online_step)) == (10, 4)


@pytest.mark.parametrize("calls", [1, cql.KINDS], ids=["one call", "a call per kind"])
@pytest.mark.parametrize(
    ("mode", "config"),
    [("locomotion", LOCOMOTION), ("antmaze", ANTMAZE), ("cal_ql", CAL_QL)],
)
def test_cql_takes_the_steps_of_corl(mode, config, calls, monkeypatch):
    # The first is an accelerator's, the second a processor's.
    monkeypatch.setattr(cql, "proposal_calls", lambda: calls)
    algorithm = cql.make(config, toy_problems.A)
    sampled = (N, toy_problems.B, toy_problems.A)
    target = (TARGET, sampled if config.max_target_backup else (1, *sampled[1:]))
    proposals = [(CURRENT, sampled), (FOLLOWING, sampled), ("uniform", sampled)]
    update = [target, (POLICY, (toy_problems.B, toy_problems.A)), *proposals]
    draws = [target, *proposals, *update]

    def step(state, batch, key):
        return cql_rows(algorithm, state, batch, key)

    history = run(step, algorithm, draws)
    assert_rows([rows for rows, _ in history], GOLDEN_CQL[mode])
    for rows, metrics in history:
        # The update minimized what the rows were computed from.
        td_loss = rows["TD loss 1"] + rows["TD loss 2"]
        gaps = rows["D_1"] + rows["D_2"] - 2 * (config.lagrange_gap or 0.0)
        penalty = config.cql_weight * gaps
        np.testing.assert_allclose(metrics["td_loss"], td_loss, rtol=1e-4)
        np.testing.assert_allclose(metrics["penalty"], penalty, rtol=1e-5)
        np.testing.assert_allclose(
            metrics["critic_loss"],
            td_loss + rows["multiplier used"] * penalty,
            rtol=1e-5,
        )
