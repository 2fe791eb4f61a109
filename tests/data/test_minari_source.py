"""Minari datasets, made here by the library itself, and runs on them."""

import importlib
import json
import pathlib
import shutil
import sys
import types

import gymnasium
import h5py
import numpy as np
import pytest

from samg_jax import checks
from samg_jax.data import d4rl, minari_source, plausibility, sources, transitions
from samg_jax.diagnosis import judged_pairs
from samg_jax.envs import tasks, vector
from samg_jax.experiment import datasets, resolve
from samg_jax.paper import data_coverage
from samg_jax.runs import lifecycle
from tests.fixtures import called_programs, small_experiments, small_runs
from tests.fixtures.line_task import ENV_ID, HIGH, LIMIT, LOW, Line

minari = pytest.importorskip("minari")
# It wants to know who collected the data, and with what.
pytestmark = pytest.mark.filterwarnings("ignore:`.*` is set to None:UserWarning")


@pytest.fixture(scope="module", autouse=True)
def _line():
    # By name, because Minari writes it down.
    gymnasium.register(ENV_ID, "tests.fixtures.line_task:Line", max_episode_steps=LIMIT)
    yield
    del gymnasium.registry[ENV_ID]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty folder where Minari keeps its datasets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def record(dataset_id, env, episodes=4, last_steps=3, act=None):
    """Records random actions with Minari's own collector; returns what was seen.

    The last episode is left after some steps, neither terminated nor truncated.

    Returns:
        One list per episode of (observation, action, reward, terminal, cut).
    """
    rng = np.random.default_rng(0)
    act = act or (lambda space: rng.uniform(space.low, space.high).astype(np.float32))
    collector = minari.DataCollector(env, record_infos=False)
    seen = []
    for episode in range(episodes):
        observation, _ = collector.reset(seed=episode)
        rows, ended = [], False
        while not ended and not (episode == episodes - 1 and len(rows) == last_steps):
            action = act(env.action_space)
            after, reward, terminal, cut, _ = collector.step(action)
            rows.append((observation, action, reward, terminal, cut))
            observation, ended = after, terminal or cut
        seen.append(rows)
    collector.create_dataset(dataset_id=dataset_id, description="random actions")
    collector.close()
    return seen


def vector_of(observation):
    """Returns the parts of an observation in the order of the alphabet."""
    more = observation["more"]
    return np.float32([*more["last"], *more["time"].ravel(), *observation["where"]])


def test_rows_are_what_was_recorded():
    env = gymnasium.make(ENV_ID)
    seen = record("line/random-v0", env, episodes=8, last_steps=1)
    raw = minari_source.load("line/random-v0")
    rows = [row for episode in seen for row in episode]
    np.testing.assert_array_equal(raw.observations, [vector_of(row[0]) for row in rows])
    np.testing.assert_array_equal(raw.rewards, np.float32([row[2] for row in rows]))
    np.testing.assert_array_equal(raw.terminals, [row[3] for row in rows])
    ends = np.zeros(len(rows), bool)
    ends[np.cumsum([len(episode) for episode in seen]) - 1] = True
    np.testing.assert_array_equal(raw.timeouts, ends & ~raw.terminals)
    # All three ways to end an episode are there.
    assert raw.terminals.any()
    assert any(episode[-1][4] for episode in seen)
    assert not seen[-1][-1][3]
    assert not seen[-1][-1][4]
    view = transitions.q_learning_view(raw)
    assert len(view.rewards) == len(rows) - raw.timeouts.sum()


def test_analyses_read_what_training_reads():
    record("line/one-v0", gymnasium.make(ENV_ID))
    record("line/two-v0", gymnasium.make(ENV_ID), episodes=6)
    names = ["minari:line/one-v0", "minari:line/two-v0"]
    levels = data_coverage.load(names)
    assert list(levels) == names
    for name, level in levels.items():
        raw = minari_source.load(name.removeprefix("minari:"))
        np.testing.assert_array_equal(level.observations, raw.observations)
        np.testing.assert_array_equal(level.actions, raw.actions)
    task = tasks.for_env_id(ENV_ID)
    experiment = types.SimpleNamespace(task=task)
    found, name = judged_pairs.of_dataset(
        experiment, names[0], 5, np.random.default_rng(0)
    )
    assert name == names[0]
    rows = levels[name].observations
    assert all((rows == row).all(axis=1).any() for row in found.observations)
    with pytest.raises(ValueError, match=r"different environments: .*MinariLine"):
        data_coverage.load([names[0], "hopper-demo"])


def test_actions_are_fractions_of_their_range_and_reach_the_environment_as_recorded():
    seen = record("line/random-v0", gymnasium.make(ENV_ID), episodes=1, last_steps=5)[0]
    raw = minari_source.load("line/random-v0")
    for row, action in zip(seen, raw.actions, strict=True):
        expected = [
            2 * (float(a) - low) / (high - low) - 1
            for a, low, high in zip(row[1], LOW.tolist(), HIGH.tolist(), strict=True)
        ]
        np.testing.assert_allclose(action, expected, rtol=1e-6, atol=1e-7)
    assert raw.actions.min() < -0.5
    assert raw.actions.max() > 0.5
    env = vector.make(ENV_ID, 1, [0], "stock")
    np.testing.assert_array_equal(env.reset()[0], raw.observations[0])
    for action, after in zip(raw.actions, raw.observations[1:], strict=False):
        step = env.step(action[None])
        np.testing.assert_allclose(step.next_observations[0], after, rtol=1e-5)
    env.close()


def test_actions_in_the_unit_range_are_kept_bit_for_bit():
    seen = record("hopper/random-v0", gymnasium.make("Hopper-v5"), episodes=2)
    raw = minari_source.load("hopper/random-v0")
    rows = [row for episode in seen for row in episode]
    np.testing.assert_array_equal(raw.actions, [row[1] for row in rows])
    np.testing.assert_array_equal(
        raw.observations, np.float32([row[0] for row in rows])
    )
    assert minari_source.env_id("hopper/random-v0") == "Hopper-v5"


def test_flat_environment_has_the_observations_in_the_same_order():
    task = tasks.for_env_id(ENV_ID)
    assert (task.observation_size, task.action_size) == (5, 2)
    env, plain = tasks.make_gymnasium(ENV_ID), gymnasium.make(ENV_ID)
    observation, expected = env.reset(seed=1)[0], plain.reset(seed=1)[0]
    np.testing.assert_array_equal(np.float32(observation), vector_of(expected))
    stacked = {
        "where": expected["where"][None],
        "more": {key: value[None] for key, value in expected["more"].items()},
    }
    flat = minari_source.flatten(plain.observation_space, stacked)
    np.testing.assert_array_equal(flat[0], vector_of(expected))


# Whole runs.


def settings(name, dataset_id, config="awac", **changes):
    """Returns a small experiment on a Minari dataset, without its environment."""
    result = small_experiments.CONFIGS[config](name)
    fields = small_experiments.fields(config, pathlib.Path("unused"), **changes)
    del fields["dataset.path"]
    fields["env_id"] = changes.get("env_id")
    fields["dataset.name"] = f"minari:{dataset_id}"
    with result.ignore_type():
        result.update_from_flattened_dict(fields)
    return result


@pytest.fixture
def program(monkeypatch, capsys):
    """Calls `samg_jax.evaluate` in this process; returns what it says."""

    def program(**values):
        with called_programs.running("evaluate", **values) as evaluate:
            evaluate.main(["evaluate"])
        return capsys.readouterr().out

    return program


def test_main_job_runs_on_a_dataset_with_parts_and_other_bounds(
    home, tmp_path, program
):
    record("line/random-v0", gymnasium.make(ENV_ID), episodes=40)
    config = settings("minari:line/random-v0", "line/random-v0", **{"online.steps": 30})
    assert config.dataset.name == "minari:line/random-v0"
    small_runs.run_summary.report(lifecycle.run(config, tmp_path / "run"))
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "offline data: minari:line/random-v0 (" in log
    assert "rows, Minari, not D4RL)" in log
    assert "hyperparameters: the family 'other'" in log
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (written["env_id"], written["physics"]) == (ENV_ID, "stock")
    rows = small_runs.evaluations(tmp_path / "run")
    assert rows
    assert all(np.isnan(row.normalized_score) for row in rows)
    home.rename(home.with_name("gone"))
    text = program(checkpoint=str(tmp_path / "run"), episodes=2)
    assert "Minari, not D4RL" in text
    assert f"environment: {ENV_ID} (physics stock)" in text
    assert f"{rows[-1].return_mean:.1f}" in text
    assert "score" not in text


def test_robots_have_raw_returns_and_their_own_physics_unless_told():
    record("mujoco/hopper/random-v0", gymnasium.make("Hopper-v5"), episodes=3)
    config = settings("hopper-medium", "mujoco/hopper/random-v0")
    assert resolve.experiment(config).task == tasks.Task("Hopper-v5", 11, 3, 1000)
    fields = resolve.experiment(config).record
    assert (fields["env_id"], fields["physics"]) == ("Hopper-v5", "stock")
    # Restored runs resolve what was recorded.
    assert resolve.from_fields(fields).task.ref_min is None
    other = settings("hopper-medium", "mujoco/hopper/random-v0", physics="d4rl")
    assert resolve.experiment(other).physics == "d4rl"
    source = datasets.load(resolve.experiment(config), str)[2]
    assert source.startswith("minari:mujoco/hopper/random-v0 (")
    assert source.endswith("rows, Minari, not D4RL)")


def test_file_of_ones_own_wins_over_the_name(dataset):
    config = settings("hopper-medium", "no/such-v0")
    config.dataset.path, config.env_id = str(dataset), "Hopper-v4"
    assert resolve.experiment(config).task.ref_min is not None
    assert "Minari" not in datasets.load(resolve.experiment(config), str)[2]


@pytest.mark.parametrize(
    ("dataset_id", "family", "rate"),
    [
        ("mujoco/hopper/medium-v0", "locomotion", 3e-4),
        ("mujoco/HalfCheetah/expert-v2", "locomotion", 3e-4),
        ("D4RL/pen/human-v2", "other", 1e-4),
    ],
)
def test_hyperparameters_are_those_of_the_robot_named_in_the_id(
    dataset_id, family, rate
):
    config = small_experiments.CONFIGS["spot"](f"minari:{dataset_id}")
    assert config.dataset.name == f"minari:{dataset_id}"
    assert config.dataset.family == family
    assert config.agent.actor_learning_rate == rate
    folder = f"runs/spot_vanilla/minari/{dataset_id}/seed0"
    assert lifecycle.default_workdir(config.to_dict()) == folder


# What is refused.


def test_missing_library_is_refused_with_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "minari", None)
    config = settings("hopper-medium", "line/random-v0")
    with pytest.raises(checks.UserError, match=r'pip install -e ".\[minari\]"'):
        lifecycle.run(config, tmp_path / "run")


def test_unknown_id_is_refused_with_the_way_to_get_it():
    record("line/random-v0", gymnasium.make(ENV_ID))
    with pytest.raises(ValueError, match="there are: line/random-v0") as info:
        minari_source.load("line/randon-v0")
    assert "minari download line/randon-v0" in str(info.value)


def test_a_single_step_is_refused():
    record("line/random-v0", gymnasium.make(ENV_ID), episodes=1, last_steps=1)
    with pytest.raises(ValueError, match="has 1 steps"):
        minari_source.load("line/random-v0")


def test_truncated_file_is_refused(home):
    record("line/random-v0", gymnasium.make(ENV_ID))
    file = next(home.rglob("*.hdf5"))
    file.write_bytes(file.read_bytes()[:-2_000])
    with pytest.raises(ValueError, match="cannot be read") as info:
        minari_source.load("line/random-v0")
    assert "'line/random-v0'" in str(info.value)


@pytest.mark.parametrize("key", ["dataset_id", "minari_version", "data_format"])
def test_metadata_without_a_key_are_refused(home, key):
    record("line/random-v0", gymnasium.make(ENV_ID))
    file = next(home.rglob("metadata.json"))
    metadata = json.loads(file.read_text())
    del metadata[key]
    file.write_text(json.dumps(metadata))
    with pytest.raises(checks.UserError, match="'line/random-v0' cannot be read"):
        minari_source.load("line/random-v0")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"total_steps": "many"}', "\xff"],
)
def test_damaged_metadata_are_refused(home, text):
    record("line/random-v0", gymnasium.make(ENV_ID))
    next(home.rglob("metadata.json")).write_bytes(text.encode("latin-1"))
    for use in (minari_source.load, minari_source.env_id):
        with pytest.raises(checks.UserError, match="'line/random-v0' cannot be read"):
            use("line/random-v0")


@pytest.mark.parametrize(
    ("key", "value"),
    [("minari_version", "99.0"), ("data_format", "paper"), ("action_space", "{}")],
)
def test_metadata_of_other_versions_are_refused(home, key, value):
    record("line/random-v0", gymnasium.make(ENV_ID))
    file = next(home.rglob("metadata.json"))
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(checks.UserError, match=r"of a version and data of a format"):
        minari_source.load("line/random-v0")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("total_steps", value) for value in ("x", [], {}, float("inf"), -1)),
        *(("total_episodes", value) for value in (0, -1, "x", None)),
    ],
)
def test_counts_that_are_none_are_refused(home, key, value):
    record("line/random-v0", gymnasium.make(ENV_ID), episodes=1)
    file = next(home.rglob("metadata.json"))
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(checks.UserError, match="'line/random-v0'"):
        minari_source.load("line/random-v0")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A folder of datasets with one, which is never changed."""
    folder = tmp_path_factory.mktemp("minari")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        record("line/random-v0", gymnasium.make(ENV_ID))
    return folder


@pytest.mark.parametrize(
    "key",
    ["actions", "rewards", "terminations", "truncations", "observations/where"],
)
@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.astype(complex),
        lambda values: np.full(values.shape, b"x"),
        lambda values: np.full(values.shape, np.nan),
        lambda values: values[:-1],
        lambda values: values[:0],
        lambda values: 1.0,
        lambda values: h5py.Empty("f4"),
    ],
    ids=["complex", "text", "nan", "short", "none", "scalar", "Empty"],
)
def test_damaged_arrays_of_an_episode_are_refused(recorded, home, key, change):
    shutil.copytree(recorded, home)
    with h5py.File(next(home.rglob("*.hdf5")), "r+") as file:
        episode = file["episode_0"]
        values = episode[key][()]
        del episode[key]
        episode[key] = change(values)
    with pytest.raises(checks.UserError, match="line/random-v0"):
        minari_source.load("line/random-v0")


@pytest.mark.parametrize("key", ["actions", "rewards", "terminations", "truncations"])
def test_arrays_of_more_axes_or_never_written_are_refused(recorded, home, key):
    shutil.copytree(recorded, home)
    for made in ({"data": np.zeros((5, 2, 2))}, {"shape": (5,), "dtype": "f4"}):
        with h5py.File(next(home.rglob("*.hdf5")), "r+") as file:
            del file["episode_0"][key]
            file["episode_0"].create_dataset(key, **made)
        with pytest.raises(checks.UserError, match="cannot be read"):
            minari_source.load("line/random-v0")


@pytest.mark.parametrize("key", ["terminations", "truncations"])
def test_flags_in_most_rows_are_a_warning(recorded, home, key):
    shutil.copytree(recorded, home)
    with h5py.File(next(home.rglob("*.hdf5")), "r+") as file:
        for episode in file.values():
            episode[key][:] = True
    warnings = []
    raw = minari_source.load("line/random-v0")
    plausibility.warn_of_flags("minari:line/random-v0", raw, warnings.append)
    assert "If 0 and 1 are swapped" in warnings[0]


def test_a_folder_of_datasets_that_is_none_is_refused(tmp_path, monkeypatch):
    for place in (tmp_path / "nowhere", tmp_path / "file" / "below"):
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(place))
        with pytest.raises(checks.UserError, match="MINARI_DATASETS_PATH"):
            minari_source.load("line/random-v0")
        (tmp_path / "file").write_text("in the way")


def test_arrays_that_do_not_fit_together_are_refused(home):
    record("line/random-v0", gymnasium.make(ENV_ID))
    with h5py.File(next(home.rglob("*.hdf5")), "r+") as file:
        episode = file["episode_1"]
        rewards = episode["rewards"][()]
        del episode["rewards"]
        episode["rewards"] = rewards[1:]
    with pytest.raises(checks.UserError, match=r"episode 1 has arrays of different"):
        minari_source.load("line/random-v0")
    with h5py.File(next(home.rglob("*.hdf5")), "r+") as file:
        del file["episode_1/rewards"]
        file["episode_1/rewards"] = h5py.ExternalLink("other.hdf5", "/rewards")
    with pytest.raises(checks.UserError, match=r"ExternalLink"):
        minari_source.load("line/random-v0")


def test_environment_that_its_id_does_not_make_is_refused():
    env = gymnasium.wrappers.ClipReward(
        gymnasium.make(ENV_ID, slope=0.1, max_episode_steps=4), 0, 1
    )
    record("line/random-v0", env)
    with pytest.raises(ValueError, match=r"config\.env_id=ID") as info:
        minari_source.env_id("line/random-v0")
    for text in ("slope=0.1", "max_episode_steps=4", "the wrapper ClipReward"):
        assert text in str(info.value)
    config = settings("hopper-medium", "line/random-v0", env_id=ENV_ID)
    assert resolve.task_of(config.to_dict()).env_id == ENV_ID


def test_actions_beyond_the_bounds_are_refused():
    record(
        "line/random-v0", gymnasium.make(ENV_ID), act=lambda space: space.high + 0.01
    )
    with pytest.raises(ValueError, match="leave the bounds"):
        minari_source.load("line/random-v0")


def test_infinite_rewards_are_refused(monkeypatch):
    monkeypatch.setattr(
        Line,
        "step",
        lambda self, action: (self.observation(), np.inf, False, False, {}),
    )
    record("line/random-v0", gymnasium.make(ENV_ID))
    with pytest.raises(ValueError, match="'rewards' of the Minari dataset"):
        minari_source.load("line/random-v0")


def test_spaces_that_are_no_vectors_are_refused():
    space = gymnasium.spaces.Discrete(3)
    with pytest.raises(ValueError, match="allowed are Box, and Dict"):
        minari_source.flatten(space, np.arange(3))
    record("pole/random-v0", gymnasium.make("CartPole-v1"), act=lambda space: 1)
    with pytest.raises(ValueError, match="action space Discrete"):
        minari_source.load("pole/random-v0")


def test_data_of_another_environment_are_refused(tmp_path):
    record("line/random-v0", gymnasium.make(ENV_ID))
    config = settings("hopper-medium", "line/random-v0", env_id="Hopper-v4")
    with pytest.raises(checks.UserError, match="The dataset minari:line/random-v0"):
        lifecycle.run(config, tmp_path / "run")


def test_prefix_is_the_same_as_in_the_configs():
    base = importlib.import_module("configs.base")
    assert base.MINARI == minari_source.PREFIX
    assert d4rl.DEMO in base.FAMILIES["demo"]


@pytest.mark.parametrize("name", ["minari:", "minari:  "])
def test_a_name_without_an_id_is_refused_with_an_example(name):
    with pytest.raises(checks.UserError, match=r"as in minari:mujoco/hopper/medium-v0"):
        sources.minari_id(name)
