"""A wheel of the tree, installed outside the checkout, is the whole package."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

import samg_jax

ROOT = pathlib.Path(__file__).parent.parent
COMMANDS = ("train", "evaluate", "collect", "diagnose", "report", "suite", "benchmark")
HELD = (
    "configs/base.py",
    "configs/awac_samg.py",
    "configs/suites/smoke.py",
    "data/hopper-demo.hdf5",
    "py.typed",
    "results/page.html.jinja",
    "results/published_tables/corl_offline.txt",
)


def call(*command, cwd, **environment):
    """Runs a program without this checkout on its path; returns what it printed."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    tree = tmp_path_factory.mktemp("tree") / "samg_jax"
    tree.mkdir()
    for name in ("setup.py", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, tree)
    left_out = shutil.ignore_patterns("__pycache__")
    for name in ("configs", "samg_jax"):
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=left_out)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    call(*pip, "wheel", "--no-deps", "--wheel-dir=out", ".", cwd=tree)
    (path,) = (tree / "out").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The scripts of an environment with the wheel, and a folder to work in."""
    folder = tmp_path_factory.mktemp("outside")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    scripts = folder / "venv" / "bin"
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    target = ("--python", scripts / "python", "install", "--no-deps", wheel)
    call(*pip, *target, cwd=folder)
    # The dependencies are those of this environment, which come after its own packages.
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    others = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (packages / "dependencies.pth").write_text("\n".join(sorted(others)))
    work = folder / "work"
    # A project of the user's, with a package of the same name as our folder.
    (work / "configs").mkdir(parents=True)
    (work / "configs" / "__init__.py").write_text("")
    (work / "configs" / "base.py").write_text("raise RuntimeError('not this one')\n")
    return scripts, work


def test_wheel_holds_licence_configs_and_data(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"samg_jax-{samg_jax.__version__}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode()
        for name in ("LICENSE", "NOTICE"):
            (held,) = (each for each in names if each.endswith(f"/{name}"))
            assert held.startswith(info)
            assert archive.read(held) == (ROOT / name).read_bytes()
        scripts = archive.read(f"{info}/entry_points.txt").decode()
    assert names >= {f"samg_jax/{name}" for name in HELD}
    assert {name.split("/")[0] for name in names} == {"samg_jax", info}
    for line in (
        "License-Expression: Apache-2.0",
        "Author: The samg_jax developers",
        "Project-URL: Paper, https://arxiv.org/abs/2410.18626",
        "Classifier: Programming Language :: Python :: 3.13",
    ):
        assert f"\n{line}\n" in metadata
    assert all(f"samg-{name} = " in scripts for name in COMMANDS)


def test_installed_package_is_not_the_checkout(installed):
    scripts, work = installed
    code = "import samg_jax.configs.base as module; print(module.__file__)"
    file = call(scripts / "python", "-c", code, cwd=work)
    assert pathlib.Path(file).is_relative_to(scripts.parent)


def test_installed_command_finds_the_configs_outside_the_checkout(installed):
    scripts, work = installed
    given = ("--config=awac_samg:hopper-demo", "--config.num_seeds=3", "--dry_run")
    printed = call(scripts / "samg-train", *given, cwd=work)
    assert "environment: Hopper-v4" in printed
    assert '"num_seeds": 3' in printed


def test_installed_suite_finds_its_configs(installed):
    scripts, work = installed
    given = ("--suite=smoke", "--out=runs/smoke", "--dry_run")
    printed = call(scripts / "samg-suite", *given, cwd=work)
    assert "awac" in printed


def test_installed_commands_find_modules_in_the_current_folder(installed):
    scripts, work = installed
    (work / "own_weights.py").write_text(
        "import jax.numpy as jnp\n"
        "from samg_jax.guidance import weights\n\n"
        "weights.register('half', lambda c, g, o, *rest: jnp.full(len(o), 0.5))\n"
    )
    given = ("--config.guidance.module=own_weights", "--config.guidance.weight=half")
    # Configs are found by their path in the checkout, too.
    config = "--config=configs/awac_samg.py:hopper-demo"
    command = (scripts / "samg-train", config, "--dry_run")
    assert '"weight": "half"' in call(*command, *given, cwd=work)
