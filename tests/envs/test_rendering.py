"""Videos of episodes, through MuJoCo's real renderer, and what is refused."""

import importlib.util
import os
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from samg_jax import checks, durable
from samg_jax.envs import d4rl_physics, rendering
from tests.fixtures import small_disks, sparse_task


@pytest.fixture(scope="module")
def _backend():
    """An OpenGL backend that works; skips where there is none."""
    before = os.environ.get("MUJOCO_GL")
    try:
        rendering.choose_backend()
    except ValueError as error:
        pytest.skip(str(error))
    yield
    os.environ.pop("MUJOCO_GL")
    if before is not None:
        os.environ["MUJOCO_GL"] = before


def fall(observation):
    """A policy with no sense; beyond the bounds in one dimension."""
    return np.array([2.0, np.sin(10 * observation[0]), -0.3])


def play(name, seed):
    """Returns return and length of the same episode, without a camera."""
    env = (
        gymnasium.make("Hopper-v4")
        if name == "stock"
        else d4rl_physics.make("Hopper-v4")
    )
    observation, _ = env.reset(seed=seed)
    total, length, ended = 0.0, 0, False
    while not ended:
        action = np.clip(fall(np.float32(observation)).astype(np.float32), -1, 1)
        observation, reward, terminal, cut, _ = env.step(action.astype(np.float64))
        total, length, ended = total + reward, length + 1, terminal or cut
    env.close()
    return total, length


@pytest.mark.usefixtures("_backend")
@pytest.mark.parametrize("name", d4rl_physics.PHYSICS)
def test_video_shows_the_episode_that_was_played(name, tmp_path):
    iio = pytest.importorskip("imageio.v3")
    pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "episode.mp4"
    rendering.check("Hopper-v4", name, path)
    episode = rendering.film("Hopper-v4", name, fall, 3, path)
    assert episode[:2] == play(name, 3)
    assert list(tmp_path.iterdir()) == [path]
    # 125 frames a second are too many: one in five, and the last.
    expected = 1 + -(-episode.length // 5)
    frames = iio.imread(path, plugin="FFMPEG")
    assert len(frames) == episode.frames == expected
    assert frames.shape[1:] == (480, 480, 3)
    assert iio.immeta(path, plugin="FFMPEG")["fps"] == 25.0
    # A picture has a floor, a sky and a robot, and the robot moves.
    assert frames.std(axis=(1, 2, 3)).min() > 20
    assert np.abs(frames[-1].astype(int) - frames[0]).max() > 60
    # The camera goes with it: its orange is in the middle third throughout.
    middle = frames[:, :, 160:320].astype(int)
    orange = (middle[..., 0] > 100) & (middle[..., 0] > 2 * middle[..., 2])
    assert orange.sum(axis=(1, 2)).min() > 500


@pytest.mark.usefixtures("_backend")
def test_antmaze_is_filmed_from_above(monkeypatch, tmp_path):
    iio = pytest.importorskip("imageio.v3")
    pytest.importorskip("imageio_ffmpeg")
    env_id, path = "antmaze-umaze-v2", tmp_path / "episode.mp4"
    # Whole episodes take minutes to draw without a GPU.
    monkeypatch.setattr(gymnasium.spec(env_id), "max_episode_steps", 12)
    rendering.check(env_id, "d4rl", path)
    episode = rendering.film(env_id, "d4rl", lambda _: np.sin(np.arange(8)), 0, path)
    assert episode == (0.0, 12, 13)
    frames = iio.imread(path, plugin="FFMPEG")
    assert frames.shape == (13, 480, 480, 3)
    assert iio.immeta(path, plugin="FFMPEG")["fps"] == 10.0
    assert frames.std(axis=(1, 2, 3)).min() > 20
    assert np.abs(frames[-1].astype(int) - frames[0]).max() > 60


@pytest.mark.usefixtures("_backend")
def test_failure_half_way_leaves_no_file(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    steps = 0

    def fails(observation):
        nonlocal steps
        steps += 1
        if steps == 7:
            raise RuntimeError("no action")
        return fall(observation)

    with pytest.raises(RuntimeError, match="no action"):
        rendering.film("Hopper-v4", "d4rl", fails, 0, tmp_path / "episode.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_backend")
@pytest.mark.parametrize("room", [0, 1000])
def test_a_video_that_finds_no_room_is_one_line_and_the_old_one_stays(room, tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "episode.mp4"
    path.write_bytes(b"old")
    full = pytest.raises(checks.UserError, match="File too large")
    with full as told, small_disks.limited(room):
        rendering.film("Hopper-v4", "d4rl", fall, 0, path)
    assert str(told.value).startswith(f"Cannot write into {str(tmp_path)!r}: ")
    assert str(told.value).endswith(durable.AGAIN)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_backend_that_does_not_work_is_refused_with_remedies(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "none of them")
    with pytest.raises(ValueError, match="MUJOCO_GL=none of them") as info:
        rendering.choose_backend()
    for text in ("MUJOCO_GL=egl", "MUJOCO_GL=osmesa", "libegl1", "libosmesa6"):
        assert text in str(info.value)
    assert os.environ["MUJOCO_GL"] == "none of them"


def test_backend_that_mujoco_does_not_know_is_named_with_the_remedy():
    result = subprocess.run(
        [sys.executable, "-m", "samg_jax.evaluate", "--checkpoint=none"],
        env={**os.environ, "MUJOCO_GL": "nonsense"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: MuJoCo cannot be imported with MUJOCO_GL=non")
    assert "Unset MUJOCO_GL" in last


def test_backend_that_hangs_does_not_work(monkeypatch):
    monkeypatch.setattr(rendering, "PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(rendering, "PROBE_SECONDS", 0.5)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    with pytest.raises(ValueError, match="MUJOCO_GL=egl"):
        rendering.choose_backend()


def test_other_kinds_of_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"Set video=.*episode\.mp4"):
        rendering.check("Hopper-v4", "d4rl", tmp_path / "episode.gif")


def test_missing_library_is_refused_with_the_extra(monkeypatch, tmp_path):
    find = importlib.util.find_spec
    hidden = lambda name: None if name == "imageio_ffmpeg" else find(name)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    with pytest.raises(ValueError, match=r'pip install -e ".\[video\]"') as info:
        rendering.check("Hopper-v4", "d4rl", tmp_path / "episode.mp4")
    assert "imageio_ffmpeg, which is not installed" in str(info.value)


def test_environment_without_pictures_is_refused(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    with (
        sparse_task.registered(),
        pytest.raises(ValueError, match="renders as nothing"),
    ):
        rendering.check(sparse_task.ENV_ID, "stock", tmp_path / "episode.mp4")
