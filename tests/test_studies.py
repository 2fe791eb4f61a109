"""The scripts that train: which runs they make, with which flags."""

import pathlib
import subprocess

import pytest

from samg_jax.diagnosis import candidates
from samg_jax.experiment import command_line

ROOT = pathlib.Path(__file__).parent.parent
RECORD = """#!/usr/bin/env bash
printf '%s\\0' "$@" >>calls
printf '\\n' >>calls
"""


@pytest.fixture
def studio(tmp_path):
    """Returns a function that runs a script in a copy of the repository.

    The copy's Python only writes down what it is called with; it is installed already.
    """
    for name in ("configs", "samg_jax"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "launch").mkdir()
    for script in (ROOT / "launch").glob("*.sh"):
        (tmp_path / "launch" / script.name).write_text(script.read_text())
    (tmp_path / "launch" / "install.sh").write_text(":\n")
    interpreter = tmp_path / ".venv" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text(RECORD)
    interpreter.chmod(0o755)

    def run(script, *arguments):
        return subprocess.run(
            ["bash", f"launch/{script}.sh", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def commands(studio, tmp_path, monkeypatch):
    """Returns a function: the flags of every run of a script, by the run's name."""
    monkeypatch.chdir(ROOT)  # Where flags are checked against the configs.

    def get(script, *arguments):
        (tmp_path / "calls").unlink(missing_ok=True)
        process = studio(script, *arguments)
        assert process.returncode == 0, process.stderr
        found = {}
        for line in (tmp_path / "calls").read_text().splitlines():
            words = line.split("\0")[:-1]
            assert words[0] == "-m"
            if words[1] == "samg_jax.train":
                command_line.check(words[2:])  # Refuses what the config does not have.
                # Of a flag that is given twice the last one counts.
                parts = (word.partition("=") for word in words[2:])
                flags = {flag: value for flag, _, value in parts}
                found[pathlib.Path(flags["--workdir"]).name] = flags
            else:
                found[words[1].removeprefix("samg_jax.")] = words[2:]
        return found

    return get


def test_the_settings_of_the_paper_are_judged_with_the_stds_and_without(
    commands, monkeypatch, tmp_path
):
    monkeypatch.setenv("STEPS", "50")
    monkeypatch.setenv("RESULTS", "tables")
    found = tmp_path / "runs" / "settings" / "diagnosis"
    found.mkdir(parents=True)
    for suffix in ("md", "json"):
        (found / f"diagnosis.{suffix}").write_text(f"made {suffix}")
    runs = commands("settings", "--rows=30")
    assert list(runs) == ["weight", "diagnose"]
    assert runs["weight"]["--config.guidance.cvae.steps"] == "50"
    assert runs["weight"]["--config.guidance.cvae.kl_warmup_start"] == "5"
    asked = [
        candidates.parse(flag.removeprefix("--settings="))
        for flag in runs["diagnose"]
        if flag.startswith("--settings=")
    ]
    settings = dict(asked)
    assert len(settings) == len(asked) == 26
    with_stds = [name for name in settings if name.endswith(" with stds")]
    assert len(with_stds) == 11
    for name in with_stds:
        plain = settings[name.removesuffix(" with stds")]
        assert settings[name] == {**plain, "use_std": True}
    assert runs["diagnose"][-1] == "--rows=30"
    assert (tmp_path / "tables" / "settings.json").read_text() == "made json"


def test_flags_of_the_user_win_over_the_scripts(studio, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    given = ["--config.agent.hidden_dims=(32,)", "-config.num_seeds", "1e0"]
    process = studio("quickstart", *given)
    assert process.returncode == 0, process.stderr
    words = (tmp_path / "calls").read_text().splitlines()[0].split("\0")[:-1]
    found, _ = command_line.read(words[2:])
    assert found.config.agent.hidden_dims == (32,)
    assert found.config.num_seeds == 1
    assert found.config.agent.tau == 0.02
