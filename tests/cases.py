"""Environments of the kinds that trainers meet: awkward to build, step, end or save.

All walk on a line: the observation is place, time and 1, the reward is minus the
distance from 0, and an episode ends beyond 5. `registered` makes them known, by the
names of their classes and functions, as `Cases<Name>-v0`.
"""

import contextlib
import functools
import math
import os
import random
import re
import socket
import sys
import tempfile
import threading

import gymnasium
import h5py
import mujoco
import numpy as np
from gymnasium import spaces

LIMIT = 20


class Walk(gymnasium.Env):
    """The plain case; the others change one thing."""

    metadata = {"render_modes": []}  # noqa: RUF012
    bound = 1.0

    def __init__(self, render_mode=None):
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = spaces.Box(-self.bound, self.bound, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.time = float(self.np_random.normal()), 0
        return self.observe(), {}

    def step(self, action):
        self.place += float(action[0]) + self.noise()
        self.time += 1
        return self.observe(), -abs(self.place), abs(self.place) > 5, False, {}

    def observe(self):
        return np.array([self.place, self.time / LIMIT, 1.0])

    def noise(self):
        return 0.0


class Narrow(Walk):
    bound = 0.4


class Wide(Walk):
    bound = 2.0


class Bound(Walk):
    """Calls itself by a stored method."""

    def __init__(self, render_mode=None):
        super().__init__()
        self.shift = self.noise


class Calling(Walk):
    """Holds what pickles by a call of the standard library, or as a method."""

    def __init__(self, render_mode=None):
        super().__init__()
        self.pattern, self.wave, self.join = re.compile("a"), math.sin, ",".join
        self.make = type(self).calm
        self.helper = Helper()
        self.runs = [functools.partial(self.helper.run, 2.0), self.__shift]

    def reset(self, **kwargs):
        answer = super().reset(**kwargs)
        self.draw, self.helper.calls = self.np_random.normal, 0
        return answer

    @classmethod
    def calm(cls):
        return cls.bound

    def __shift(self):
        return 1e-3 * self.place

    def noise(self):
        found = self.pattern.match("a") is not None
        wave = 1e-3 * self.wave(self.place) + self.draw(0.0, 1e-3)
        return found * wave + sum(run() for run in self.runs) + 1e-3 * self.make()


class Helper:
    def __init__(self):
        self.own, self.calls = self.run, 0

    def run(self, factor):
        self.calls += 1
        return 1e-4 * factor * np.sin(self.calls)


class Dangerous(Walk):
    """Holds what could run anything."""

    def __init__(self, render_mode=None):
        super().__init__()
        self.calls = [os.system, eval]


class LateReward(Walk):
    """Returns several rewards once it took more steps than one copy does."""

    steps, late = 0, 2 * 20 + 3 + 207 + 20
    fault = staticmethod(lambda reward: np.full(4, reward))

    def step(self, action):
        observation, reward, *rest = super().step(action)
        type(self).steps += 1
        if type(self).steps > self.late:
            reward = self.fault(reward)
        return observation, reward, *rest


class LateNothing(LateReward):
    fault = staticmethod(lambda reward: np.nan)


class LateSlip(LateReward):
    fault = staticmethod(lambda reward: reward.nothing)


class EarlySlip(LateSlip):
    late = 30 + 3


class Unending(Walk):
    def step(self, action):
        observation, reward, _, cut, info = super().step(action)
        return observation, reward, False, cut, info


# What cannot be saved.


class Locked(Walk):
    """Holds a lock, as what talks to a device does."""

    built = 0

    def __init__(self, render_mode=None):
        super().__init__()
        self.lock = threading.Lock()
        type(self).built += 1


class Connected(Walk):
    """Holds a socket, in a client of its own."""

    built = 0

    def __init__(self, render_mode=None):
        super().__init__()
        self.client = type("Client", (), {})()
        self.client.links = [socket.socket()]
        type(self).built += 1

    def close(self):
        self.client.links[0].close()


class Journal(Walk):
    """Holds an open file."""

    built = 0

    def __init__(self, render_mode=None):
        super().__init__()
        self.file = tempfile.TemporaryFile()  # noqa: SIM115
        type(self).built += 1

    def close(self):
        self.file.close()


class Closure(Walk):
    """Holds a function of its own that cannot be pickled, and no device."""

    def __init__(self, render_mode=None):
        super().__init__()
        self.shift = lambda: 0.0


class Generating(Walk):
    """Holds a generator, and no device."""

    def reset(self, **kwargs):
        self.numbers = (0.01 * n for n in range(1_000))
        return super().reset(**kwargs)

    def noise(self):
        return next(self.numbers)


# What can be pickled, but does not continue.

SHARED = {"wind": 0.0}


class SharedNumpy(Walk):
    def noise(self):
        return float(np.random.normal())  # noqa: NPY002


class SharedPython(Walk):
    """Draws at resets only."""

    def reset(self, **kwargs):
        _, info = super().reset(**kwargs)
        self.place += random.uniform(-1, 1)
        return self.observe(), info


class SharedState(Walk):
    """Keeps its wind in its module."""

    def noise(self):
        SHARED["wind"] = 0.9 * SHARED["wind"] + float(self.np_random.normal())
        return SHARED["wind"]


class ClassState(Walk):
    """Counts episodes on its class."""

    episodes = 0

    def reset(self, **kwargs):
        type(self).episodes += 1
        return super().reset(**kwargs)

    def noise(self):
        return 1e-3 * self.episodes


class ClassSpace(Walk):
    """Samples a space that all instances share."""

    offsets = spaces.Box(-1.0, 1.0, (1,))

    def noise(self):
        return float(self.offsets.sample()[0])


# What continues although it is unusual.


class SampledSpace(Walk):
    """Samples its own spaces, also one within another."""

    def __init__(self, render_mode=None):
        super().__init__()
        self.gusts = spaces.Dict({"gust": spaces.Box(-1.0, 1.0, (1,))})

    def noise(self):
        gust = self.gusts.sample()["gust"][0]
        return 0.1 * float(self.action_space.sample()[0] + gust)


class Pendulums(Walk):
    """Two simulators under names of its own."""

    XML = """<mujoco><worldbody><body><joint type="hinge" axis="0 1 0"/>
        <geom type="capsule" fromto="0 0 0 .3 0 -1" size=".1"/></body></worldbody>
        </mujoco>"""

    def __init__(self, render_mode=None):
        super().__init__()
        self._shape = mujoco.MjModel.from_xml_string(self.XML)
        self._left, self._right = (mujoco.MjData(self._shape) for _ in range(2))

    def reset(self, **kwargs):
        answer = super().reset(**kwargs)
        for data in (self._left, self._right):
            mujoco.mj_resetData(self._shape, data)
            data.qpos[0] = self.np_random.normal()
        return self.observe(), answer[1]

    def step(self, action):
        mujoco.mj_step(self._shape, self._left, 5)
        mujoco.mj_step(self._shape, self._right, 3)
        return super().step(action)

    def observe(self):
        swings = self._left.qpos[0], self._right.qvel[0]
        return np.array([self.place, *swings])


class OwnNumbers(Walk):
    """Draws numbers that `reset` does not seed."""

    def __init__(self, render_mode=None):
        super().__init__()
        self.numbers = np.random.default_rng()

    def noise(self):
        return 0.1 * self.numbers.normal()


class Column(Walk):
    """Observes a column."""

    def __init__(self, render_mode=None):
        super().__init__()
        self.observation_space = spaces.Box(-np.inf, np.inf, (3, 1), np.float64)

    def observe(self):
        return super().observe()[:, None]


def flattened():
    return gymnasium.wrappers.FlattenObservation(Column())


def rescaled():
    return gymnasium.wrappers.RescaleAction(Narrow(), -1.0, 1.0)


def dearer():
    return gymnasium.wrappers.TransformReward(Walk(), lambda reward: 2 * reward)


def normalized():
    return gymnasium.wrappers.NormalizeObservation(Walk())


class ArrayReward(Walk):
    def step(self, action):
        observation, reward, ended, cut, info = super().step(action)
        return observation, np.array([reward]), np.array([ended]), cut, info


class HalfPrecision(Walk):
    def __init__(self, render_mode=None):
        super().__init__()
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float16)


# What is refused.


class TwoRewards(Walk):
    def step(self, action):
        observation, reward, ended, cut, info = super().step(action)
        return observation, np.array([reward, 0.0]), ended, cut, info


class NoReward(Walk):
    def step(self, action):
        observation, _, ended, cut, info = super().step(action)
        return observation, None, ended, cut, info


class OldReset(Walk):
    def reset(self, **kwargs):
        return super().reset(**kwargs)[0]


class OlderReset(Walk):
    def reset(self):
        return super().reset()[0]


class OldStep(Walk):
    def step(self, action):
        observation, reward, ended, _, info = super().step(action)
        return observation, reward, ended, info


class WrongShape(Walk):
    def observe(self):
        return super().observe()[:2]


class WrongRank(Walk):
    """NumPy would broadcast it without a word."""

    def observe(self):
        return super().observe()[:1]


class NotANumber(Walk):
    def observe(self):
        return np.log(super().observe() - 1.0)


class TooLarge(Walk):
    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward * 1e300, *rest


class Integers(Walk):
    def __init__(self, render_mode=None):
        super().__init__()
        self.action_space = spaces.Box(-1, 1, (1,), np.int32)


class Unbounded(Walk):
    bound = np.inf


class HalfBounded(Walk):
    def __init__(self, render_mode=None):
        super().__init__()
        self.action_space = spaces.Box(0.0, np.inf, (1,), np.float32)


class Pointlike(Walk):
    bound = 0.0


class Images(Walk):
    def __init__(self, render_mode=None):
        super().__init__()
        self.observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)


class Levers(Walk):
    def __init__(self, render_mode=None):
        super().__init__()
        self.action_space = spaces.Dict({"lever": spaces.Box(-1.0, 1.0, (1,))})


class Talking(Walk):
    def __init__(self, render_mode=None):
        super().__init__()
        self.observation_space = spaces.Dict(
            {"words": spaces.Sequence(spaces.Discrete(3))}
        )


class NeedsArguments(Walk):
    def __init__(self, length, *, width):
        super().__init__()


class Disconnected(Walk):
    def __init__(self, render_mode=None):
        raise ConnectionError("no robot answers at 10.0.0.7")


class Particular(Walk):
    def __init__(self, render_mode=None):
        raise ValueError("the arm must be calibrated first")


class Reversed(Walk):
    bound = -1.0


class Undrawn(Walk):
    def __init__(self, render_mode=None):
        raise gymnasium.error.DependencyNotInstalled(
            'pygame is not installed, run `pip install "gymnasium[classic_control]"`'
        )


class Lazy(Walk):
    """Imports what it needs when it is reset."""

    def reset(self, **kwargs):
        import a_package_of_robots  # noqa: F401

        return super().reset(**kwargs)


class Undrawable(Walk):
    """Needs a package to draw."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def render(self):
        raise gymnasium.error.DependencyNotInstalled("pip install pygame")


class Unseen(Undrawable):
    """Draws nothing."""

    def render(self):
        return None


class Unasked(Undrawable):
    """Does not take the mode that it names."""

    def __init__(self):
        super().__init__()


class Slip(Walk):
    """Its constructor has a bug."""

    def __init__(self, render_mode=None):
        self.nothing.at_all()


class Keyless(Walk):
    """Its constructor looks up what is not there."""

    def __init__(self, render_mode=None):
        self.port = {}["port"]


class Sizeless(Walk):
    """Its constructor measures a number: Gymnasium wraps this kind of error."""

    def __init__(self, render_mode=None):
        self.size = len(3)


class Talkative(Walk):
    """Its constructor raises a long message, of several lines and a color."""

    def __init__(self, render_mode=None):
        raise RuntimeError("no\nrobot \x1b[31m" + "!" * 9_000)


class Leaving(Walk):
    """Its constructor ends the process."""

    def __init__(self, render_mode=None):
        sys.exit("no license")


class Interrupting(Walk):
    def __init__(self, render_mode=None):
        raise KeyboardInterrupt


class Odd(BaseException):
    pass


class Throwing(Walk):
    def __init__(self, render_mode=None):
        raise Odd("strange")


class LeavingLate(Walk):
    """Ends the process when it is reset."""

    def reset(self, **kwargs):
        sys.exit(0)


class Spaceless(Walk):
    def __init__(self, render_mode=None):
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)


class Actionless(Walk):
    def __init__(self, render_mode=None):
        self.observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)


class Shaped(Walk):
    """Says how many numbers it observes, and not in which space."""

    def __init__(self, render_mode=None):
        super().__init__()
        self.observation_space = (3,)


class Asking(Walk):
    """Finds its space out too late."""

    def __init__(self, render_mode=None):
        pass

    @property
    def action_space(self):
        return self.robot.space

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)


class Parts(Walk):
    """Observes in parts, by a Dict space."""

    def __init__(self, render_mode=None):
        super().__init__()
        self.observation_space = spaces.Dict(
            {"arm": spaces.Box(-9.0, 9.0, (2,)), "mode": spaces.Discrete(3)}
        )

    def observe(self):
        return {"arm": super().observe()[1:], "mode": 1}


class PartsAsArray(Parts):
    def observe(self):
        return np.zeros(3)


class PartsMissing(Parts):
    def observe(self):
        return {"mode": 1}


class PartsOfAnotherShape(Parts):
    def observe(self):
        return {"arm": np.zeros(5), "mode": 1}


class PartsBeyond(Parts):
    def observe(self):
        return {"arm": np.zeros(2), "mode": 7}


class NoParts(Parts):
    def __init__(self, render_mode=None):
        super().__init__()
        self.observation_space = spaces.Dict({})


def answering(name, *at, value):
    """An environment whose step returns another value at a place of its answer."""

    def step(self, action):
        answer = list(Walk.step(self, action))
        for place in at:
            answer[place] = value
        return tuple(answer)

    return type(name, (Walk,), {"step": step})


TextReward = answering("TextReward", 1, value="1.0")
RaggedReward = answering("RaggedReward", 1, value=[0.0, [1.0]])
ComplexReward = answering("ComplexReward", 1, value=1j)
UndecidedEnd = answering("UndecidedEnd", 2, value=None)
WordyEnd = answering("WordyEnd", 3, value="False")
PartlyEnded = answering("PartlyEnded", 2, value=0.3)
Uninformed = answering("Uninformed", 4, value=None)
Listing = answering("Listing", 4, value=[])
Unobserved = answering("Unobserved", 0, value=None)
Worded = answering("Worded", 0, value="abc")


class Silent(Walk):
    """Resets without info."""

    def reset(self, **kwargs):
        return super().reset(**kwargs)[0], None


class Unsteppable(Walk):
    """Its step takes no action."""

    def step(self):
        return super().step(np.zeros(1))


class Stepless(gymnasium.Env):
    """Has no step of its own."""

    observation_space = spaces.Box(-1.0, 1.0, (3,))
    action_space = spaces.Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        return np.zeros(3), {}


class Boundless(Walk):
    """Has bounds that bound nothing."""

    bound = float(np.finfo(np.float32).max)


class Narrowed(Walk):
    """Observes more than its space holds."""

    def __init__(self, render_mode=None):
        super().__init__()
        self.observation_space = spaces.Box(-0.5, 0.5, (3,), np.float64)


class Counted(Walk):
    """Observes fractions in a space of integers."""

    def __init__(self, render_mode=None):
        super().__init__()
        self.observation_space = spaces.Box(-99, 99, (3,), np.int64)


class Exclusive(Walk):
    """A second construction fails, also after the first was closed."""

    built = 0

    def __init__(self, render_mode=None):
        if type(self).built:
            raise RuntimeError("the port is in use")
        type(self).built += 1
        super().__init__()


def unlimited():
    return Walk()


def limited_by_itself():
    return gymnasium.wrappers.TimeLimit(Walk(), 9)


UNLIMITED = ("Unending", "unlimited", "limited_by_itself")


def env_id(name):
    """The id of a case."""
    return f"Cases{''.join(part.title() for part in name.split('_'))}-v0"


@contextlib.contextmanager
def registered(*names):
    """Makes cases known for the time of a block; yields their ids."""
    ids = []
    for name in names:
        point, words = globals()[name], name if name[0].isupper() else None
        ids.append(f"Cases{words}-v0" if words else env_id(name))
        limit = None if name in UNLIMITED else LIMIT
        gymnasium.register(ids[-1], point, max_episode_steps=limit)
    try:
        yield ids
    finally:
        for one in ids:
            del gymnasium.registry[one]


def write_dataset(path, rows=120):
    """Writes a D4RL-format file of random walks; returns its path."""
    env, rng, kept = Walk(), np.random.default_rng(0), []
    observation, _ = env.reset(seed=0)
    for _ in range(rows):
        action = rng.uniform(-1, 1, 1).astype(np.float32)
        after, reward, ended, _, _ = env.step(action)
        cut = env.time == LIMIT
        kept.append((observation, action, reward, ended, cut and not ended))
        observation = env.reset()[0] if ended or cut else after
    keys = ("observations", "actions", "rewards", "terminals", "timeouts")
    with h5py.File(path, "w") as file:
        for key, values in zip(keys, zip(*kept, strict=True), strict=True):
            file[key] = np.array(values)
    return path
