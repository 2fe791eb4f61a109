"""The README: its length, its commands and its Python, run with small settings."""

import importlib.util
import json
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from samg_jax import algorithms
from samg_jax.guidance import weights
from tests.fixtures import called_programs, small_experiments

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if not line.startswith("#")
]
CLOSING = (
    r"normalized score +offline +final +change\n(?:seed \d+ .*\n)+mean .*\n95 % int"
)


def test_readme_has_at_most_200_lines():
    assert len(README.splitlines()) <= 200


def test_readme_names_the_two_scripts_and_programs_only():
    scripts = [command for command in COMMANDS if command.startswith("bash ")]
    names = [command.removeprefix("bash launch/") for command in scripts]
    assert names == ["quickstart.sh", "test.sh"]
    programs = [command for command in COMMANDS if not command.startswith("bash ")]
    assert len(programs) >= 7
    assert all(command.startswith("python -m samg_jax.") for command in programs)


def test_files_that_the_readme_names_are_there():
    links = re.findall(r"\]\(((?!https?:)[^)]+)\)", README)
    assert len(links) > 10
    named = re.findall(r"`?((?:examples|launch|samg_jax)/[\w/]+\.\w+)`?", README)
    for path in [*links, *named]:
        assert (ROOT / path).exists(), path


def test_ci_calls_both_scripts_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    for command in COMMANDS:
        if command.startswith("bash "):
            assert re.search(rf"^{re.escape(command)}\b", script, re.MULTILINE), command


def test_the_result_is_that_of_the_committed_table():
    spec = importlib.util.spec_from_file_location(
        "readme_results", ROOT / "launch" / "readme_results.py"
    )
    pytest.importorskip("pandas")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    frame = script.tidy_table.read(ROOT / "launch" / "results" / "demo")
    rows = script.table(frame[frame["phase"] == "online"]).splitlines()[1:]
    assert len(rows) == 6
    for row in rows:
        assert row in README


def fields(command: str) -> list[str]:
    """Fields that make an experiment of the README small."""
    named = re.search(r"configs/(\w+)\.py", command)
    name = named[1] if named else "awac_samg"
    own = small_experiments.fields(name, pathlib.Path("unused"))
    for field in ("dataset.path", "env_id", "num_seeds"):
        del own[field]  # As the README says.
    own |= {f"{phase}.eval_every": 60 for phase in ("offline", "online")}
    own["evaluation.episodes"] = 1
    return [f"--config.{name}={value}" for name, value in own.items()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what the checkout has, and a file of the main job's schema."""
    path = tmp_path_factory.mktemp("readme")
    for name in ("configs", "examples"):
        (path / name).symlink_to(ROOT / name)
    cache = path / "d4rl"
    cache.mkdir()
    small_experiments.write_dataset(
        cache / "halfcheetah_medium-v2.hdf5", env_id="HalfCheetah-v4"
    )
    registries = (weights.REGISTRY, algorithms.MODULES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("D4RL_DATASET_DIR", str(cache))
        patch.setenv("HOME", str(path))
        patch.chdir(path)
        patch.syspath_prepend(str(path))
        before = [dict(registry) for registry in registries]
        yield path
        for registry, known in zip(registries, before, strict=True):
            registry.clear()
            registry.update(known)
        for name in ("own_weight", "own_algorithm"):
            sys.modules.pop(f"examples.{name}", None)


def processed(words):
    """What a command prints, run in a process as a reader does."""
    result = subprocess.run(
        [sys.executable, *words[1:]],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, f"{words}\n{result.stderr[-3000:]}"
    return result.stdout


def saved(folder, run):
    return json.loads((folder / "runs" / run / "config.json").read_text())


def test_every_command_of_the_readme_runs(folder, capsys):
    programs = [words for words in map(shlex.split, COMMANDS) if words[0] == "python"]
    for number, words in enumerate(programs):
        if words[2] == "samg_jax.evaluate":
            pytest.importorskip("imageio")
            called_programs.call([*words[2:], "--episodes=2"])
            continue
        words += fields(" ".join(words))
        if number == 0:  # The others start no process of their own.
            output = processed(words)
        else:
            called_programs.call(words[2:])
            output = capsys.readouterr().out
        shown = output.split("learning curves: ")[1].strip()
        assert (folder / shown).stat().st_size > 5_000
        if "--config=examples/quick.py:hopper-demo" in words and not any(
            word.startswith("--sweep") for word in words
        ):
            assert re.search(CLOSING, output), words
    assert (folder / "scores.json").exists()
    assert (folder / "episode.mp4").exists()
    runs = {path.name for path in (folder / "runs").iterdir()}
    assert {"quick", "no_data", "strengths", "gentle", "normalized"} <= runs
    # The examples' own weight and own algorithm were those that trained.
    assert saved(folder, "gentle")["guidance"]["weight"] == "gentle"
    assert saved(folder, "normalized")["algorithm"] == "normalized_awac"
    rows = (folder / "runs" / "normalized" / "training.csv").read_text()
    assert "actor_loss" in rows


def test_the_python_of_the_readme_prints_what_it_says(folder, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 12
    shown = re.search(r"```text\n(.*?)```", README, re.DOTALL)[1]
    assert re.match(CLOSING, shown)
    values = small_experiments.fields("awac_samg", pathlib.Path("unused"))
    for field in ("dataset.path", "env_id", "num_seeds"):
        del values[field]
    reduced = f"config.update_from_flattened_dict({values!r})\nresult = "
    code = code.replace("result = ", reduced, 1)
    code = code.replace("config.update", "config.unlock()\nconfig.update", 1)
    exec(code, {})
    output = capsys.readouterr().out
    assert re.match(CLOSING, output[output.index("normalized score") :])
    assert len(re.findall(r"^seed \d: return -?\d+$", output, re.MULTILINE)) == 4
    assert (folder / "runs" / "from_python").is_dir()


@pytest.mark.parametrize("script", sorted((ROOT / "launch").glob("*.sh")))
def test_scripts_are_valid_bash(script):
    subprocess.run(["bash", "-n", str(script)], check=True)
