"""The Dockerfile, which no test builds: what it names exists, and rules are kept."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """The instructions in order, as `(name, value)`."""
    parser = pytest.importorskip("dockerfile_parse").DockerfileParser(
        path=str(tmp_path_factory.mktemp("docker"))
    )
    parser.content = (ROOT / "Dockerfile").read_text()
    kinds = [(step["instruction"], step["value"]) for step in parser.structure]
    return [(name, value) for name, value in kinds if name != "COMMENT"]


def values(steps, name):
    return [value for instruction, value in steps if instruction == name]


def test_base_is_pinned_to_a_supported_python(steps):
    (base,) = values(steps, "FROM")
    assert steps[0] == ("FROM", base)
    version = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-[a-z]+", base)
    assert version
    classifier = f'"Programming Language :: Python :: {version[1]}"'
    assert classifier in (ROOT / "setup.py").read_text()


def test_what_is_copied_exists_and_is_all_that_setup_reads(steps):
    copied = set()
    for value in values(steps, "COPY"):
        *sources, _ = value.split()
        copied |= set(sources)
    assert all((ROOT / name).exists() for name in copied)
    read = re.findall(r'HERE / "([\w.]+)"', (ROOT / "setup.py").read_text())
    assert {"README.md", "samg_jax"} <= set(read) <= copied
    # The link samg_jax/configs leads beside the package.
    assert {"LICENSE", "NOTICE", "configs", "requirements.txt"} <= copied


def test_commands_are_valid_shell_and_leave_no_caches(steps):
    for command in values(steps, "RUN"):
        subprocess.run(["sh", "-nc", command], check=True)
        if "apt-get install" in command:
            assert "--no-install-recommends" in command
            assert "rm -rf /var/lib/apt/lists" in command
            assert command.startswith("apt-get update")
        if "pip install" in command:
            assert "--no-cache-dir" in command
            assert "--constraint constraints.txt" in command
    assert not values(steps, "ADD")


@pytest.mark.parametrize(
    ("cuda", "extras"),
    [
        ("", "live,report"),
        ("cuda", "live,report,cuda"),
        ("cuda13", "live,report,cuda13"),
    ],
)
def test_build_argument_chooses_cuda(steps, tmp_path, cuda, extras):
    arguments = dict(value.split("=", 1) for value in values(steps, "ARG"))
    assert arguments["CUDA"] == ""
    known = (ROOT / "setup.py").read_text()
    for extra in (*arguments["EXTRAS"].split(","), *filter(None, [cuda])):
        assert f'"{extra}": [' in known
    (command,) = (each for each in values(steps, "RUN") if "pip install" in each)
    pip = tmp_path / "pip"
    pip.write_text('#!/bin/sh\necho "$@" >>called\n')
    pip.chmod(0o755)
    (tmp_path / "requirements.txt").write_text("jax[cuda12]==1.0\n")
    subprocess.run(
        ["sh", "-ec", command],
        cwd=tmp_path,
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "EXTRAS": "live,report",
            "CUDA": cuda,
        },
        check=True,
    )
    assert (tmp_path / "called").read_text().endswith(f" .[{extras}]\n")
    assert (tmp_path / "constraints.txt").read_text() == "jax==1.0\n"


def test_a_user_without_rights_runs_it(steps):
    names = [name for name, _ in steps]
    (user,) = values(steps, "USER")
    assert user != "root"
    assert any("useradd" in step and user in step for step in values(steps, "RUN"))
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert all("pip install" not in value for _, value in steps[names.index("USER") :])


def test_entrypoint_lists_the_programs(steps):
    (entrypoint,), (command,) = values(steps, "ENTRYPOINT"), values(steps, "CMD")
    python, *words = json.loads(entrypoint)
    assert python == "python"
    process = subprocess.run(
        [sys.executable, *words, *json.loads(command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "samg_jax.train" in process.stdout
