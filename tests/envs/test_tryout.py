"""The try-out finds what cannot be stepped, saved or built again, before training."""

import random
import re

import numpy as np
import pytest

from samg_jax import checks
from samg_jax.envs import instances, tasks, tryout, vector
from samg_jax.runs import environments
from tests.fixtures import awkward_envs


def run(name, asked=None, simulators=1):
    """Tries a case out; returns the result."""
    awkward_envs.LateReward.steps = 0
    for kind in awkward_envs.LateReward.__subclasses__():
        kind.steps = 0
    with awkward_envs.registered(name) as (env_id,):
        try:
            task = tasks.for_env_id(env_id)
            return tryout.run(task, "stock", asked, simulators)
        finally:
            instances.close(env_id)


@pytest.mark.parametrize(
    "name",
    [
        *("Walk", "Narrow", "Wide", "ArrayReward", "HalfPrecision"),
        *("SampledSpace", "Pendulums", "flattened", "rescaled", "dearer"),
        *("limited_by_itself", "Bound", "Calling", "Parts"),
    ],
)
def test_what_continues_exactly_is_saved(name):
    assert run(name) == tryout.EXACT


@pytest.mark.parametrize("name", ["normalized", "OwnNumbers"])
def test_what_does_not_repeat_with_its_seed_is_saved_and_said(name):
    assert run(name) == tryout.Trial(repeats=False)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Closure", "attribute 'shift' of Closure"),
        ("Generating", "attribute 'numbers' of Generating"),
        ("SharedNumpy", "random numbers from np.random"),
        ("SharedPython", "random numbers from the module random"),
        ("SharedState", "two copies .* differ after"),
        ("ClassState", "two copies .* differ after"),
        ("ClassSpace", "two copies .* differ after"),
        ("LateSlip", "cannot be continued: AttributeError: .*nothing"),
    ],
)
def test_what_does_not_continue_exactly_says_why(name, reason):
    trial = run(name)
    assert not trial.exact
    assert not trial.single
    assert re.search(reason, trial.reason), trial.reason


def test_a_slow_environment_is_tried_out_for_fewer_steps(monkeypatch):
    monkeypatch.setattr(tryout, "SECONDS", 0.0)
    steps = []
    make = awkward_envs.Walk.step
    monkeypatch.setattr(
        awkward_envs.Walk,
        "step",
        lambda self, action: steps.append(1) or make(self, action),
    )
    assert run("Walk") == tryout.EXACT
    assert "module random" in run("SharedPython").reason
    assert len(steps) < tryout.AFTER


def test_the_try_out_leaves_the_shared_random_numbers_as_they_were():
    before = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    run("SharedNumpy")
    run("SharedPython")
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert random.getstate() == before[1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("TwoRewards", r"array of the shape \(2,\) as reward"),
        ("NoReward", "a NoneType as reward"),
        ("Lazy", "No module named 'a_package_of_robots'"),
        ("OldReset", "return observation, info"),
        ("OlderReset", "def reset"),
        ("OldStep", "a tuple of 4; .*terminated, truncated, info"),
        ("WrongShape", r"of the shape \(2,\)"),
        ("WrongRank", r"of the shape \(1,\)"),
        ("NotANumber", "must be finite"),
        ("TooLarge", "must be finite"),
        ("Integers", "its actions are integers"),
        ("Unbounded", "finite bounds"),
        ("HalfBounded", "Action 0 has 0 and inf"),
        ("Pointlike", "the lower below the upper"),
        ("Images", "no network here reads images"),
        ("Levers", "ActionWrapper"),
        ("Talking", "no fixed size"),
        ("LateReward", r"array of the shape \(4,\) as reward"),
        ("LateNothing", "must be finite"),
        ("TextReward", "the text '1.0' as reward"),
        ("RaggedReward", "a list of 2 as reward"),
        ("ComplexReward", "a complex as reward"),
        ("UndecidedEnd", "a NoneType as terminated.*True or False"),
        ("WordyEnd", "the text 'False' as truncated"),
        ("PartlyEnded", "the number 0.3 as terminated"),
        ("Uninformed", "a NoneType as info"),
        ("Listing", "a list of 0 as info"),
        ("Unobserved", "a NoneType as observation"),
        ("Worded", "the text 'abc' as observation"),
        ("Silent", "reset returns a NoneType as info"),
        ("Unsteppable", r"its method is step\(\)"),
        ("Stepless", "no method step"),
        ("Boundless", "finite bounds"),
        ("PartsAsArray", r"array of the shape \(3,\).*a dict with \['arm', 'mode'\]"),
        ("PartsMissing", r"has the keys \['mode'\]"),
        ("PartsOfAnotherShape", r"observation\['arm'\] is .*\(5,\)"),
        ("PartsBeyond", r"observation\['mode'\] is the number 7"),
        ("NoParts", "has no parts"),
        ("LeavingLate", r"ends .*: SystemExit \(0\) at .*awkward_envs\.py, line \d+"),
    ],
)
def test_what_cannot_be_used_is_refused(name, said):
    with (
        np.errstate(divide="ignore", invalid="ignore"),
        pytest.raises(checks.UserError, match=said) as info,
    ):
        run(name)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Narrowed", r"number 2 .* is 1, outside its observation_space, \[-0.5, 0.5\]"),
        ("Counted", r"number 0 .* observation_space is of integers"),
    ],
)
def test_observations_outside_their_space_are_said_and_used(name, said):
    trial = run(name)
    assert trial.exact
    assert re.search(said, trial.outside), trial.outside
    assert trial.outside in environments.describe(trial)[-1]


def test_a_bug_that_the_try_out_meets_keeps_its_traceback():
    awkward_envs.EarlySlip.steps = 0
    with pytest.raises(AttributeError, match="nothing"):
        run("EarlySlip")


@pytest.mark.parametrize("name", ["Locked", "Connected", "Journal"])
def test_what_holds_a_handle_is_built_once_for_one_seed(name):
    kind = getattr(awkward_envs, name)
    kind.built = 0
    with awkward_envs.registered(name) as (env_id,):
        task = tasks.for_env_id(env_id)
        trial = tryout.run(task, "stock", None, 1)
        assert trial.single
        assert not trial.exact
        for _ in range(2):  # Training and evaluation.
            env = vector.make(env_id, 1, [0], "stock", single=True)
            env.reset()
            assert env.step(np.zeros((1, 1))).episode_lengths == [1]
            env.close()
        assert kind.built == 1
        # Several seeds need several; nothing says that these are not to be had.
        assert not tryout.run(task, "stock", None, 2).single
        assert not tryout.run(task, "stock", False, 1).single
        instances.close(env_id)


def test_what_cannot_be_built_again_is_built_once_and_refused_for_several_seeds():
    awkward_envs.Exclusive.built = 0
    with awkward_envs.registered("Exclusive") as (env_id,):
        trial = tryout.run(tasks.for_env_id(env_id), "stock", None, 1)
        assert trial.single
        assert "the port is in use" in trial.why_single
        with pytest.raises(checks.UserError, match=r"config.num_seeds=1"):
            tryout.run(tasks.for_env_id(env_id), "stock", None, 2)
        instances.close(env_id)


def test_a_user_decides_how_often_it_is_built():
    assert run("Walk", asked=True).why_single == "config.single_env is True"
    with pytest.raises(checks.UserError, match="can be built only once"):
        run("Walk", asked=True, simulators=3)
    with pytest.raises(checks.UserError, match="which can build any number"):
        tryout.run(tasks.for_env_id("Hopper-v4"), "d4rl", True, 1)


@pytest.mark.parametrize(
    "name",
    ["SampledSpace", "Pendulums", "flattened", "dearer", "Bound", "Calling"],
)
def test_a_saved_batch_of_them_continues_in_every_bit(name):
    with awkward_envs.registered(name) as (env_id,):
        env = vector.make(env_id, 2, [1, 2], "stock")
        env.reset()
        actions = np.random.default_rng(0).uniform(-1, 1, (60, 2, 1))
        for action in actions[:25]:
            env.step(action)
        restored = vector.make(env_id, 2, [8, 9], "stock")
        restored.set_state(env.get_state())
        for action in actions[25:]:
            for left, right in zip(
                restored.step(action), env.step(action), strict=True
            ):
                np.testing.assert_array_equal(left, right)
