import ast
import pathlib
import re

import pytest
from absl import flags

from samg_jax import checks
from tests.fixtures import called_programs


def test_a_users_mistake_ends_a_program_with_one_line():
    with pytest.raises(SystemExit) as end, checks.program():
        raise checks.UserError("config.online.steps is -1. Set config.online.steps=1.")
    assert end.value.code == (
        "error: --config.online.steps is -1. Set --config.online.steps=1."
    )


@pytest.mark.parametrize("error", [ValueError, TypeError, OSError])
def test_any_other_exception_keeps_its_traceback(error):
    with pytest.raises(error, match="a bug"), checks.program():
        raise error("a bug")


def test_ctrl_c_ends_a_program_with_its_line():
    with pytest.raises(SystemExit) as end, checks.program("Go on with the same."):
        raise KeyboardInterrupt
    assert end.value.code == "Go on with the same."


@pytest.mark.parametrize(
    "text",
    [
        "runs/x/config.json is missing",
        "--config.seed=1",
        "my.config.seed",
        "configs/a.py",
    ],
)
def test_only_fields_of_the_config_become_flags(text):
    assert checks.with_flags(text) == text


@pytest.fixture
def program_flags(monkeypatch):
    own = flags.FlagValues()
    for name in ("workdir", "seed", "rows", "sweep", "share", "config"):
        flags.DEFINE_string(name, None, "", flag_values=own)
    monkeypatch.setattr(checks.flags, "FLAGS", own)


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("rows is 3. Lower it.", "--rows is 3. Lower it."),
        (
            "sweep=a=1 names x. Give sweep=a=1.",
            "--sweep=a=1 names x. Give --sweep=a=1.",
        ),
        (
            "Make room, give workdir=FOLDER on another disk, or lower config.seed.",
            "Make room, give --workdir=FOLDER on another disk, or lower --config.seed.",
        ),
        ("Set another one: workdir=x.", "Set another one: --workdir=x."),
        ("Set share=0.1 and rows=2 or more.", "Set --share=0.1 and --rows=2 or more."),
        ("as in config=configs/cql.py.", "as in --config=configs/cql.py."),
        ("Set share to less.", "Set --share to less."),
        ("It is 9. Lower rows.", "It is 9. Lower --rows."),
        ("It is 9. Raise seed.", "It is 9. Raise --seed."),
        ("Lower it. Or raise that.", None),
        ("Set MUJOCO_GL=egl, or out=x.", "Set MUJOCO_GL=egl, or out=x."),
        ("it must be `def reset(self, *, seed=None)`", None),
        ("no folder runs/or seed=3/x", None),
        ("Set --seed=3 or /data/seed=3", None),
        ("my.seed=3, Set my_seed=3, 'seed=3'", None),
        ("Set PYTHONPATH=FOLDER", None),
    ],
)
@pytest.mark.usefixtures("program_flags")
def test_settings_are_spelled_as_the_flags_that_the_program_has(text, spelled):
    assert checks.with_flags(text) == (spelled or text)
    assert checks.with_flags(spelled or text) == (spelled or text)


@pytest.mark.parametrize(
    ("program", "spelled"), [("collect", "--env=ID"), ("train", "--config.env_id=ID")]
)
def test_the_environment_is_spelled_as_the_flag_that_the_program_has(program, spelled):
    with called_programs.running(program):
        assert checks.with_flags("Set config.env_id=ID.") == f"Set {spelled}."


# What stands in commands that a message gives to be copied.
COMMAND = re.compile(r"(python -m|curl|h5clear|pip install|cp) .*")
# An argument of a command that this package runs, and what the flags begin with.
ARGUMENT = re.compile(r"--([a-z-]+|x=x|config\.|x)")
# Messages about the command line itself.
# What reads and explains flags, and what has arguments for a program of NVIDIA.
COMMAND_LINE = (
    "experiment/command_line.py",
    "experiment/misspelled.py",
    "experiment/help_text.py",
    "experiment/field_reference.py",
    "training/hardware.py",
)


def strings(tree):
    """The strings of a module that are no docstrings, the parts of each in one."""
    inner = {
        id(part) for node in ast.walk(tree) for part in getattr(node, "values", ())
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inner.add(id(node.value))
    for node in ast.walk(tree):
        if id(node) in inner:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = (getattr(part, "value", "") for part in node.values)
            yield (
                node,
                "".join(part if isinstance(part, str) else "x" for part in parts),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node, node.value


def test_only_programs_spell_flags():
    found = []
    root = pathlib.Path(checks.__file__).parent
    paths = [*root.glob("*/*.py"), root / "checks.py", root / "trust.py"]
    for path in paths:
        name = str(path.relative_to(root))
        for node, text in strings(ast.parse(path.read_text())):
            spelled = re.search(r"--[a-z]", COMMAND.sub("", text))
            if spelled and not ARGUMENT.fullmatch(text) and name not in COMMAND_LINE:
                found.append(f"{name}:{node.lineno}: {text}")
    assert len(paths) > 100
    assert found == []


def test_the_nearest_name_is_proposed():
    assert checks.hint("hoper", ["hopper", "ant"]) == "Did you mean 'hopper'? "
    assert checks.hint("sed", ["seed"], "config.") == "Did you mean config.seed? "
    assert checks.hint("walker", ["ant"]) == ""
