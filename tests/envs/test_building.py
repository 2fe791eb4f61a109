"""Whatever keeps an environment from being built is said in one line; bugs are bugs."""

import sys

import gymnasium
import pytest

from samg_jax import checks
from samg_jax.envs import building, rendering, tasks
from tests import cases


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
        ("Disconnected", r"ConnectionError: no robot answers .*cases\.py, line \d+"),
        ("Particular", r"ValueError: the arm must be calibrated"),
        ("Undrawn", r"pip install"),
        ("Reversed", r"could not be built|finite bounds"),
    ],
)
def test_constructors_that_raise_or_need_arguments_are_said_in_one_line(name, said):
    with (
        cases.registered(name) as (env_id,),
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
        cases.registered(name) as (env_id,),
        pytest.raises(checks.UserError, match=said),
    ):
        rendering.check(env_id, "stock", tmp_path / "film.mp4")


def test_a_bug_in_a_constructor_keeps_its_traceback():
    with cases.registered("Slip") as (env_id,), pytest.raises(AttributeError):
        tasks.for_env_id(env_id)


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
        ("tests.cases:Wlak", "Did you mean 'Walk'"),
        ("no_module_here:Walk", "No module named 'no_module_here'"),
        ("tests.cases", "has no ''"),
        (dict, "Gymnasium|gymnasium.Env"),
    ],
)
def test_registrations_that_lead_nowhere_are_refused(point, said):
    gymnasium.register("CasesNowhere-v0", point)
    try:
        with pytest.raises(checks.UserError, match=said):
            tasks.for_env_id("CasesNowhere-v0")
    finally:
        del gymnasium.registry["CasesNowhere-v0"]


def test_the_time_limit_is_the_registered_one_or_that_of_the_constructor():
    with cases.registered("Walk", "unlimited", "limited_by_itself") as ids:
        limits = [tasks.for_env_id(env_id).max_episode_steps for env_id in ids]
    assert limits == [cases.LIMIT, None, 9]


def test_an_id_without_its_version_is_the_newest_one():
    spec = building.find("Pendulum")
    assert spec is gymnasium.registry["Pendulum-v1"]
