"""Whatever keeps an environment from being built is said in one line; bugs are bugs."""

import contextlib
import re
import signal
import sys

import gymnasium
import pytest

from samg_jax import checks, foreign
from samg_jax.envs import building, rendering, tasks
from samg_jax.runs import signals
from tests.fixtures import awkward_envs


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Writes a module that Python finds, for the time of a test."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NeedsArguments", r"missing a required .*'length'.*kwargs="),
        ("Disconnected", r"ConnectionError: no robot .*awkward_envs\.py, line \d+"),
        ("Particular", r"ValueError: the arm must be calibrated"),
        ("Undrawn", r"pip install"),
        ("Reversed", r"could not be built|finite bounds"),
    ],
)
def test_constructors_that_raise_or_need_arguments_are_said_in_one_line(name, said):
    with (
        awkward_envs.registered(name) as (env_id,),
        pytest.raises(checks.UserError, match=said) as info,
    ):
        tasks.for_env_id(env_id)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Undrawable", "pip install pygame"),
        ("Unseen", "returns a NoneType"),
        ("Unasked", "unexpected keyword argument 'render_mode'"),
        ("Walk", "it renders as nothing"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_it_is_played(name, said, tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    with (
        awkward_envs.registered(name) as (env_id,),
        pytest.raises(checks.UserError, match=said),
    ):
        rendering.check(env_id, "stock", tmp_path / "film.mp4")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Slip", "AttributeError: .*nothing"),
        ("Keyless", "KeyError: 'port'"),
        ("Sizeless", "TypeError: object of type 'int' has no len"),
        ("Talkative", r"RuntimeError: no robot \\x1b\[31m!+\.\.\."),
    ],
)
def test_a_constructor_that_raises_is_named_with_its_line(name, said):
    with (
        awkward_envs.registered(name) as (env_id,),
        pytest.raises(foreign.Raised, match=said) as info,
    ):
        tasks.for_env_id(env_id)
    message = str(info.value)
    assert re.search(r"its constructor raised .*awkward_envs\.py, line \d+", message)
    assert "\n" not in message
    assert len(message) < 1_000


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Leaving", r"SystemExit \(no license\)"),
        ("Interrupting", "KeyboardInterrupt"),
        ("Throwing", r"Odd \(strange\)"),
    ],
)
def test_a_constructor_that_ends_the_program_is_named(name, said):
    with (
        awkward_envs.registered(name) as (env_id,),
        pytest.raises(foreign.Raised, match=rf"{said} at .*awkward_envs\.py, line \d+"),
    ):
        tasks.for_env_id(env_id)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys\nsys.exit(3)", r"SystemExit \(3\) at .*ends\.py, line 2"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt at .*ends.py, line 1"),
        ("raise SystemExit", "SystemExit at .*ends.py, line 1"),
    ],
)
def test_a_module_that_ends_the_program_is_named(modules, text, said):
    modules("ends", text)
    with pytest.raises(foreign.Raised, match=said):
        tasks.for_env_id("ends:Arm-v0")


@pytest.mark.parametrize("handled", [contextlib.nullcontext, signals.handled])
def test_ctrl_c_is_no_mistake_of_a_module(handled):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with (
            pytest.raises(KeyboardInterrupt),
            handled(),
            foreign.ending_aloud("A module", ""),
        ):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Spaceless", "an observation_space, .*does not have it"),
        ("Actionless", "an action_space, .*does not have it"),
        ("Shaped", "observation_space, .* has a tuple of 1 there"),
        ("Asking", "action_space .*raised AttributeError: .*robot.*awkward_envs.py"),
    ],
)
def test_an_environment_without_its_spaces_is_refused(name, said):
    with (
        awkward_envs.registered(name) as (env_id,),
        pytest.raises(checks.UserError, match=said),
    ):
        tasks.for_env_id(env_id)


@pytest.mark.parametrize(
    ("limit", "advice"),
    [(0, 1000), (-5, 1000), (20.0, 20), ("20", 20), (20.5, 1000), (True, 1000)],
)
def test_time_limits_that_are_no_number_of_steps_are_refused(limit, advice):
    gymnasium.register("CasesLimited-v0", awkward_envs.Walk, max_episode_steps=limit)
    try:
        with pytest.raises(
            checks.UserError, match=f"Write max_episode_steps={advice} "
        ):
            tasks.for_env_id("CasesLimited-v0")
    finally:
        del gymnasium.registry["CasesLimited-v0"]


@pytest.mark.parametrize(
    ("module", "error"),
    [("nothing = undefined", NameError), ("1 / 0", ZeroDivisionError)],
)
def test_a_bug_in_a_module_that_registers_keeps_its_traceback(modules, module, error):
    modules("has_a_bug", module)
    with pytest.raises(error):
        tasks.for_env_id("has_a_bug:Arm-v0")


@pytest.mark.parametrize(
    ("env_id", "said"),
    [
        ("Arm-v0", r"config\.env_id=MODULE:Arm-v0, as in module:Arm-v0 .*PYTHONPATH"),
        ("no_module_here:Arm-v0", "No module named 'no_module_here'.*PYTHONPATH"),
        ("registers_none:Arm-v0", "registers no environment 'Arm-v0'"),
        ("lacks_a_package:Arm-v0", "No module named 'torch_robotics'"),
        ("lacks_an_extra:Arm-v0", "pip install box2d"),
        ("arms/arm.py:Arm-v0", r"config\.env_id=arm:Arm-v0 and PYTHONPATH=FOLDER"),
        ("registers_none:", "an id must follow.*registers_none:ID"),
        (":Arm-v0", r"config\.env_id=MODULE:Arm-v0"),
        ("two:colons:Arm-v0", "as Python imports it"),
    ],
)
def test_an_id_says_how_to_name_the_module_that_registers_it(modules, env_id, said):
    modules("registers_none", "")
    modules("lacks_a_package", "import torch_robotics")
    modules(
        "lacks_an_extra",
        "import gymnasium.error\n"
        "raise gymnasium.error.DependencyNotInstalled('pip install box2d')",
    )
    with pytest.raises(checks.UserError, match=said) as info:
        tasks.for_env_id(env_id)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ("tests.fixtures.awkward_envs:Wlak", "Did you mean 'Walk'"),
        ("no_module_here:Walk", "No module named 'no_module_here'"),
        ("tests.fixtures.awkward_envs", "has no ''"),
        (dict, "Gymnasium|gymnasium.Env"),
        (lambda: None, "inherit from the gymnasium.Env"),
        (gymnasium, "with the module gymnasium as its entry_point"),
        ("tests.fixtures.awkward_envs:LIMIT", "the number 20 as its entry_point"),
        (7, "the number 7 as its entry_point"),
        ("", "names no module"),
        (".cases:Walk", "names no module"),
    ],
)
def test_registrations_that_lead_nowhere_are_refused(point, said):
    gymnasium.register("CasesNowhere-v0", point)
    try:
        with pytest.raises(checks.UserError, match=said):
            tasks.for_env_id("CasesNowhere-v0")
    finally:
        del gymnasium.registry["CasesNowhere-v0"]


@pytest.mark.parametrize(
    ("env_id", "hint"),
    [
        ("ALE/Pong-v5", ""),
        ("Arm-v0", ""),
        ("Nope-v0", ""),
        ("HalfCheeta-v4", "Did you mean 'HalfCheetah-v4'? "),
        ("pendulum-v0", "Did you mean 'Pendulum-v1'? "),
        ("Cheetah-v9", "Did you mean 'HalfCheetah-v5'? "),
    ],
)
def test_only_an_id_that_is_really_close_is_proposed(env_id, hint):
    with pytest.raises(checks.UserError) as info:
        building.find(env_id)
    assert re.findall(r"Did you mean '[^']*'\? ", str(info.value)) == [hint] * bool(
        hint
    )


@pytest.mark.parametrize(
    ("name", "hint"), [("Arm-v0", "'Arms-v0'"), ("Hoper-v4", ""), ("Pendulum-v9", "")]
)
def test_only_ids_of_the_module_that_is_named_are_proposed(modules, name, hint):
    modules(
        "has_arms",
        "import gymnasium\ngymnasium.register('Arms-v0', 'has_arms:Arms')",
    )
    try:
        with pytest.raises(checks.UserError, match="registers no environment") as info:
            building.find(f"has_arms:{name}")
    finally:
        gymnasium.registry.pop("Arms-v0", None)
    assert ("Did you mean" in str(info.value)) == bool(hint)
    assert hint in str(info.value)


@pytest.mark.parametrize("error", [RuntimeError("no link"), KeyError("arm"), OSError()])
def test_an_environment_that_cannot_be_closed_is_one_line(error, caplog):
    class Stuck(gymnasium.Env):
        def close(self):
            raise error

    building.close(Stuck(), "Stuck-v0")
    assert "'Stuck-v0' could not be closed" in caplog.text
    assert type(error).__name__ in caplog.text
    assert "Traceback" not in caplog.text


def test_what_is_missing_is_told_from_the_module_that_registers(modules):
    modules("lacks_a_part", "import json\nimport a_part_of_robots")
    with pytest.raises(checks.UserError, match=r"lacks_a_part\.py, line 2") as info:
        building.find("lacks_a_part:Arm-v0")
    assert "before the colon" not in str(info.value)
    with pytest.raises(checks.UserError, match="is named before the colon"):
        building.find("no_module_at_all:Arm-v0")


def test_the_time_limit_is_the_registered_one_or_that_of_the_constructor():
    with awkward_envs.registered("Walk", "unlimited", "limited_by_itself") as ids:
        limits = [tasks.for_env_id(env_id).max_episode_steps for env_id in ids]
    assert limits == [awkward_envs.LIMIT, None, 9]


def test_an_id_without_its_version_is_the_newest_one():
    spec = building.find("Pendulum")
    assert spec is gymnasium.registry["Pendulum-v1"]
