"""What a package must bring along: metadata, pins, commands, the choice of CUDA."""

import ast
import datetime
import os
import pathlib
import re
import runpy
import subprocess
import sys

import pytest
from packaging import requirements

import samg_jax
from samg_jax import __main__ as listing
from samg_jax.runs import checkpoints

ROOT = pathlib.Path(__file__).parent.parent
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
PINS = [
    requirements.Requirement(line)
    for line in (ROOT / "requirements.txt").read_text().splitlines()
    if not line.startswith("#")
]


@pytest.fixture(scope="module")
def metadata():
    """What setup.py passes on."""
    setuptools = pytest.importorskip("setuptools")
    given = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", given.update)
        patch.chdir(ROOT)
        runpy.run_path("setup.py")
    return given


def test_version_is_the_same_everywhere(metadata):
    assert metadata["version"] == samg_jax.__version__
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {samg_jax.__version__}\n" in citation
    newest = re.search(r"^## ([\d.]+) \((.+)\)$", CHANGELOG, re.MULTILINE)
    assert newest[1] == samg_jax.__version__
    assert f'\ndate-released: "{newest[2]}"\n' in citation


def test_changelog_is_dated_and_names_the_format_of_checkpoints():
    newest = CHANGELOG.split("\n## ")[1]
    assert f"Checkpoint format {checkpoints.FORMAT_VERSION}." in newest
    dates = re.findall(r"^\* (\S+):", CHANGELOG, re.MULTILINE)
    assert len(dates) == len(re.findall(r"^\* ", CHANGELOG, re.MULTILINE))
    assert all(datetime.date.fromisoformat(date) for date in dates)


def test_licence_is_apaches_and_notices_name_files_that_exist():
    licence = (ROOT / "LICENSE").read_text()
    for text in ("Apache License", "END OF TERMS", "2026 The samg_jax developers"):
        assert text in licence
    paths = r"\b((?:configs|samg_jax|tests|launch)/[\w./*-]*[\w/*])"
    for name in ("NOTICE", "CONTRIBUTING.md", "CHANGELOG.md"):
        for path in re.findall(paths, (ROOT / name).read_text()):
            if "NAME" not in path:
                assert list(ROOT.glob(path)), f"{name}: {path}"


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_every_requirement_is_pinned_once_within_its_range(metadata, python):
    here = {"python_version": python}
    pins = [pin for pin in PINS if pin.marker is None or pin.marker.evaluate(here)]
    pinned = {pin.name.lower(): pin for pin in pins}
    assert len(pinned) == len(pins)
    wanted = [*metadata["install_requires"]]
    for extra in metadata["extras_require"].values():
        wanted += extra
    for text in wanted:
        needed = requirements.Requirement(text)
        if needed.marker is None or needed.marker.evaluate(here):
            (pin,) = pinned[needed.name.lower()].specifier
            assert pin.operator == "=="
            assert needed.specifier.contains(pin.version), text


def test_commands_call_functions_that_exist(metadata):
    commands = metadata["entry_points"]["console_scripts"]
    assert len(commands) == 7
    for command in commands:
        module, function = command.split(" = ")[1].split(":")
        text = (ROOT / f"{module.replace('.', '/')}.py").read_text()
        defined = {getattr(node, "name", None) for node in ast.parse(text).body}
        assert function in defined, command


def test_every_program_is_listed():
    process = subprocess.run(
        [sys.executable, "-m", "samg_jax"], capture_output=True, text=True, check=True
    )
    package = pathlib.Path(samg_jax.__file__).parent
    programs = {
        ".".join(path.relative_to(package).with_suffix("").parts)
        for path in package.rglob("*.py")
        # `data.download` has no flags, only names; docs/pages/data.md describes it.
        if path.stem not in ("__main__", "case_worker", "download", "job_worker")
        and '__name__ == "__main__"' in path.read_text()
    }
    assert programs == set(listing.PROGRAMS)
    for name in programs:
        assert re.search(rf"python -m samg_jax\.{name} +\w.+", process.stdout)


def test_list_of_programs_takes_no_arguments(capsys):
    listing.main(["--help"])
    assert "samg_jax.train" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="arguments are trian"):
        listing.main(["trian"])


HEADER = "| NVIDIA-SMI {0}    Driver Version: {0}    CUDA{2} Version: {1}     |"


@pytest.mark.parametrize(
    ("said", "driver", "extra"),
    [
        (HEADER.format("580.65.06", "13.0", ""), None, "cuda13"),
        (HEADER.format("595.10", "14.2", " UMD"), None, "cuda13"),
        (HEADER.format("550.54.15", "12.4", ""), None, "cuda"),
        ("NVIDIA-SMI has failed because it could not reach the driver.", None, "cuda"),
        (None, "NVRM version: NVIDIA UNIX Kernel Module  580.82.07  Aug 27", "cuda13"),
        (None, "NVRM version: NVIDIA UNIX Kernel Module  535.183.01  May 12", "cuda"),
        (None, None, ""),
    ],
)
def test_cuda_is_the_drivers(tmp_path, said, driver, extra):
    # Nothing else is on the path, so no real nvidia-smi.
    if said is not None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        program.chmod(0o755)
    if driver is not None:
        (tmp_path / "version").write_text(f"{driver}\n")
    process = subprocess.run(
        ["/bin/bash", "-euc", "source launch/cuda.sh; cuda_extra"],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "NVIDIA_DRIVER_FILE": str(tmp_path / "version")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.strip() == extra


@pytest.mark.parametrize(
    ("given", "said", "before", "extras"),
    [
        ("", "13.0", "", "cuda13"),
        ("test,report", "12.4", "", "test,report,cuda"),
        ("cuda,test", "13.0", "", "cuda,test"),
        ("test", "13.0", "jax_cuda12_plugin", "test,cuda"),
        ("test", "13.0", "jax_cuda13_plugin", "test,cuda13"),
    ],
)
def test_install_adds_the_drivers_extra(tmp_path, given, said, before, extras):
    fake = tmp_path / "fake"
    fake.mkdir()
    program = fake / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{HEADER.format('1.2', said, '')}'\n")
    program.chmod(0o755)
    # An environment is there already; its Python writes down what it is called with.
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" >"{tmp_path}/called"\n')
    python.chmod(0o755)
    packages = tmp_path / "venv" / "lib" / "python3.12" / "site-packages"
    (packages / before).mkdir(parents=True)
    environment = {
        **os.environ,
        "PATH": f"{fake}:{os.environ['PATH']}",
        "VENV": str(tmp_path / "venv"),
    }
    command = ["bash", "launch/install.sh", *filter(None, [given])]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    assert (tmp_path / "called").read_text().endswith(f"--editable .[{extras}]\n")


def test_install_refuses_a_python_that_is_too_old(tmp_path):
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'Python 3.9.1'\nexit 1\n")
    old.chmod(0o755)
    process = subprocess.run(
        ["bash", "launch/install.sh"],
        cwd=ROOT,
        env={**os.environ, "PYTHON": str(old), "VENV": str(tmp_path / "venv")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert "3.11 or later is needed" in process.stderr
    assert not (tmp_path / "venv").exists()


def test_tests_of_the_fast_part_exist():
    script = (ROOT / "launch" / "test.sh").read_text()
    paths = re.findall(r"^ {4}\"?(tests/[^\s:\"]+)(?:::(\w+))?", script, re.MULTILINE)
    assert len(paths) >= 9
    for path, name in paths:
        assert (ROOT / path).exists()
        assert not name or f"def {name}(" in (ROOT / path).read_text()


def test_tensorboard_reads_what_runs_write(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    writer = pytest.importorskip("tensorboardX").SummaryWriter(str(tmp_path))
    writer.add_scalar("score", 35.8, 7)
    writer.close()
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    (event,) = events.Scalars("score")
    assert (event.step, round(event.value, 4)) == (7, 35.8)
