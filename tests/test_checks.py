import pytest

from samg_jax import checks


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


def test_the_nearest_name_is_proposed():
    assert checks.hint("hoper", ["hopper", "ant"]) == "Did you mean 'hopper'? "
    assert checks.hint("sed", ["seed"], "config.") == "Did you mean config.seed? "
    assert checks.hint("walker", ["ant"]) == ""
