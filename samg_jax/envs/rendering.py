"""Off-screen rendering: an OpenGL backend that works here, and videos of episodes."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import pathlib
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import gymnasium
import mujoco
import numpy as np

from samg_jax import checks, durable
from samg_jax.envs import d4rl_physics, tasks

# Backends in the order of trial: the GPU or Mesa without a display, Mesa in memory, a
# desktop.
BACKENDS = ("egl", "osmesa", "glfw")
SUFFIX = ".mp4"
MOST_FRAMES_PER_SECOND = 30
PROBE_SECONDS = 120  # A driver can hang, and a busy machine is slow.
# A separate process tries a backend, because a process keeps the first one it loads.
PROBE = """
import mujoco
renderer = mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 8, 8)
renderer.render()
renderer.close()
"""


class Episode(NamedTuple):
    """A filmed episode: its undiscounted return, its steps, and the video's frames."""

    episode_return: float
    length: int
    frames: int


def choose_backend() -> str:
    """Choose the OpenGL backend for MuJoCo, and set it for this process.

    The backend is that of `MUJOCO_GL` if set, else the first of `BACKENDS` that works.

    Raises:
        checks.UserError: No backend works.
    """
    chosen = os.environ.get("MUJOCO_GL")
    for backend in [chosen] if chosen else BACKENDS:
        if _works(backend):
            os.environ["MUJOCO_GL"] = backend
            return backend
    tried = f"MUJOCO_GL={chosen}" if chosen else ", ".join(BACKENDS)
    raise checks.UserError(
        f"Nothing can be rendered: no OpenGL backend works here ({tried}). MuJoCo "
        "needs one of them. With a GPU, or Debian's packages libegl1 and "
        "libgl1-mesa-dri, MUJOCO_GL=egl works; with libosmesa6, MUJOCO_GL=osmesa. "
        "Install one and leave MUJOCO_GL unset, or leave video out."
    )


def _works(backend: str) -> bool:
    try:
        probe = subprocess.run(
            [sys.executable, "-c", PROBE],
            env={**os.environ, "MUJOCO_GL": backend},
            capture_output=True,
            check=False,
            timeout=PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0


def check(env_id: str, physics: str, path: pathlib.Path) -> None:
    """Refuses a video that could not be written.

    Args:
        env_id: Any id that `d4rl_physics.make` knows.
        physics: "d4rl" or "stock".
        path: The path of the video; its folder is not checked.
    """
    if path.suffix.lower() != SUFFIX:
        raise checks.UserError(
            f"The video {str(path)!r} ends in {path.suffix!r}; only {SUFFIX} is "
            f"written. Set video={path.with_suffix(SUFFIX)}."
        )
    missing = [
        name
        for name in ("imageio", "imageio_ffmpeg")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise checks.UserError(
            f"Videos need {' and '.join(missing)}, which is not installed. It is in "
            'the extra `video` of this package. Install it: pip install -e ".[video]".'
        )
    env = d4rl_physics.make(env_id, physics)
    modes, simulated = env.metadata["render_modes"], is_mujoco(env)
    env.close()
    if "rgb_array" not in modes:
        raise checks.UserError(
            f"{env_id!r} cannot be filmed: it renders as {modes or 'nothing'}, and "
            "'rgb_array' is needed. Leave video out."
        )
    if simulated:
        choose_backend()
        return
    env = d4rl_physics.make(env_id, physics, render_mode="rgb_array")
    try:
        env.reset()
        _first_frame(env, env_id)  # Others may need packages to render.
    finally:
        env.close()


def is_mujoco(env: gymnasium.Env) -> bool:
    """Whether MuJoCo renders the environment."""
    return isinstance(getattr(env.unwrapped, "model", None), mujoco.MjModel)


def film(
    env_id: str,
    physics: str,
    policy: Callable[[np.ndarray], np.ndarray],
    seed: int,
    path: pathlib.Path,
    max_steps: int | None = None,
) -> Episode:
    """Write a video of one episode, in real time; completely or not at all.

    The episode matches one in `vector.VectorEnv`: float32 observations, and actions in
    [-1, 1] rounded to float32.

    Args:
        env_id: An id that `check` has accepted.
        physics: "d4rl" or "stock".
        policy: A function from `[O]` to `[A]`.
        seed: The seed of the simulator.
        path: The path of the video, which is replaced if it exists.
        max_steps: The number of steps after which to cut the episode.

    Raises:
        checks.UserError: The disk accepts no more data.
    """
    # Their default camera does not follow them; other environments have their own.
    camera = {"camera_name": "track"} if tasks.is_locomotion(env_id) else {}
    env = d4rl_physics.make(env_id, physics, render_mode="rgb_array", **camera)
    space = env.action_space
    if not ((space.low == -1.0).all() and (space.high == 1.0).all()):
        env = gymnasium.wrappers.RescaleAction(env, np.float32(-1), np.float32(1))
    fps = env.metadata.get("render_fps", MOST_FRAMES_PER_SECOND)
    every = math.ceil(fps / MOST_FRAMES_PER_SECOND)
    total, length, frames, ended = 0.0, 0, 1, False
    try:
        observation, _ = env.reset(seed=seed)
        with _video(path, fps / every) as add:
            add(_first_frame(env, env_id))
            while not ended:
                action = np.float64(np.float32(policy(np.float32(observation))))
                action = np.clip(np.where(np.isnan(action), 0.0, action), -1.0, 1.0)
                observation, reward, terminal, truncated, _ = env.step(action)
                total, length = total + np.asarray(reward).item(), length + 1
                ended = terminal or truncated or length == max_steps
                if length % every == 0 or ended:
                    add(env.render())
                    frames += 1
    finally:
        env.close()
    return Episode(total, length, frames)


@contextlib.contextmanager
def _video(path: pathlib.Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Yields a function that adds a frame to a video, which exists after the block.

    The video is read once more, because ffmpeg ends silently on a full disk.
    """
    import imageio_ffmpeg  # This import and the next belong to the extra `video`.
    from imageio import v2 as imageio

    temporary = path.with_name(f"{path.stem}.part{SUFFIX}")
    count = 0

    def add(frame):
        nonlocal count
        with durable.writing_blindly(path):
            writer.append_data(frame)
        count += 1

    try:
        with warnings.catch_warnings():
            # Starting ffmpeg warns of a fork, which does not affect JAX's threads here.
            warnings.filterwarnings("ignore", r"os\.fork\(\)", RuntimeWarning)
            with durable.writing_blindly(path):
                writer = imageio.get_writer(temporary, fps=fps)
            try:
                yield add
            finally:
                with durable.writing_blindly(path):
                    writer.close()
            with durable.writing_blindly(path):
                _check_written(imageio_ffmpeg.count_frames_and_secs, temporary, count)
                durable.sync(temporary)
                temporary.replace(path)
                durable.sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _check_written(
    count: Callable[[str], tuple[int, float]], path: pathlib.Path, frames: int
) -> None:
    """Raises OSError if a video does not contain all frames.

    Args:
        count: imageio's function that reads a video.
        path: The path of the video.
        frames: The number of frames given to ffmpeg.
    """
    try:
        found, _ = count(str(path))
    except RuntimeError as error:
        raise OSError(f"ffmpeg wrote no readable video: {path}") from error
    if found != frames:
        raise OSError(f"ffmpeg wrote {found} of {frames} frames: {path}")


def _first_frame(env: gymnasium.Env, env_id: str) -> np.ndarray:
    try:
        frame = env.render()
    except gymnasium.error.DependencyNotInstalled as error:
        raise checks.UserError(
            f"{env_id!r} cannot be filmed: {error} Install it, or leave video out."
        ) from error
    if not isinstance(frame, np.ndarray) or frame.ndim != 3:
        raise checks.UserError(
            f"{env_id!r} cannot be filmed: its render() returns a "
            f"{type(frame).__name__}. With render_mode='rgb_array' it must be an array "
            "of height, width and 3 colors. Correct it, or leave video out."
        )
    return frame
