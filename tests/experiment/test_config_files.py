"""Config files mean the right `configs`, wherever a program is started."""

import pathlib
import sys

import pytest

from samg_jax import checks
from samg_jax.experiment import config_files, suite_files

ROOT = pathlib.Path(__file__).parents[2]
OWN_BASE = "from configs import base\n\n\ndef get_config(dataset='hopper-demo'):\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a package `configs` that has nothing to do with ours."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "__init__.py").write_text("LEARNING_RATE = 1\n")
    (tmp_path / "configs" / "settings.py").write_text("SEED = 7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if f"{name}.".startswith("configs.")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


@pytest.mark.parametrize("file", ["awac_samg", "iql", "configs/cql_samg.py"])
def test_a_name_means_the_packages_file_from_any_folder(project, file):
    del project
    path = config_files.find(file)
    assert path.samefile(ROOT / "configs" / f"{pathlib.Path(file).stem}.py")
    config = config_files.load(file, "hopper-medium")
    assert config.dataset.name == "hopper-medium-v2"


def test_a_file_in_the_current_folder_wins_over_the_packages(project):
    own = project / "configs" / "awac.py"
    own.write_text("get_config = None\n")
    assert config_files.find("configs/awac.py").samefile(own)
    assert config_files.find("awac").samefile(ROOT / "configs" / "awac.py")


@pytest.mark.parametrize("folder", ["configs", "mine"])
def test_a_users_config_builds_on_the_packages(project, folder):
    (project / folder).mkdir(exist_ok=True)
    file = project / folder / "short.py"
    file.write_text(
        "from samg_jax.configs import awac\n\n\n"
        "def get_config(dataset):\n"
        "    config = awac.get_config(dataset)\n"
        "    config.offline.updates = 7\n"
        "    return config\n"
    )
    assert config_files.load(str(file), "hopper-demo").offline.updates == 7


@pytest.mark.parametrize(
    ("file", "texts"),
    [
        ("awac_smag", ["Did you mean 'awac_samg'?", "Known are awac, awac_samg, bc"]),
        ("base", ["no config 'base'"]),
        ("__init__", ["no config '__init__'"]),
        ("awac.py", ["Did you mean 'configs/awac.py'?"]),
        ("configs/awak.py", ["Did you mean 'configs/awac.py'?"]),
        ("elsewhere/awac.py", ["no config file 'elsewhere/awac.py'"]),
        ("", ["config is empty"]),
    ],
)
def test_an_unknown_config_is_refused_with_the_nearest(project, file, texts):
    del project
    with pytest.raises(checks.UserError) as error:
        config_files.find(file)
    for text in texts:
        assert text in str(error.value)


def test_every_config_file_imports_its_neighbors_by_the_packages_name():
    for path in (ROOT / "configs").rglob("*.py"):
        text = path.read_text()
        assert "\nfrom configs" not in text, path
        assert "\nimport configs" not in text, path


@pytest.mark.parametrize("name", ["awac_samg", "cal_ql"])
def test_the_packages_configs_are_found_beside_a_project_with_its_own(project, name):
    __import__("configs.settings")
    config = config_files.load(f"configs/{name}.py", "hopper-demo")
    assert config.dataset.name == "hopper-demo"
    assert config_files.folder("configs") == config_files.HOME
    # The project's own are as they were.
    assert sys.modules["configs.settings"].SEED == 7
    assert sys.modules["configs"].__path__ == [str(project / "configs")]


def test_a_file_of_the_project_has_the_base_of_the_package(project):
    body = OWN_BASE + "    config = base.get_config(dataset)\n    return config\n"
    for path in (project / "mine.py", project / "configs" / "mine.py"):
        path.write_text(body)
        config = config_files.load(str(path), "hopper-medium")
        assert config.dataset.name == "hopper-medium-v2"


def test_a_file_of_the_project_has_what_its_folder_has_first(project):
    (project / "configs" / "mine.py").write_text(
        "from configs import LEARNING_RATE, awac, settings\n\n\n"
        "def get_config(dataset='hopper-demo'):\n"
        "    config = awac.get_config(dataset)\n"
        "    config.seed = settings.SEED + LEARNING_RATE\n"
        "    return config\n"
    )
    assert config_files.load("configs/mine.py").seed == 8
    assert "configs" not in sys.modules


def test_suites_are_found_in_the_same_way(project):
    configs = config_files.folder("configs")
    assert suite_files.load("smoke", configs).num_seeds == 3
    own = project / "own.py"
    own.write_text(
        "from configs.suites import smoke\n\n\ndef get_config():\n"
        "    suite = smoke.get_config()\n    suite.num_seeds = 9\n    return suite\n"
    )
    assert suite_files.load(str(own), configs).num_seeds == 9


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("x = 1\n", "has no function get_config"),
        ("get_config = 3\n", "has no function get_config"),
        ("def get_config():\n    pass\n", "too many positional arguments"),
        ("def get_config(dataset):\n    pass\n", "returned NoneType"),
        ("def get_config(dataset):\n    return {}\n", "returned dict"),
    ],
)
def test_a_file_without_a_config_is_named(tmp_path, text, match):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(checks.UserError, match=match) as error:
        config_files.load(str(path), "hopper-demo")
    assert str(path) in str(error.value)


@pytest.mark.parametrize("text", ["def get_config(:\n", "1 / 0\n"])
def test_a_bug_in_a_config_file_keeps_its_traceback(tmp_path, text):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises((SyntaxError, ZeroDivisionError)):
        config_files.load(str(path))
