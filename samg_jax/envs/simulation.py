"""Many simulators of one MuJoCo model, stepped at once.

Each simulator keeps its own data, including the solver's first guess, so that it
continues exactly as if it were alone. Threads step them side by side, because the
simulator releases the interpreter lock. Each thread takes the next free simulator, so
that a thread that wakes up late delays only its own.
"""

import functools
import queue
import threading
import weakref

import gymnasium
import mujoco
import numpy as np

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
_WORD = 2**64
_MANY = 4  # The number of simulators per thread from which `step` leaves one.


class Batch:
    """Simulators of one model, each with a random generator.

    Attributes:
        qpos: n views `[nq]` of the simulators' current positions.
        qvel: n views `[nv]` of their current velocities.
        state_names: the arrays of `get_state`.
    """

    state_names: tuple[str, ...] = ("simulator", "rng")

    def __init__(
        self, model: mujoco.MjModel, num_envs: int, frame_skip: int, threads: int
    ):
        self._model, self._frame_skip = model, frame_skip
        self._data = [mujoco.MjData(model) for _ in range(num_envs)]
        self.qpos = [data.qpos for data in self._data]
        self.qvel = [data.qvel for data in self._data]
        self._ctrl = [data.ctrl for data in self._data]
        self._rngs: list[np.random.Generator | None] = [None] * num_envs
        self._helpers = threads - 1  # The caller's thread works, too.
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        for _ in range(self._helpers):
            threading.Thread(target=_help, args=(self._jobs,), daemon=True).start()
        # This runs even if nobody calls `close`; the threads hold the queue, not the
        # batch.
        self._stop = weakref.finalize(self, _dismiss, self._jobs, self._helpers)

    def step(self, controls: np.ndarray, active: np.ndarray) -> None:
        """Advance the simulators by one environment step.

        Args:
            controls: `[n, nu]` float64, in the model's units.
            active: `[n]` bool; simulators that are not active stand still.
        """
        left = active.nonzero()[0].tolist()
        count, finished = len(left), queue.SimpleQueue()

        def simulate(leave: int) -> int:
            """Steps all but `leave` of the rest, one by one; returns how many."""
            done = 0
            while len(left) > leave:
                try:
                    # `list.pop` is atomic, so no two threads get the same simulator.
                    index = left.pop()
                except IndexError:  # Another thread took the last one.
                    break
                self._ctrl[index][:] = controls[index]
                mujoco.mj_step(self._model, self._data[index], nstep=self._frame_skip)
                done += 1
            return done

        # The caller's thread keeps the last of many, so it need not sleep and be woken.
        leave = int(count >= _MANY * (self._helpers + 1))
        for _ in range(min(self._helpers, count - 1)):
            self._jobs.put((functools.partial(simulate, leave), finished))
        done = simulate(0)
        while done < count:
            helped = finished.get()
            if isinstance(helped, BaseException):
                raise helped
            done += helped

    def rng(self, index: int, seed: int | None) -> np.random.Generator:
        """The generator of one simulator; a seed restarts it, None does not."""
        if seed is not None:
            self._rngs[index], _ = gymnasium.utils.seeding.np_random(seed)
        return self._rngs[index]

    def start(self, index: int, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Set one simulator to positions `[nq]` and velocities `[nv]`, at time 0."""
        data = self._data[index]
        mujoco.mj_resetData(self._model, data)
        data.qpos[:], data.qvel[:] = qpos, qvel
        mujoco.mj_forward(self._model, data)  # This sets the solver's first guess, too.

    def get_state(self) -> dict[str, np.ndarray]:
        """`simulator` `[n, state]` float64 and `rng` `[n, 6]` uint64."""
        size = mujoco.mj_stateSize(self._model, _STATE)
        simulator = np.empty((len(self._data), size))
        for row, data in zip(simulator, self._data, strict=True):
            mujoco.mj_getState(self._model, data, row, _STATE)
        return {
            "simulator": simulator,
            "rng": np.stack([_pack_rng(rng) for rng in self._rngs]),
        }

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Continues exactly where `get_state` was called."""
        for index, data in enumerate(self._data):
            mujoco.mj_resetData(self._model, data)
            mujoco.mj_setState(self._model, data, state["simulator"][index], _STATE)
            self._rngs[index] = _unpack_rng(state["rng"][index])

    def close(self) -> None:
        """Ends the threads."""
        self._stop()


def _help(jobs: queue.SimpleQueue) -> None:
    """Runs jobs until it gets None; reports each job's count, or its exception."""
    while (job := jobs.get()) is not None:
        work, finished = job
        try:
            finished.put(work())
        except BaseException as error:
            finished.put(error)
        del job, work, finished  # References would keep the batch alive.


def _dismiss(jobs: queue.SimpleQueue, count: int) -> None:
    for _ in range(count):
        jobs.put(None)


def _pack_rng(rng: np.random.Generator) -> np.ndarray:
    """The state of a PCG64 generator as `[6]` uint64."""
    state = rng.bit_generator.state
    numbers = (state["state"]["state"], state["state"]["inc"])
    words = [word for number in numbers for word in divmod(number, _WORD)]
    return np.array([*words, state["has_uint32"], state["uinteger"]], np.uint64)


def _unpack_rng(words: np.ndarray) -> np.random.Generator:
    state_high, state_low, inc_high, inc_low, has_uint32, uinteger = map(int, words)
    bits = np.random.PCG64(0)
    bits.state = {
        "bit_generator": "PCG64",
        "state": {
            "state": state_high * _WORD + state_low,
            "inc": inc_high * _WORD + inc_low,
        },
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
    return np.random.Generator(bits)
