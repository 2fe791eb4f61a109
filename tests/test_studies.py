"""The studies of the guidance: which runs their scripts make, with which flags."""

import json
import pathlib
import subprocess
import sys

import pytest

from samg_jax.analysis import candidates
from samg_jax.training import command_line
from tests import small

ROOT = pathlib.Path(__file__).parent.parent
RECORD = """#!/usr/bin/env bash
printf '%s\\0' "$@" >>calls
printf '\\n' >>calls
"""
RUN = f"""#!/usr/bin/env bash
exec {sys.executable} "$@"
"""
FORKS = ["vanilla", "none", "cvae", "even", "random", "embedding"]
OWN = ("--config.dataset.path=data/umaze.v1.hdf5", "--config.env_id=antmaze-umaze")


@pytest.fixture
def studio(tmp_path):
    """Returns a function that runs a script in a copy of the repository.

    The copy's Python only writes down what it is called with, unless `python` says
    more; it is installed already.
    """
    for name in ("configs", "samg_jax"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "launch").mkdir()
    for script in (ROOT / "launch").glob("*.sh"):
        (tmp_path / "launch" / script.name).write_text(script.read_text())
    (tmp_path / "launch" / "install.sh").write_text(":\n")
    interpreter = tmp_path / ".venv" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)

    def run(script, *arguments, python=RECORD):
        interpreter.write_text(python)
        interpreter.chmod(0o755)
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


def test_the_ablation_forks_every_variant_from_one_checkpoint(commands):
    runs = commands("ablation")
    folder = "runs/studies/awac/hopper-demo"
    assert list(runs) == ["offline", *FORKS, "report"]
    assert runs["offline"]["--config.online.steps"] == "0"
    assert "--config.offline.restore" not in runs["offline"]
    for name in FORKS:
        config = "awac" if name == "vanilla" else "awac_samg"
        assert runs[name]["--config"] == f"configs/{config}.py:hopper-demo"
        assert runs[name]["--config.offline.restore"] == f"{folder}/offline"
        assert runs[name]["--config.online.steps"] == "10000"
        if name != "vanilla":
            assert runs[name]["--config.guidance.weight"] == name
    assert runs["report"][:6] == [f"{folder}/{name}" for name in FORKS]
    assert runs["report"][-1] == f"--out={folder}/ablation.md"


def test_the_threshold_is_swept_in_one_fork(commands):
    runs = commands("threshold_sensitivity", "halfcheetah-medium", "iql")
    assert list(runs) == ["offline", "thresholds", "report"]
    swept = runs["thresholds"]
    assert swept["--sweep"] == "guidance.threshold=0,0.3,0.5,0.75"
    assert swept["--config"] == "configs/iql_samg.py:halfcheetah-medium"
    folder = "runs/studies/iql/halfcheetah-medium"
    assert swept["--config.offline.restore"] == f"{folder}/offline"
    assert runs["report"][-1] == f"--out={folder}/thresholds.md"


def test_the_users_flags_win_and_those_of_the_guidance_are_for_guided_runs(commands):
    runs = commands(
        "ablation",
        *("hopper-demo", "awac", "--config.online.steps=70"),
        *("--config.agent.tau=0.3", "--config.agent.hidden_dims=(32, 32)"),
        *("--config.guidance.cvae.steps=80", "--noconfig.guidance.use_std"),
    )
    for name in ("offline", *FORKS):
        assert runs[name]["--config.online.steps"] == "70" if name in FORKS else "0"
        assert runs[name]["--config.agent.tau"] == "0.3"
        assert runs[name]["--config.agent.hidden_dims"] == "(32, 32)"
        for field, value in [("cvae.steps", "80"), ("cvae.hidden_dim", "128")]:
            expected = None if name == "vanilla" else value
            assert runs[name].get(f"--config.guidance.{field}") == expected
        assert ("--noconfig.guidance.use_std" in runs[name]) == (name != "vanilla")


@pytest.mark.parametrize("base", ["awac", "cql", "cal_ql", "iql"])
def test_rewards_are_scaled_and_values_less_conservative_on_the_demo_only(
    base, commands
):
    fields = ("dataset.reward_transform", "dataset.reward_scale", "agent.cql_weight")
    fields += ("agent.inverse_temperature_online",)

    def found(*arguments):
        run = commands("threshold_sensitivity", *arguments)["thresholds"]
        assert run["--config.agent.tau"] == "0.02"
        values = (run.get(f"--config.{field}") for field in fields)
        return tuple(value for value in values if value)

    own = {"awac": ("10.0",), "cql": ("1.0",), "cal_ql": ("1.0",)}.get(base, ())
    hopper = "--config.dataset.path=my.hdf5", "--config.env_id=Hopper-v4"
    assert found("hopper-demo", base) == ("affine", "0.1", *own)
    assert found("hopper-demo", base, *hopper) == ("affine", "0.1", *own)
    assert found("antmaze-umaze", base) == ()
    assert found("antmaze-umaze", base, *OWN) == ()
    assert found("hopper-demo", base, *OWN) == ()
    assert found("hopper-medium", base) == ()


def test_published_lengths_come_without_any_flag(commands, monkeypatch):
    monkeypatch.setenv("LENGTH", "full")
    runs = commands("ablation", "antmaze-umaze", "cql")
    assert set(runs["vanilla"]) == {"--config", "--config.offline.restore", "--workdir"}
    assert set(runs["offline"]) == {"--config", "--config.online.steps", "--workdir"}


def test_the_folder_is_called_after_the_file(commands, monkeypatch):
    runs = commands("ablation", "antmaze-umaze", "iql", *OWN)
    assert runs["cvae"]["--workdir"] == "runs/studies/iql/umaze.v1/cvae"
    assert (
        "--title=Ablation of the weight: iql on umaze.v1, reduced length"
        in runs["report"]
    )
    monkeypatch.setenv("RUNS", "elsewhere")
    runs = commands("ablation", "minari:mujoco/hopper/medium-v0")
    folder = "elsewhere/awac/minari/mujoco/hopper/medium-v0"
    assert runs["cvae"]["--workdir"] == f"{folder}/cvae"
    assert runs["cvae"]["--config.guidance.cvae.kl_warmup_start"] == "500"


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("ablation", ["hopper-demo", "awac", "iql"], "iql is not a flag"),
        ("ablation", ["--config.guidance.weight=even"], "--config.guidance.weight is"),
        ("ablation", ["--sweep=guidance.strength=0,1"], "--sweep is what this study"),
        ("ablation", ["--config.agent.tau", "0.1"], "0.1 is not a flag"),
        ("threshold_sensitivity", ["-config.guidance.threshold=0.1"], "threshold is"),
        ("threshold_sensitivity", ["hopper-demo", "--workdir=x"], "--workdir is what"),
    ],
)
def test_flags_that_break_a_study_are_refused(script, arguments, message, studio):
    process = studio(script, *arguments)
    assert process.returncode == 1
    assert message in process.stderr


def test_the_presets_fork_from_one_checkpoint_and_end_in_a_table(commands, monkeypatch):
    monkeypatch.setenv("RESULTS", "tables")
    runs = commands("presets", "--config.online.steps=70", "--config.num_seeds=2")
    assert list(runs) == ["pretrained", "paper", "best", "report"]
    assert runs["pretrained"]["--config.online.steps"] == "0"
    for preset in ("paper", "best"):
        assert runs[preset]["--config.guidance.weight_preset"] == preset
        assert runs[preset]["--config.offline.restore"] == "runs/presets/pretrained"
        assert runs[preset]["--config.online.steps"] == "70"
        assert runs[preset]["--config.num_seeds"] == "2"
        assert runs[preset]["--config.evaluation.episodes"] == "20"
    assert runs["report"][:3] == ["runs/presets/paper", "runs/presets/best", "--paired"]
    assert runs["report"][-2:] == [
        "--out=tables/presets.md",
        "--json=tables/presets.json",
    ]


def test_the_settings_of_the_paper_are_judged_with_the_stds_and_without(
    studio, commands, monkeypatch, tmp_path
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


@pytest.mark.parametrize("script", ["quickstart", "presets"])
def test_flags_of_the_user_win_over_the_scripts(script, studio, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    given = ["--config.agent.hidden_dims=(32,)", "-config.num_seeds", "1e0"]
    process = studio(script, *given)
    assert process.returncode == 0, process.stderr
    words = (tmp_path / "calls").read_text().splitlines()[0].split("\0")[:-1]
    found, _ = command_line.read(words[2:])
    assert found.config.agent.hidden_dims == (32,)
    assert found.config.num_seeds == 1
    assert found.config.agent.tau == 0.02


@pytest.mark.slow
def test_the_studies_run_on_a_file_of_ones_own(studio, dataset, tmp_path):
    fields = small.fields("awac_samg", dataset, **{"offline.updates": 20})
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    folder = tmp_path / "runs" / "studies" / "awac" / "random"
    for script, table, variants in [
        ("ablation", "ablation", ["vanilla", "no_data", "samg", "samg_even"]),
        (
            "threshold_sensitivity",
            "thresholds",
            [f"samg threshold={t}" for t in (0, 0.75)],
        ),
    ]:
        process = studio(script, "hopper-demo", "awac", *flags, python=RUN)
        assert process.returncode == 0, process.stderr[-3000:]
        lines = (folder / f"{table}.md").read_text().splitlines()
        rows = {
            line.split(" | ")[1]: line for line in lines if line.startswith("| awac")
        }
        assert set(variants) <= set(rows)
        assert all(" | 2 | 20 | 60 | " in row for row in rows.values())
    saved = json.loads((folder / "cvae" / "config.json").read_text())
    assert saved["guidance"]["cvae"]["hidden_dim"] == 16
    assert len(list(folder.glob("thresholds/guidance_threshold_*.png"))) == 4
