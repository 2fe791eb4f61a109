"""Collecting data of one's own: what is in the files, and what is refused."""

import functools
import pathlib
import shlex
import shutil
import subprocess
import sys

import gymnasium
import h5py
import jax
import numpy as np
import pytest
from absl import flags

import samg_jax
from configs import base
from samg_jax import checks, compilation
from samg_jax.collecting import recording, sac_collection
from samg_jax.data import d4rl, transitions
from samg_jax.envs import tasks, vector
from tests.fixtures import called_programs

ROOT = pathlib.Path(samg_jax.__file__).parents[1]
EPISODE = 7


class Line(gymnasium.Env):
    """Walks a line from a random place; rewards it; falls off at both ends.

    The observation names the episode, so that rows of two episodes are told apart.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1)
        self.episode, self.time = self.np_random.uniform(), 0
        return self.observation(), {}

    def step(self, action):
        self.place += float(action[0]) / 2
        self.time += 1
        return self.observation(), 1.0 + self.place, abs(self.place) > 2, False, {}

    def observation(self):
        return np.array([self.place, self.episode, self.time])


@pytest.fixture(scope="module", autouse=True)
def _line():
    gymnasium.register("CollectLine-v0", Line, max_episode_steps=EPISODE)
    yield
    del gymnasium.registry["CollectLine-v0"]


SETTINGS = sac_collection.Settings(
    train_steps=40,
    warmup_steps=20,
    eval_every=20,
    episodes=2,
    medium_return=-1e9,
    hidden_dims=(8,),
)
STEPS = 95


def collect(level, seed=3, steps=STEPS):
    experiment = sac_collection.make_experiment("CollectLine-v0", None, seed, SETTINGS)
    return sac_collection.collect(experiment, SETTINGS, level, steps)


@pytest.fixture(scope="module")
def made():
    """Returns a function level -> rows and attributes of the policy, made once each."""
    return functools.cache(collect)


@pytest.fixture(scope="module", params=sac_collection.LEVELS)
def collected(request, made, tmp_path_factory):
    """Rows of every level on the line, attributes of the policy, and the file."""
    rows, policy = made(request.param)
    path = tmp_path_factory.mktemp("collected") / "line.hdf5"
    recording.write(path, rows, policy)
    return request.param, rows, policy, path


def test_rows_are_as_many_as_asked_for(collected):
    level, rows, _, _ = collected
    expected = {"medium-replay": 20}.get(level, STEPS)  # First evaluation: medium.
    assert {len(values) for values in rows.values()} == {expected}


def test_rows_are_what_the_environment_did(collected):
    _, rows, _, _ = collected
    assert (np.abs(rows["actions"]) <= 1).all()
    assert not (rows["terminals"] & rows["timeouts"]).any()
    place, episode, time = rows["observations"].T
    after = place + rows["actions"][:, 0]  # Actions are rescaled to the bounds.
    np.testing.assert_allclose(rows["rewards"], 1 + after, atol=1e-5)
    np.testing.assert_array_equal(rows["terminals"], np.abs(after) > 2)
    goes_on = ~(rows["terminals"] | rows["timeouts"])
    np.testing.assert_allclose(
        after[:-1][goes_on[:-1]], place[1:][goes_on[:-1]], atol=1e-5
    )
    # Neither an episode nor an environment is left but through a flag.
    same = (episode[1:] == episode[:-1]) & (time[1:] == time[:-1] + 1)
    np.testing.assert_array_equal(same, goes_on[:-1])
    assert not goes_on[-1]
    full = time == EPISODE - 1
    np.testing.assert_array_equal(full & ~rows["terminals"], full & rows["timeouts"])


def test_file_is_read_like_those_of_d4rl(collected):
    _, rows, _, path = collected
    raw = d4rl.load(path)
    for key in recording.KEYS:
        np.testing.assert_array_equal(
            getattr(raw, key), rows[key].astype(getattr(raw, key).dtype)
        )
    view = transitions.q_learning_view(raw, EPISODE)
    # A time limit hides the successor; every other row is a transition.
    assert len(view.rewards) == np.sum(~rows["timeouts"][:-1])
    alive = view.masks > 0
    _, episode, time = view.observations[alive].T
    _, next_episode, next_time = view.next_observations[alive].T
    np.testing.assert_array_equal(next_episode, episode)
    np.testing.assert_array_equal(next_time, time + 1)


def test_policy_is_described(collected):
    level, _, policy, _ = collected
    trained = {"policy", "policy_train_steps", "policy_evaluation_return"}
    expected = {"policy"} if level == "random" else trained
    if level == "medium-expert":
        expected = trained | {f"medium_{name}" for name in trained}
        assert policy["medium_policy_train_steps"] == 20
        assert (
            policy["policy_evaluation_return"]
            >= policy["medium_policy_evaluation_return"]
        )
    assert set(policy) == expected
    if level in ("medium", "medium-replay"):
        assert policy["policy_train_steps"] == 20


def test_medium_expert_is_half_of_each(made):
    both, _ = made("medium-expert")
    expert, _ = collect("expert", steps=STEPS - STEPS // 2)
    medium, _ = collect("medium", steps=STEPS // 2)
    for key, values in both.items():
        np.testing.assert_array_equal(
            values, np.concatenate([expert[key], medium[key]])
        )


def test_replay_is_reproducible_and_depends_on_the_seed(made):
    first, _ = made("medium-replay")
    again, _ = collect("medium-replay")
    other, _ = collect("medium-replay", seed=1)
    for key, values in first.items():
        np.testing.assert_array_equal(values, again[key])
    assert not np.array_equal(first["observations"], other["observations"])


def test_returns_are_those_of_episodes():
    rows = {
        "rewards": np.array([1.0, 2.0, 4.0, 8.0, 16.0]),
        "terminals": np.array([0, 1, 0, 0, 0], bool),
        "timeouts": np.array([0, 0, 1, 0, 1], bool),
    }
    np.testing.assert_array_equal(transitions.episode_returns(rows), [3, 4, 24])


def test_medium_return_is_a_share_of_the_reference():
    hopper = tasks.for_env_id("Hopper-v4")
    expected = 0.6 * -20.272305 + 0.4 * 3234.3
    assert sac_collection.medium_return(hopper, 0.4) == pytest.approx(expected)
    line = tasks.for_env_id("CollectLine-v0")
    assert sac_collection.medium_return(line, 0.4) is None


def test_recorder_keeps_environments_apart():
    recorder = recording.Recorder()
    for time in range(3):
        step = vector.Step(
            next_observations=np.zeros((2, 1)),
            rewards=np.array([time, 10.0 + time]),
            terminals=np.array([False, time == 2]),
            timeouts=np.array([time == 0, False]),
            observations=np.zeros((2, 1)),
            episode_returns=np.zeros(2),
            episode_lengths=np.zeros(2),
        )
        recorder.add(np.full((2, 1), time), np.zeros((2, 1)), step)
    rows = recorder.rows()
    np.testing.assert_array_equal(rows["rewards"], [0, 1, 2, 10, 11, 12])
    np.testing.assert_array_equal(rows["terminals"], [0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(rows["timeouts"], [1, 0, 1, 0, 0, 0])
    short = recorder.rows(5)
    np.testing.assert_array_equal(short["timeouts"], [1, 0, 1, 0, 1])


# The program.


def program(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "samg_jax.collect", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


@pytest.fixture
def main(monkeypatch):
    """Calls the program's main with flags, in this process."""

    def main(**values):
        names = [f"--{name}={value}" for name, value in values.items()]
        monkeypatch.setattr(sys, "argv", ["collect", *names])
        with called_programs.running("collect", **values) as program:
            program.main(["collect"])

    return main


def contents(path):
    with h5py.File(path) as file:
        return {key: file[key][()] for key in file}, dict(file.attrs)


def test_program_writes_a_file_that_says_what_it_is(tmp_path):
    path = tmp_path / "new" / "random data.hdf5"
    arguments = ["--env=Hopper-v2", "--level=random", "--steps=120", "--seed=5"]
    arguments += ["--hidden_dims=8,8", f"--out={path}"]
    process = program(*arguments)
    assert process.returncode == 0, process.stderr
    raw = d4rl.load(path)
    assert raw.observations.shape == (120, 11)
    returns = transitions.episode_returns(vars(raw))
    expected = {
        "locally_collected": True,
        "env_id": "Hopper-v4",
        "physics": "d4rl",
        "level": "random",
        "seed": 5,
        "command": shlex.join(["python", "-m", "samg_jax.collect", *arguments]),
        "samg_jax": samg_jax.__version__,
        "episodes": len(returns),
        "return_mean": pytest.approx(returns.mean()),
        "return_std": pytest.approx(returns.std()),
        "return_min": pytest.approx(returns.min()),
        "return_max": pytest.approx(returns.max()),
        "normalized_score_mean": pytest.approx(
            100 * (returns.mean() + 20.272305) / (3234.3 + 20.272305)
        ),
        "policy": "untrained SAC policy",
    }
    assert raw.attributes == expected
    assert f"{path}: 120 rows" in process.stdout
    assert "locally_collected: True" in process.stdout
    assert list(path.parent.iterdir()) == [path]


def test_program_refuses_without_a_traceback(tmp_path):
    process = program("--env=Hoper-v4", f"--out={tmp_path / 'data.hdf5'}")
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert (
        "error: Unknown environment 'Hoper-v4'. Did you mean 'Hopper-v"
        in process.stderr
    )
    assert not list(tmp_path.iterdir())


def test_same_seed_gives_the_same_file(main, tmp_path):
    def random(name, seed):
        path = tmp_path / name
        main(
            env="CollectLine-v0",
            level="random",
            steps=30,
            seed=seed,
            out=str(path),
            hidden_dims=["8"],
        )
        return contents(path)[0]

    first, again, other = random("a", 0), random("b", 0), random("c", 1)
    for key, values in first.items():
        np.testing.assert_array_equal(values, again[key])
    assert not np.array_equal(first["actions"], other["actions"])


def test_products_have_the_precision_that_configs_have_by_default(
    main, tmp_path, monkeypatch
):
    original, seen = sac_collection.collect, []

    def watched(*args):
        seen.append(jax.config.jax_default_matmul_precision)
        return original(*args)

    monkeypatch.setattr(sac_collection, "collect", watched)
    values = {"env": "CollectLine-v0", "level": "random", "steps": 30}
    main(**values, out=str(tmp_path / "data.hdf5"), hidden_dims=["8"])
    field = base.get_config("hopper-medium").matmul_precision
    assert seen == [compilation.PRECISIONS[field]]


def test_existing_file_is_replaced_only_when_asked(main, tmp_path):
    path = tmp_path / "data.hdf5"
    path.write_text("precious")
    values = {
        "env": "CollectLine-v0",
        "level": "random",
        "steps": 30,
        "out": str(path),
        "hidden_dims": ["8"],
    }
    with pytest.raises(SystemExit) as info:
        main(**values)
    for text in ("error: ", f"{path} exists already", "--overwrite"):
        assert text in info.value.code
    assert path.read_text() == "precious"
    main(**values, overwrite=True)
    assert len(d4rl.load(path).rewards) == 30


def test_medium_level_through_the_program(main, tmp_path):
    path = tmp_path / "data.hdf5"
    main(
        env="CollectLine-v0",
        level="medium",
        medium_return=-1e9,
        train_steps=40,
        eval_every=20,
        steps=30,
        out=str(path),
        hidden_dims=["8"],
    )
    _, attributes = contents(path)
    assert attributes["policy_train_steps"] == 20
    assert attributes["level"] == "medium"
    assert np.isnan(attributes["normalized_score_mean"])  # No reference.


@pytest.mark.parametrize("level", ["medium", "medium-replay", "medium-expert"])
def test_a_level_that_is_missed_leaves_the_best_policys_data(
    main, tmp_path, capsys, level
):
    path = tmp_path / "data.hdf5"
    main(
        env="CollectLine-v0",
        level=level,
        medium_return=1e9,
        train_steps=40,
        eval_every=20,
        steps=30,
        out=str(path),
        hidden_dims=["8"],
    )
    rows, attributes = contents(path)
    assert len(rows["rewards"]) == (40 if level == "medium-replay" else 30)
    replay = level == "medium-replay"
    assert attributes["level"] == ("below-medium-replay" if replay else "below-medium")
    assert (attributes["wanted_level"], attributes["wanted_return"]) == (level, 1e9)
    assert attributes["policy_evaluation_return"] < 1e9
    warned = capsys.readouterr().err
    assert "WARNING: No policy reached the medium return of 1000000000" in warned
    assert "--strict" in warned
    assert [p.name for p in tmp_path.iterdir()] == ["data.hdf5"]


def test_a_disk_without_room_is_refused_before_training(main, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=9))
    with pytest.raises(SystemExit, match="9 are free there"):
        main(env="CollectLine-v0", level="random", out=str(tmp_path / "data.hdf5"))


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "data.hdf5"
    rows = {key: np.zeros(3) for key in recording.KEYS}
    recording.write(path, rows, {"take": 1})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        recording.write(path, rows, {"take": object()})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(checks.UserError, match="cannot be written"):
        recording.write(tmp_path / "none" / "data.hdf5", rows, {})


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ({"env": "CollectLin-v0"}, ["Unknown environment", "'CollectLine-v0'"]),
        ({"env": "CartPole-v1"}, ["only Box spaces", "continuous control"]),
        ({"env": "Pendulum-v1"}, ["no reference scores", "--medium_return=RETURN"]),
        ({"level": "medium-replay"}, ["is medium-replay", "--medium_return=RETURN"]),
        (
            {
                "medium_return": 1e9,
                "train_steps": 40,
                "eval_every": 20,
                "strict": True,
            },
            [
                "medium return of 1000000000 within 40",
                "--train_steps",
                "best evaluation",
            ],
        ),
    ],
    ids=["unknown", "discrete", "no reference", "replay", "unreachable"],
)
def test_unusable_request_is_refused(main, tmp_path, values, texts):
    values = {"env": "CollectLine-v0", "out": str(tmp_path / "data.hdf5"), **values}
    with pytest.raises(SystemExit) as info:
        main(**values, hidden_dims=["8"])
    for text in ["error: ", *texts]:
        assert text in info.value.code
    assert not list(tmp_path.iterdir())


def test_antmaze_is_collected_by_a_script(main, tmp_path):
    path = tmp_path / "umaze.hdf5"
    main(env="antmaze-umaze", steps=300, seed=0, out=str(path), action_noise=0.1)
    with h5py.File(path) as file:
        assert set(file) == {*recording.KEYS, "infos"}
        assert set(file["infos"]) == {"goal", "qpos", "qvel"}
        assert file["rewards"][()].sum() > 0
        attributes = dict(file.attrs)
    goal = attributes.pop("task_goal")
    assert ((goal >= [0, 8]) & (goal <= [1.5, 9.5])).all()
    assert attributes == {
        "locally_collected": True,
        "env_id": "antmaze-umaze-v2",
        "physics": "d4rl",
        "level": "fixed",
        "seed": 0,
        "command": shlex.join(["python", "-m", "samg_jax.collect", *sys.argv[1:]]),
        "samg_jax": samg_jax.__version__,
        "policy": "scripted trot along waypoints",
        "action_noise": 0.1,
        "episodes": 1,
        "success_rate": 1.0,
        "task_success_rate": 1.0,
    }


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (
            {"env": "antmaze-umaze", "level": "medium"},
            ["has no level 'medium'", "Allowed: fixed, play, diverse", "for fixed"],
        ),
        (
            {"level": "play"},
            ["has no level 'play'", "Allowed: random, medium,", "for medium"],
        ),
        (
            {"env": "antmaze-large-play", "train_steps": 40},
            ["--train_steps was given", "collected by a script", "Leave it out"],
        ),
        ({"action_noise": 0.0}, ["--action_noise was given", "collected by SAC"]),
    ],
    ids=["antmaze level", "level", "antmaze flag", "flag"],
)
def test_what_belongs_to_another_policy_is_refused(main, tmp_path, values, texts):
    values = {"env": "CollectLine-v0", "out": str(tmp_path / "data.hdf5"), **values}
    with pytest.raises(SystemExit) as info:
        main(**values)
    for text in ["error: ", *texts]:
        assert text in info.value.code
    assert not list(tmp_path.iterdir())


def test_folders_are_refused_as_files(main, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for out, text in [
        (tmp_path / "folder", "is a folder; a file is needed"),
        (tmp_path / "file" / "data.hdf5", "Cannot write into"),
    ]:
        with pytest.raises(SystemExit, match=text):
            main(env="CollectLine-v0", level="random", out=str(out), overwrite=True)


@pytest.mark.parametrize("widths", [["a"], ["0"], [], ["8", "-1"]])
def test_impossible_layers_are_refused(main, widths):
    with pytest.raises(flags.IllegalFlagValueError, match="--hidden_dims=256,256"):
        main(hidden_dims=widths)
