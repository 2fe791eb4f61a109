"""The README's commands, run as written, with flags added that make them small."""

import pathlib
import re
import shlex
import subprocess
import sys
import warnings

import gymnasium
import pytest

from tests import small

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
COLLECT_SMALL = [
    "--steps=300",
    "--train_steps=300",
    "--eval_every=150",
    "--medium_score=-100",
    "--hidden_dims=16,16",
]


def test_readme_names_three_scripts_and_programs_only():
    scripts = [command for command in COMMANDS if command.startswith("bash ")]
    names = [command.removeprefix("bash launch/") for command in scripts]
    assert names == ["quickstart.sh", "test.sh", "smoke.sh"]
    programs = [command for command in COMMANDS if not command.startswith("bash ")]
    assert len(programs) >= 8
    assert all(command.startswith("python -m samg_jax.") for command in programs)
    for path in re.findall(r"`((?:configs|launch|samg_jax|tests)/[\w./]*)`", README):
        assert (ROOT / path).exists(), path


def test_ci_calls_the_readme_test_command():
    assert "bash launch/test.sh" in (ROOT / ".ci" / "run").read_text()


# Flags that make the programs small that take no config.
PROGRAMS_SMALL = {
    "samg_jax.benchmark": [
        "--algorithms=bc",
        "--families=locomotion",
        "--rows=1500",
        "--repeats=1",
        "--seconds=0.01",
    ],
    "samg_jax.collect": COLLECT_SMALL,
    "samg_jax.evaluate": ["--episodes=2"],
    "samg_jax.report": ["--reps=10"],
    "samg_jax.diagnose": ["--steps=20", "--rows=100", "--nocosts"],
    "samg_jax.coverage": ["--max_rows=300", "--clusters=3", "--repeats=1"],
    "samg_jax.analysis.tabular": ["--processes=2", "--states=10", "--iterations=4000"],
}

SUITE_SMALL = [
    "--set=algorithms=awac",
    "--set=variants=samg",
    "--set=num_seeds=1",
    "--set=budgets.offline_updates=60",
    "--set=budgets.online_steps=60",
    "--set=config.agent.hidden_dims=(16, 16)",
    "--set=config.online.warmup_steps=25",
    "--set=config.evaluation.episodes=2",
    "--set=config.guidance.cvae.steps=40",
    "--set=config.guidance.cvae.kl_warmup_start=5",
    "--set=config.guidance.cvae.kl_warmup_steps=10",
]


def added_flags(command: str) -> list[str]:
    """Returns flags that make a command of the README small."""
    if "samg_jax.benchmark suite" in command:
        return SUITE_SMALL
    if "samg_jax.collect --env=antmaze" in command:
        return ["--steps=300"]
    program = command.split()[2]
    if program in PROGRAMS_SMALL:
        return PROGRAMS_SMALL[program]
    if "--dry_run" in command:
        return []
    name = re.search(r"configs/(\w+)\.py", command)[1]
    fields = small.fields(name, pathlib.Path("unused"))
    del fields["dataset.path"], fields["env_id"]  # As the README says.
    if "num_seeds" in command:
        del fields["num_seeds"]
    if "online.steps=0" in command:
        del fields["online.steps"]
    return [f"--config.{name}={value}" for name, value in fields.items()]


def record_minari(folder: pathlib.Path) -> None:
    """Stands in for the download of the README's Minari dataset."""
    minari = pytest.importorskip("minari")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        env = minari.DataCollector(gymnasium.make("Hopper-v5"))
        env.action_space.seed(0)
        for episode in range(10):
            env.reset(seed=episode)
            ended = False
            while not ended:
                ended = env.step(env.action_space.sample())[2]
        with warnings.catch_warnings(action="ignore"):
            env.create_dataset("mujoco/hopper/medium-v0")
        env.close()


def test_every_command_of_the_readme_runs(tmp_path, monkeypatch):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    # The original files cannot be had here: the main job is run on one of its schema.
    cache = tmp_path / "d4rl"
    cache.mkdir()
    small.write_dataset(cache / "halfcheetah_medium-v2.hdf5", env_id="HalfCheetah-v4")
    monkeypatch.setenv("D4RL_DATASET_DIR", str(cache))
    record_minari(tmp_path / "minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    for name, code in re.findall(
        r"```python\n# (\w+\.py)\n(.*?)```", README, re.DOTALL
    ):
        (tmp_path / name).write_text(code)
    for command in COMMANDS:
        if command.startswith("bash "):
            continue
        words = shlex.split(command)
        assert words[0] == "python"
        result = subprocess.run(
            [sys.executable, *words[1:], *added_flags(command)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode == 0, f"{command}\n{result.stderr[-3000:]}"
        if words[2] == "samg_jax.train" and "dry_run" not in command:
            assert "learning curves: " in result.stdout, command
            shown = result.stdout.split("learning curves: ")[1].strip()
            assert (tmp_path / shown).stat().st_size > 5_000
    assert (tmp_path / "hopper.hdf5").exists()
    assert (tmp_path / "scores.json").exists()
    assert (tmp_path / "runs/smoke/results.parquet").exists()
    assert (tmp_path / "report/index.html").exists()
    assert (tmp_path / "runs/pretrained/diagnosis/diagnosis.json").exists()
    forks = {"pretrained", "samg", "no_data", "vanilla", "thresholds", "gentle"}
    assert forks <= {path.name for path in (tmp_path / "runs").iterdir()}


@pytest.mark.parametrize("script", sorted((ROOT / "launch").glob("*.sh")))
def test_scripts_are_valid_bash(script):
    subprocess.run(["bash", "-n", str(script)], check=True)
