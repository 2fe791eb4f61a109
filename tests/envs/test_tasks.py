import dataclasses
import importlib.util
import pathlib

import gymnasium
import numpy as np
import pytest

from samg_jax.envs import tasks

LOCOMOTION = [
    f"{agent}-{dataset}"
    for agent in ("halfcheetah", "hopper", "walker2d")
    for dataset in ("medium", "medium-replay", "medium-expert")
]
# Returns that score 0 and 100, from D4RL's published tables.
REFERENCES = {
    "halfcheetah": (-280.178953, 12135.0),
    "hopper": (-20.272305, 3234.3),
    "walker2d": (1.629008, 4592.3),
    "antmaze": (0.0, 1.0),
}
ANTMAZE = [
    "antmaze-umaze",
    "antmaze-umaze-diverse",
    "antmaze-medium-play",
    "antmaze-medium-diverse",
    "antmaze-large-play",
    "antmaze-large-diverse",
]


class Endless(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (3,))
    action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))


@pytest.fixture
def registered():
    gymnasium.register("SamgUnbounded-v0", entry_point=Endless)
    yield "SamgUnbounded-v0"
    del gymnasium.registry["SamgUnbounded-v0"]


@pytest.mark.parametrize("name", [*LOCOMOTION, *ANTMAZE])
def test_reference_scores_are_the_published_ones(name):
    task = tasks.for_dataset(name)
    assert (task.ref_min, task.ref_max) == REFERENCES[name.split("-")[0]]


@pytest.mark.parametrize("name", [*LOCOMOTION, *ANTMAZE])
def test_reference_scores_are_those_of_the_d4rl_package(name):
    spec = importlib.util.find_spec("d4rl")
    if spec is None or spec.origin is None:
        pytest.skip("d4rl is not installed")
    # The package itself imports simulators that are not available today.
    path = pathlib.Path(spec.origin).parent / "infos.py"
    infos_spec = importlib.util.spec_from_file_location("d4rl_infos", path)
    infos = importlib.util.module_from_spec(infos_spec)
    infos_spec.loader.exec_module(infos)
    task = tasks.for_dataset(name)
    assert task.ref_min == infos.REF_MIN_SCORE[f"{name}-v2"]
    assert task.ref_max == infos.REF_MAX_SCORE[f"{name}-v2"]


@pytest.mark.parametrize("name", [*LOCOMOTION, "hopper-demo"])
def test_datasets_lead_to_the_v4_environment_with_or_without_version(name):
    task = tasks.for_dataset(name)
    assert task == tasks.for_dataset(f"{name}-v2")
    assert task.env_id.lower() == f"{name.split('-')[0]}-v4"
    assert task.max_episode_steps == 1000


def test_antmaze_limits_are_shorter_in_the_small_maze():
    limits = [tasks.for_dataset(name).max_episode_steps for name in ANTMAZE]
    assert limits == [700, 700, 1000, 1000, 1000, 1000]


@pytest.mark.parametrize("env_id", ["HalfCheetah-v4", "Hopper-v5", "Walker2d-v4"])
def test_the_table_of_sizes_agrees_with_the_environments(env_id):
    task = tasks.for_env_id(env_id)
    env = tasks.make_gymnasium(env_id)
    assert env.observation_space.shape == (task.observation_size,)
    assert env.action_space.shape == (task.action_size,)
    assert env.spec.max_episode_steps == task.max_episode_steps


def test_all_versions_share_the_references_and_old_ones_mean_v4():
    base = tasks.for_env_id("Hopper-v4")
    assert tasks.for_env_id("Hopper-v2") == tasks.for_env_id("Hopper-v3") == base
    newer = tasks.for_env_id("Hopper-v5")
    assert newer == dataclasses.replace(base, env_id="Hopper-v5")


def test_other_environments_are_read_from_gymnasium_and_have_no_reference():
    task = tasks.for_env_id("Pendulum-v1")
    assert task == tasks.Task("Pendulum-v1", 3, 1, 200, None, None)


def test_scores_are_0_and_100_at_the_references():
    task = tasks.for_env_id("Walker2d-v4")
    returns = np.array([[task.ref_min, task.ref_max], [2296.964504, 0.0]])
    scores = tasks.normalized_score(returns, task)
    np.testing.assert_allclose(scores[0], [0.0, 100.0], atol=1e-12)
    np.testing.assert_allclose(scores[1, 0], 50.0)


def test_scores_without_reference_are_not_a_number():
    scores = tasks.normalized_score(np.ones((2, 3)), tasks.for_env_id("Pendulum-v1"))
    assert scores.shape == (2, 3)
    assert np.isnan(scores).all()


@pytest.mark.parametrize(
    ("env_id", "nearest"),
    [
        ("Hoper-v4", "Hopper-v4"),
        ("Hopper-v9", "Hopper-v"),
        ("antmaze-umaze-v0", "antmaze-umaze-v2"),  # One goal for ever.
    ],
)
def test_an_unknown_id_proposes_the_nearest_one(env_id, nearest):
    with pytest.raises(ValueError, match=f"Did you mean '{nearest}"):
        tasks.for_env_id(env_id)


def test_an_unknown_dataset_proposes_the_nearest_one():
    with pytest.raises(ValueError, match="Did you mean 'hopper-medium'"):
        tasks.for_dataset("hoper-medium-v2")


def test_discrete_actions_are_refused():
    with pytest.raises(ValueError, match="only Box spaces"):
        tasks.for_env_id("CartPole-v1")


def test_unbounded_actions_are_refused(registered):
    with pytest.raises(ValueError, match="finite bounds"):
        tasks.for_env_id(registered)


def test_observations_that_are_no_vector_are_refused(registered):
    Endless.action_space = gymnasium.spaces.Box(-1, 1, (2,))
    space = Endless.observation_space
    Endless.observation_space = gymnasium.spaces.Box(-1, 1, (3, 3))
    try:
        with pytest.raises(ValueError, match="observation space"):
            tasks.for_env_id(registered)
    finally:
        Endless.observation_space = space
        Endless.action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))


def test_environment_of_a_module_that_is_not_there_names_it():
    with pytest.raises(ValueError, match="No module named 'no_such_module'") as info:
        tasks.for_env_id("no_such_module:Maze-v0")
    assert "Install the package" in str(info.value)
