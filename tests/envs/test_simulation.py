import gc
import threading
import time

import numpy as np
import pytest

from samg_jax.envs import d4rl_physics, simulation


@pytest.fixture(scope="module")
def model():
    return d4rl_physics.make("Hopper-v4").unwrapped.model


def make(model, threads):
    batch = simulation.Batch(model, 6, 4, threads)
    for index in range(6):
        batch.start(index, model.qpos0, np.zeros(model.nv))
    return batch


class Controls:
    """Rows of zeros, which a helping thread cannot read; the caller's waits for it."""

    def __init__(self):
        self.tried = threading.Event()

    def __getitem__(self, index):
        if threading.current_thread() is not threading.main_thread():
            self.tried.set()
            raise OSError("out of reach")
        assert self.tried.wait(30)
        return np.zeros(3)


def test_what_goes_wrong_in_a_thread_reaches_the_caller(model):
    batch = make(model, 2)
    with pytest.raises(OSError, match="out of reach"):
        batch.step(Controls(), np.ones(6, bool))
    batch.close()


@pytest.mark.parametrize("close", [True, False])
def test_threads_end_with_their_batch(model, close):
    before = set(threading.enumerate())
    batch = make(model, 4)
    batch.step(np.zeros((6, 3)), np.ones(6, bool))
    started = set(threading.enumerate()) - before
    assert len(started) == 3
    if close:
        batch.close()
    else:
        del batch
        gc.collect()
    deadline = time.monotonic() + 30
    while any(thread.is_alive() for thread in started):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_closed_batch_still_steps(model):
    closed, other = make(model, 3), make(model, 1)
    closed.close()
    for batch in (closed, other):
        batch.step(np.full((6, 3), 0.3), np.arange(6) != 4)
    np.testing.assert_array_equal(closed.qpos, other.qpos)
    np.testing.assert_array_equal(closed.qpos[4], model.qpos0)
    assert not np.array_equal(closed.qpos[3], model.qpos0)
