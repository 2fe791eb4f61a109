"""`--help`, `--explain` and refused flags answer at once: nothing heavy is imported."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from samg_jax import __main__ as listing
from samg_jax import compilation, declarations, lazy, startup
from samg_jax.benchmarking import benchmark_cases, measures
from samg_jax.experiment import command_line, help_text, misspelled
from samg_jax.paper import data_coverage, random_problems
from samg_jax.suites import executors
from tests.experiment.test_field_reference import ROOT
from tests.fixtures import called_programs

HEAVY = (
    *("jax", "jaxlib", "flax", "optax", "orbax", "chex", "numpy", "scipy", "sklearn"),
    *("mujoco", "gymnasium", "matplotlib", "pandas", "tensorboardX", "h5py"),
)
AWAC = "--config=configs/awac.py:hopper-demo"
# How each program is misused, and what its one line says.
REFUSED = {
    "train": (["--confg=awac"], "Did you mean --config?"),
    "evaluate": (["--episodes=2"], "--checkpoint is missing"),
    "collect": (["--env=Hopper-v4", "--levle=expert"], "Did you mean --level?"),
    "diagnose": (["--checkpoint=x", "--rows=many"], "--rows=many"),
    "report": (["runs/suite", "--wach"], "Did you mean --watch?"),
    "benchmark": (["updates", "--matmul_precision=low"], "--matmul_precision=low"),
    "suite": (["--suite=smoke", "--executor=slrum"], "--executor=slrum"),
    "coverage": (["--datasets=x", "--linkage=word"], "--linkage=word"),
    "paper.tabular": (["--states=none"], "--states=none"),
}


def answer(program, *arguments, env=None):
    """Status, output and error line of a program, and what it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", f"samg_jax.{program}", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stderr.splitlines()
    imported = {line.split("|")[-1].strip() for line in lines if "|" in line}
    assert {"sys", "samg_jax", "samg_jax.checks"} - {"sys"} <= imported
    heavy = sorted(set(HEAVY) & {name.split(".")[0] for name in imported})
    said = [line for line in lines if not line.startswith("import time:")]
    return done.returncode, done.stdout, said, heavy


@pytest.mark.parametrize("program", listing.PROGRAMS)
def test_help_says_how_a_program_is_used_and_imports_nothing_heavy(program):
    # Variables that JAX, XLA or MuJoCo would refuse do not matter yet.
    wrong = {"JAX_ENABLE_X64": "maybe", "XLA_FLAGS": "x", "MUJOCO_GL": "nonsense"}
    status, text, said, heavy = answer(program, "--help", env=wrong)
    assert (status, said, heavy) == (0, [], [])
    assert f"python -m samg_jax.{program}" in text
    with called_programs.running(program):
        for flag in misspelled.own_flags():
            assert re.search(rf"^  --(\[no\])?{flag}\b", text, re.MULTILINE), flag


def test_help_of_train_lists_configs_datasets_and_where_fields_are_explained():
    _, text, _, _ = answer("train", "--help")
    for name in ("cal_ql_samg", "hopper-demo", "antmaze-large-diverse", "minari:ID"):
        assert name in text
    assert "--explain=guidance.penalty" in text
    assert "docs/pages/configuration.md" in text
    assert max(map(len, text.splitlines())) <= 88


@pytest.mark.parametrize("program", listing.PROGRAMS)
def test_a_refused_flag_is_one_line_and_imports_nothing_heavy(program):
    arguments, expected = REFUSED[program]
    status, text, said, heavy = answer(program, *arguments)
    assert (status, text, heavy) == (1, "", [])
    (line,) = said
    assert line.startswith("error: ")
    assert expected in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([AWAC, "--config.online.stps=5"], "Did you mean --config.online.steps?"),
        (["--config=configs/awac.py:hopper-dmo"], "Did you mean 'hopper-demo'?"),
        (["--config=awca:hopper-demo"], "Did you mean 'awac'?"),
        (["--dry_run"], "--config is missing"),
        (["--hlp"], "Unknown flag --hlp. Did you mean --help?"),
        (["--wrkdir=runs/x", "--dry_run"], "Did you mean --workdir?"),
        (["--explain=guidance.penalti"], "Did you mean --config.guidance.penalty?"),
    ],
)
def test_what_train_refuses_of_a_config_imports_nothing_heavy(arguments, expected):
    status, text, (line,), heavy = answer("train", *arguments)
    assert (status, text, heavy) == (1, "", [])
    assert expected in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--suite=nope", "--dry_run"], "table1, table2, threshold_sensitivity"),
        (["--suite=smok", "--out=runs/x"], "Did you mean 'smoke'?"),
        (["--suite=smoke", "--out=x", "--set=num_sees=2"], "Did you mean 'num_seeds'?"),
        (["--dry_run"], "--suite is empty"),
        (["--suite=smoke"], "--out is empty"),
    ],
)
def test_what_a_suite_refuses_imports_no_simulator(arguments, expected):
    status, text, (line,), heavy = answer("suite", *arguments)
    assert (status, text) == (1, "")
    # The check of JAX's settings imports it, in less than a second.
    assert set(heavy) <= {"jax", "jaxlib", "numpy"}
    assert expected in line


def test_help_of_suites_lists_them():
    with called_programs.running("suite") as module:
        text = help_text.text(module.__doc__, misspelled.own_flags(), has_config=False)
    for wanted in ("--suite=TEXT", "--set=TEXT", "threshold_sensitivity"):
        assert wanted in text


@pytest.mark.parametrize("program", listing.PROGRAMS)
def test_help_has_nothing_of_the_flags_library(program):
    with called_programs.running(program) as module:
        text = help_text.text(module.__doc__, misspelled.own_flags(), has_config=False)
    assert "repeat this option" not in text
    assert not re.search(r"<\w+\|", text)
    assert not re.search(r"\.;|normalis|centre|neighbour", text, re.IGNORECASE)


@pytest.mark.parametrize("spelling", [["--explain=all"], ["-explain", "suite.seed"]])
def test_explain_answers_without_a_config(spelling, capsys):
    for program in ("train", "suite"):
        with called_programs.running(program), pytest.raises(SystemExit) as end:
            command_line.parse([program, *spelling], positional=True)
        assert end.value.code == 0
        text = capsys.readouterr().out
        assert "suite.seed" in text
        assert ("guidance.penalty" in text) == (spelling == ["--explain=all"])


def test_only_programs_with_fields_explain_them(capsys):
    with called_programs.running("collect"), pytest.raises(SystemExit) as end:
        command_line.parse(["collect", "--explain=all"])
    assert "Unknown flag --explain" in end.value.code
    assert capsys.readouterr().out == ""


def test_help_as_the_value_of_an_argument_is_no_question():
    with called_programs.running("report"):
        left = command_line.parse(["report", "--", "--help"], positional=True)
    assert left == ["report", "--help"]


@pytest.mark.parametrize("program", listing.PROGRAMS)
def test_every_module_that_a_program_imports_late_is_there(program):
    with called_programs.running(program) as module:
        late = [value for value in vars(module).values() if type(value) is lazy._Lazy]
        assert late
        for one in late:
            assert importlib.util.find_spec(one.__name__), one.__name__


def test_a_late_module_is_the_module_itself(monkeypatch):
    late = lazy.module("samg_jax.startup")
    assert late.cache_folder is startup.cache_folder
    monkeypatch.setattr(late, "PROBE_SECONDS", 3)
    assert startup.PROBE_SECONDS == 3
    monkeypatch.undo()
    assert startup.PROBE_SECONDS == 120
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = late.nothing_of_this_name


def test_what_flags_read_from_the_source_is_what_the_modules_have():
    for module, name in (
        (data_coverage, "paper.data_coverage"),
        (random_problems, "paper.random_problems"),
    ):
        defaults = declarations.load(name).defaults("Settings")
        assert module.Settings(**defaults) == module.Settings()
    assert declarations.load("benchmarking.benchmark_cases").constant("ALGORITHMS") == (
        benchmark_cases.ALGORITHMS
    )
    for module, name, constant in (
        (measures, "benchmarking.measures", "KINDS"),
        (executors, "suites.executors", "KINDS"),
        (compilation, "compilation", "PRECISIONS"),
    ):
        found = declarations.load(name).constant(constant)
        assert list(found) == list(getattr(module, constant))
