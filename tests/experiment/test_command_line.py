"""Flags: all spellings are one field, the last wins, mistakes are one line."""

import pytest
from absl import flags

from samg_jax import checks
from samg_jax.experiment import command_line, setting_values
from tests.fixtures import called_programs

AWAC = "--config=configs/awac.py:hopper-demo"
SAMG = "--config=configs/awac_samg.py:hopper-demo"


def read(*arguments):
    """The config of some arguments."""
    return command_line.read(arguments)[0].config


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--config.agent.hidden_dims=(128, 128)"] * 2, "hidden_dims", (128, 128)),
        (
            [
                "--config.agent.hidden_dims=(128,128)",
                "--config.agent.hidden_dims=64,32",
            ],
            "hidden_dims",
            (64, 32),
        ),
        (["--config.agent.hidden_dims=[1e2]"], "hidden_dims", (100,)),
        (["--config.agent.tau=1", "-config.agent.tau", "0.5"], "tau", 0.5),
        (["-config.agent.tau=.5", "--config.agent.tau", "1e-1"], "tau", 0.1),
    ],
)
def test_the_last_of_several_wins_in_any_spelling(arguments, field, value):
    assert read(AWAC, *arguments).agent[field] == value


def test_the_last_config_wins_and_keeps_the_fields():
    config = read("--config", "configs/iql.py", "--config.seed=3", AWAC)
    assert (config.algorithm, config.seed) == ("awac", 3)


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["--config.online.overlap"], True),
        (["--config.online.overlap", "--noconfig.online.overlap"], False),
        (["--noconfig.online.overlap", "--config.online.overlap=1"], True),
        (["--config.online.overlap", "false"], False),
        (["-noconfig.online.overlap"], False),
    ],
)
def test_switches_are_one_field_in_all_spellings(arguments, value):
    found, left = command_line.read([AWAC, *arguments, "--workdir=x"])
    assert found.config.online.overlap is value
    assert found.given == {"online.overlap": False}
    assert left == [AWAC, "--workdir=x"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("5e5", 500_000), ("1_000", 1000), ("1e6", 10**6), ("2.0", 2), ("0x10", 16)],
)
def test_integers_are_read_as_people_write_them(text, value):
    assert read(AWAC, f"--config.online.steps={text}").online.steps == value
    assert setting_values.integer(text) == value


@pytest.mark.parametrize(
    ("flag", "texts"),
    [
        ("online.steps=5.5", ["'5.5'", "an integer, as in 1000"]),
        ("offline.updates=1e-3", ["'1e-3'", "an integer"]),
        ("seed=1e400", ["'1e400'", "an integer"]),
        ("num_seeds=eight", ["'eight'", "an integer", "was 1 before"]),
        ("num_seeds=None", ["'None'", "an integer"]),
        ("num_seeds=True", ["'True'", "an integer"]),
        ("online.overlap=maybe", ["'maybe'", "true or false"]),
        ("agent.hidden_dims=(64 64)", ["parentheses, as in '(256, 256)'"]),
        ("agent.tau=fast", ["'fast'", "a number"]),
        ("agent={}", ["is a group of fields", "config.agent.discount="]),
        ("guidance.cutoff_steps=never", ["an integer", "or None"]),
    ],
)
def test_values_of_another_kind_name_field_and_kind(flag, texts):
    with pytest.raises(checks.UserError) as error:
        read(SAMG, f"--config.{flag}")
    for text in (f"config.{flag.split('=')[0]} ", *texts):
        assert text in str(error.value)


def test_what_was_a_placeholder_can_be_none_again():
    config = read(SAMG, "--config.guidance.cutoff_steps=5", "--config.dataset.path=x")
    assert (config.guidance.cutoff_steps, config.dataset.path) == (5, "x")
    fields = ["--config.guidance.cutoff_steps=None", "--config.dataset.path=None"]
    config = read(SAMG, "--config.guidance.cutoff_steps=5", *fields)
    assert (config.guidance.cutoff_steps, config.dataset.path) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["--confg=configs/awac.py"], ["--confg", "Did you mean --config?"]),
        (["--confg.seed=1", AWAC], ["Did you mean --config.seed?"]),
        (["--online.steps=5", AWAC], ["Did you mean --config.online.steps?"]),
        (["--num_seeds=8", AWAC], ["Did you mean --config.num_seeds?"]),
        ([AWAC, "--workdr=x"], ["Did you mean --workdir?", "--dry_run"]),
        ([AWAC, "--workdir"], ["Missing value", "--workdir"]),
        ([AWAC, "--dry_run=perhaps"], ["--dry_run=perhaps"]),
        (["--config.env_id=Arm-v0"], ["--config is missing", ":hopper-demo"]),
        (["--config.env_id=Arm-v0"], ["--config.env_id=MODULE:NAME-v0"]),
        (["--config.env_id", "Arm-v0"], ["--config.env_id=MODULE:NAME-v0"]),
        ([], ["--config is missing"]),
        ([AWAC, "--config.workdir=x"], ["Did you mean --workdir?"]),
        ([AWAC, "--config.dry_run"], ["Did you mean --dry_run?"]),
        ([AWAC, "--config.sweep=guidance.strength=0"], ["Did you mean --sweep?"]),
        ([AWAC, "--config.online.trust=1"], ["Did you mean --trust?"]),
        ([AWAC, "--config.offline.steps=5"], ["Did you mean --config.online.steps?"]),
        ([AWAC, "--config.agent.taau=1"], ["Did you mean --config.agent.tau?"]),
        ([AWAC, "--offline.steps=5"], ["config.online.steps?", "restore, updates"]),
        ([AWAC, "--evaluation.episode=5"], ["config.evaluation.episodes?"]),
        (["--offline.steps=5"], ["Did you mean --config.online.steps?"]),
        ([AWAC, "--updates=5"], ["Did you mean --config.offline.updates?"]),
        ([AWAC, "--steps=5"], ["Did you mean --config.online.steps?"]),
        ([AWAC, "--out=x"], ["Unknown flag --out. This program has"]),
        (["--config=awac:/data/a.hdf5"], ["--config.dataset.path=/data/a.hdf5 "]),
        (["--config=awac:mine.h5"], ["--config.dataset.path=mine.h5 "]),
        (["--config=awac:runs/mine"], ["--config.dataset.path=runs/mine "]),
        ([AWAC, "\u2014config.seed=3"], ["no hyphen", "Write --config.seed=3."]),
        (["\u2013config=awac"], ["no hyphen", "Write --config=awac."]),
        ([AWAC, "config.seed=3"], ["Did you mean --config.seed=3?"]),
        ([AWAC, "workdir=x"], ["Did you mean --workdir=x?"]),
        ([AWAC, "--explain"], ["No field is named to explain"]),
        (["--config", AWAC], ["--config is given without a value"]),
        (["--config="], ["--config is empty"]),
        (["--config=configs/awac.py:"], ["no dataset after the colon"]),
        (["--config=configs"], ["is a folder"]),
        (["--config=README.md"], ["is not a Python file"]),
        ([AWAC, "--config.agent.tau"], ["without a value"]),
        ([AWAC, "--noconfig.agent.tau"], ["is no switch"]),
        ([AWAC, "false"], ["Unknown arguments: false"]),
        (["--flagfile=none"], ["flagfile"]),
    ],
)
def test_a_wrong_command_line_ends_with_one_line(arguments, texts, capsys):
    with called_programs.running("train") as train, pytest.raises(SystemExit) as end:
        command_line.parse(["train", *arguments], train.CONFIG)
    message = end.value.code
    assert message.startswith("error: ")
    assert "\n" not in message
    for text in texts:
        assert text in message
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "arguments", "texts"),
    [
        ("collect", ["--env=Hopper-v4"], ["--out is missing", "HDF5 file to write"]),
        ("collect", ["--steps=5.5"], ["--steps=5.5", "must be an integer"]),
        ("collect", ["--evn=Hopper-v4"], ["Did you mean --env?"]),
        ("evaluate", ["runs/mine"], ["--checkpoint is missing"]),
        ("evaluate", ["--checkpoint=x", "y"], ["Unknown arguments: y"]),
        ("evaluate", ["--checkpoint=x", "--episodes=0"], ["--episodes=0"]),
        ("evaluate", ["--checkpoint=x", "--config.seed=1"], ["Did you mean --seed?"]),
        ("evaluate", ["--checkpoint="], ["--checkpoint is given, but empty"]),
        ("coverage", ["--datasets=x", "--out="], ["--out is given, but empty"]),
        ("diagnose", ["--checkpont=x"], ["Did you mean --checkpoint?"]),
        ("coverage", ["--datasets=x", "--max_row=3"], ["Did you mean --max_rows?"]),
        ("report", ["--evry=3"], ["Did you mean --every?"]),
        ("benchmark", ["updates", "--rwos=1"], ["Did you mean --rows?"]),
        ("benchmark", ["updates", "--seed=1"], ["Did you mean --seeds?"]),
    ],
)
def test_all_programs_answer_in_the_same_way(name, arguments, texts):
    positional = name in ("report", "benchmark")
    with called_programs.running(name), pytest.raises(SystemExit) as end:
        command_line.parse([name, *arguments], positional=positional)
    assert end.value.code.startswith("error: ")
    assert "\n" not in end.value.code
    for text in texts:
        assert text in end.value.code


def test_integers_of_programs_are_read_alike():
    with called_programs.running("collect"):
        arguments = ["--env=Hopper-v4", "--out=x", "--steps=5e5", "--hidden_dims=1e2,8"]
        command_line.parse(["collect", *arguments])
        assert flags.FLAGS.steps == 500_000
        assert setting_values.positive(flags.FLAGS.hidden_dims) == [100, 8]
