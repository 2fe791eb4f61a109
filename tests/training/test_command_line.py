"""Which config file a name or a path means, wherever a program is run."""

import pathlib
import runpy
import sys

import pytest

import samg_jax
from samg_jax import checks
from samg_jax.training import command_line

ROOT = pathlib.Path(samg_jax.__file__).parents[1]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder that has a package `configs` of its own, which is no good."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "__init__.py").write_text("")
    (tmp_path / "configs" / "base.py").write_text("raise RuntimeError('not this')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "configs"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


@pytest.mark.parametrize("file", ["awac_samg", "iql", "configs/cql_samg.py"])
def test_the_packages_configs_are_found_from_any_folder(elsewhere, file):
    del elsewhere
    path = command_line.find_config(file)
    assert path.samefile(ROOT / "configs" / f"{pathlib.Path(file).stem}.py")
    config = command_line.load(file, "hopper-medium")
    assert config.dataset.name == "hopper-medium-v2"


def test_a_file_in_the_current_folder_wins_over_the_packages(elsewhere):
    own = elsewhere / "configs" / "awac.py"
    own.write_text("def get_config():\n    return 3\n")
    assert command_line.find_config("configs/awac.py").samefile(own)
    assert command_line.load("configs/awac.py") == 3
    # A name means the package's.
    assert command_line.find_config("awac").samefile(ROOT / "configs" / "awac.py")


@pytest.mark.parametrize("folder", ["configs", "mine"])
def test_a_users_config_builds_on_the_packages(elsewhere, folder):
    (elsewhere / folder).mkdir(exist_ok=True)
    file = elsewhere / folder / "short.py"
    file.write_text(
        "from samg_jax.configs import awac\n\n\n"
        "def get_config(dataset):\n"
        "    config = awac.get_config(dataset)\n"
        "    config.offline.updates = 7\n"
        "    return config\n"
    )
    assert command_line.load(str(file), "hopper-demo").offline.updates == 7


def test_configs_without_such_a_folder_are_the_packages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p and p != str(ROOT)])
    for name in [name for name in sys.modules if name.split(".")[0] == "configs"]:
        monkeypatch.delitem(sys.modules, name)
    file = tmp_path / "old.py"
    file.write_text(
        "from configs.suites import smoke\n\nget_config = smoke.get_config\n"
    )
    assert command_line.load(str(file)).algorithms == ("awac", "iql")


@pytest.mark.parametrize(
    ("file", "texts"),
    [
        ("awac_smag", ["Did you mean 'awac_samg'?", "Known are awac, awac_samg, bc"]),
        ("base", ["no config 'base'"]),
        ("__init__", ["no config '__init__'"]),
        ("awac.py", ["Did you mean 'configs/awac.py'?"]),
        ("configs/awak.py", ["Did you mean 'configs/awac.py'?"]),
        ("elsewhere/awac.py", ["no config file 'elsewhere/awac.py'"]),
        ("", ["no config file ''"]),
    ],
)
def test_an_unknown_config_is_refused_with_the_nearest(
    tmp_path, monkeypatch, file, texts
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(checks.UserError) as error:
        command_line.find_config(file)
    for text in texts:
        assert text in str(error.value)


@pytest.mark.parametrize(
    ("given", "dataset"),
    [
        (["--config=awac"], ""),
        (["-config=awac:hopper-demo"], ":hopper-demo"),
        (["--config", "awac:minari:a/b-v0"], ":minari:a/b-v0"),
    ],
)
def test_the_parser_is_given_the_files_path(given, dataset):
    others = ["train", "--config.seed=1", "--workdir=runs/a\nb"]
    argv = command_line.with_file([*others, *given])
    assert argv[: len(others)] == others
    path = str(command_line.find_config("awac"))
    assert argv[-1].removeprefix(f"{given[0].partition('=')[0]}=") == path + dataset
    assert len(argv) == len(others) + len(given)


def test_config_without_a_value_is_left_to_the_parser():
    assert command_line.with_file(["train", "--config"]) == ["train", "--config"]


def test_every_config_file_imports_its_neighbors_by_the_packages_name():
    for path in (ROOT / "configs").rglob("*.py"):
        text = path.read_text()
        assert "\nfrom configs" not in text, path
        assert "\nimport configs" not in text, path
    assert runpy.run_path(str(ROOT / "configs" / "suites" / "smoke.py"))["get_config"]()
