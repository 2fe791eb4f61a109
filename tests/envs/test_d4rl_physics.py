import warnings

import mujoco
import numpy as np
import pytest

from samg_jax.envs import d4rl_physics, tasks

# Masses in kg, then principal inertias, of the robots as the D4RL data know them.
HOPPER_MASSES = [3.534292, 3.926991, 2.714336, 5.089380]
WALKER_LEG = [3.926991, 2.714336, 2.940531]
ANT_LEG = [0.0364769, 0.0364769, 0.0649114]
MASSES = {
    "Hopper-v4": HOPPER_MASSES,
    "Walker2d-v4": [3.534292, *WALKER_LEG, *WALKER_LEG],
    "HalfCheetah-v4": [
        *(6.360313, 1.535248, 1.580940, 1.069191, 1.425587, 1.178851, 0.849869)
    ],
    "antmaze-umaze-v2": [0.3272492, *ANT_LEG, *ANT_LEG, *ANT_LEG, *ANT_LEG],
}
TORSO = [0.0618501, 0.0618501, 0.0044179]
THIGH = [0.0842667, 0.0842667, 0.0049087]
LEG = [0.0670441, 0.0670441, 0.0021715]
WALKER_FOOT = [0.0192115, 0.0192115, 0.005293]
ANT_LINK = [4.5856e-4, 4.5856e-4, 1.16726e-4]
ANT_LOWER_LEG = [2.35904e-3, 2.35904e-3, 2.07716e-4]
INERTIAS = {
    "Hopper-v4": [TORSO, THIGH, LEG, [0.0904637, 0.0904637, 0.0091609]],
    "Walker2d-v4": [TORSO, THIGH, LEG, WALKER_FOOT, THIGH, LEG, WALKER_FOOT],
    "HalfCheetah-v4": [
        [0.8944536, 0.883565, 0.0176178],
        [0.0152558, 0.0152558, 0.0016243],
        [0.0166083, 0.0166083, 0.0016726],
        [0.0054443, 0.0054443, 0.0011312],
        [0.0123185, 0.0123185, 0.0015083],
        [0.0071627, 0.0071627, 0.0012472],
        [0.0028998, 0.0028998, 0.0008992],
    ],
    "antmaze-umaze-v2": [
        [8.181231e-3] * 3,
        *([ANT_LINK, ANT_LINK, ANT_LOWER_LEG] * 4),
    ],
}
# Positions and velocities after 20 environment steps under a fixed sine of torques.
GOLDEN = {
    "Hopper-v4": (
        [-0.049951, 1.198805, -0.224487, -0.121012],
        [-1.018617, -0.241175, -5.255445],
    ),
    "Walker2d-v4": (
        [-0.098268, 1.179194, -0.502222, -0.168677],
        [-0.965595, -0.381342, -4.524702],
    ),
    "HalfCheetah-v4": (
        [-0.063628, -0.098621, 0.078004, -0.269866],
        [0.307974, 0.086650, 0.122629],
    ),
    "antmaze-umaze-v2": (
        [0.057811, -0.410533, 0.633300, 0.984136],
        [0.179633, -1.143923, -0.165253],
    ),
}


def play(env):
    model = env.unwrapped.model
    data = mujoco.MjData(model)
    for step in range(20):
        waves = np.sin(0.3 * step + np.arange(model.nu))
        data.ctrl[:] = 0.5 * model.actuator_ctrlrange[:, 1] * waves
        mujoco.mj_step(model, data, nstep=env.unwrapped.frame_skip)
    return data.qpos[:4], data.qvel[:3]


@pytest.mark.parametrize("env_id", list(MASSES))
def test_masses_and_inertias_are_those_of_the_old_simulator(env_id):
    model = d4rl_physics.make(env_id).unwrapped.model
    np.testing.assert_allclose(model.body_mass[1:], MASSES[env_id], atol=6e-7)
    np.testing.assert_allclose(model.body_inertia[1:], INERTIAS[env_id], atol=6e-8)


def test_the_head_moves_the_cheetahs_center_of_mass():
    model = d4rl_physics.make("HalfCheetah-v4").unwrapped.model
    center = [0.149138, 0.0, 0.024856]
    np.testing.assert_allclose(model.body_ipos[1], center, atol=6e-7)
    np.testing.assert_allclose(model.body_mass.sum(), 14.0)


def test_the_formula_of_spheres_is_unchanged():
    model = tasks.make_gymnasium("Ant-v4").unwrapped.model
    d4rl_physics.restore_d4rl_physics(model)
    torso, hip, aux, lower = range(1, 5)
    np.testing.assert_allclose(
        model.body_mass[[torso, hip, aux, lower]],
        [0.3272492, 0.0364769, 0.0364769, 0.0649114],
        atol=6e-8,
    )
    np.testing.assert_allclose(model.body_inertia[torso], 8.181231e-3, atol=6e-10)
    np.testing.assert_allclose(
        model.body_inertia[lower], [2.35904e-3, 2.35904e-3, 2.07716e-4], atol=6e-9
    )


@pytest.mark.parametrize("env_id", list(GOLDEN))
def test_a_rollout_reproduces_the_recorded_one(env_id):
    qpos, qvel = play(d4rl_physics.make(env_id))
    np.testing.assert_allclose(qpos, GOLDEN[env_id][0], atol=1e-6)
    np.testing.assert_allclose(qvel, GOLDEN[env_id][1], atol=1e-6)


@pytest.mark.parametrize("env_id", list(GOLDEN))
def test_the_stock_simulator_goes_elsewhere(env_id):
    _, qvel = play(d4rl_physics.make(env_id, "stock"))
    assert np.abs(qvel - GOLDEN[env_id][1]).max() > 1e-4


def test_margins_are_halved_where_the_simulator_sums_them(monkeypatch):
    monkeypatch.setattr(mujoco, "__version__", "3.4.0")
    assert d4rl_physics.make("Hopper-v4").unwrapped.model.geom_margin.max() == 1e-3
    for version in ("3.5.0", "3.10.1", "4.0.0"):
        monkeypatch.setattr(mujoco, "__version__", version)
        assert d4rl_physics.make("Hopper-v4").unwrapped.model.geom_margin.max() == 5e-4


def test_every_version_is_the_v4_task_under_d4rl_physics():
    for version in (2, 3, 4, 5):
        assert d4rl_physics.make(f"Walker2d-v{version}").spec.id == "Walker2d-v4"
    assert d4rl_physics.make("Walker2d-v5", "stock").spec.id == "Walker2d-v5"


def test_making_an_old_version_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        d4rl_physics.make("Hopper-v4")


def test_patching_twice_is_refused():
    model = d4rl_physics.make("Hopper-v4").unwrapped.model
    with pytest.raises(ValueError, match="unpatched"):
        d4rl_physics.restore_d4rl_physics(model)


def test_other_shapes_are_refused():
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body><joint/><geom name='brick' type='box' size='1 1 1'/>"
        "</body></worldbody></mujoco>"
    )
    with pytest.raises(ValueError, match="'brick' is a mjGEOM_BOX"):
        d4rl_physics.restore_d4rl_physics(model)


def test_d4rl_physics_names_the_environments_it_knows():
    known = "only for HalfCheetah, Hopper, Walker2d .* and D4RL's AntMaze"
    with pytest.raises(ValueError, match=known):
        d4rl_physics.make("Pendulum-v1")
    assert d4rl_physics.make("Pendulum-v1", "stock").spec.id == "Pendulum-v1"


def test_unknown_physics_are_refused():
    with pytest.raises(ValueError, match="Allowed: d4rl, stock"):
        d4rl_physics.make("Hopper-v4", "mujoco")


def test_walls_and_floor_keep_the_ants_margin_where_the_simulator_sums_them(
    monkeypatch,
):
    for version, margin in (("3.4.0", 0.01), ("3.5.0", 0.005), ("4.0.0", 0.005)):
        monkeypatch.setattr(mujoco, "__version__", version)
        model = d4rl_physics.make("antmaze-umaze").unwrapped.model
        np.testing.assert_array_equal(model.geom_margin, margin)


def test_d4rls_physics_is_the_default_where_it_is_defined():
    assert d4rl_physics.default("antmaze-large-play-v2") == "d4rl"
    assert d4rl_physics.default("antmaze-umaze") == "d4rl"
    assert d4rl_physics.default("Hopper-v4") == "d4rl"
    assert d4rl_physics.default("Pendulum-v1") == "stock"
