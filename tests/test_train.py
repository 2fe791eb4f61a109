"""The training program as its user meets it: results, dry runs and refusals."""

import collections
import contextlib
import io
import json
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import types

import h5py
import jax
import ml_collections
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

import samg_jax
from samg_jax import train
from samg_jax.data import d4rl, downloads
from samg_jax.experiment import command_line, config_checks, datasets, resolve
from samg_jax.runs import dry_run, evaluation, lifecycle, saved_configs
from samg_jax.training import offline_phase, online_phase
from tests.fixtures import small_experiments, small_runs

ROOT = pathlib.Path(samg_jax.__file__).parents[1]
COLUMNS = (
    "phase,seed,offline_step,env_step,return_mean,return_std,normalized_score,"
    "episode_length,failed"
)


def program(*arguments):
    """Runs `python -m samg_jax.train`; returns the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "samg_jax.train", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


def main(config, workdir=None, dry_run=False):
    """Calls the program's main with a config and a workdir, in this process."""
    values = {
        "CONFIG": config,
        "WORKDIR": workdir and str(workdir),
        "SWEEP": [],
        "DRY_RUN": dry_run,
        "TRUST": False,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            given = types.SimpleNamespace(value=value, given={})
            patch.setattr(train, name, given)
        train.main(["train"])


# Complete runs.


# The others are run, without the program, by the tests of training.
@pytest.fixture(scope="module", params=["awac_samg", "cql"])
def finished(request, dataset, tmp_path_factory):
    """A complete run of each experiment: its name, folder and terminal output."""
    name, workdir = request.param, tmp_path_factory.mktemp(request.param) / "run"
    errors = workdir.with_name("errors.txt")
    shown = {"logging.progress": True}
    if name == "awac_samg":
        flags = small_experiments.flags(name, dataset, **shown)
        process = program(*flags, f"--workdir={workdir}")
        assert process.returncode == 0, process.stderr
        errors.write_text(process.stderr)
        return name, workdir, process.stdout
    output = io.StringIO()
    with (
        contextlib.redirect_stdout(output),
        errors.open("w") as file,
        contextlib.redirect_stderr(file),
    ):
        main(small_experiments.config(name, dataset, shown), workdir)
    return name, workdir, output.getvalue()


def test_scores_have_one_row_per_seed_and_evaluation(finished):
    _, workdir, _ = finished
    assert (workdir / "metrics.csv").read_text().splitlines()[0] == COLUMNS
    rows = small_runs.evaluations(workdir)
    places = [(row.phase, row.offline_step, row.env_step, row.seed) for row in rows]
    assert places == [
        (*place, seed)
        for place in [
            ("offline", 40, 0),
            ("offline", 60, 0),
            ("online", 60, 0),
            ("online", 60, 40),
            ("online", 60, 60),
        ]
        for seed in (0, 1)
    ]
    for row in rows:
        score = 100 * (row.return_mean + 20.272305) / (3234.3 + 20.272305)
        assert row.normalized_score == pytest.approx(score)
        assert 1 <= row.episode_length <= 1000
        assert row.failed == 0


def test_fine_tuning_begins_with_the_pretrained_policy(finished):
    _, workdir, _ = finished
    rows = small_runs.evaluations(workdir)
    before, after = rows[2:4], rows[4:6]
    assert [row._replace(phase="online") for row in before] == after


def test_config_of_the_run_is_written_down_resolved(finished, dataset):
    name, workdir, _ = finished
    saved = json.loads((workdir / "config.json").read_text())
    expected = small_experiments.config(name, dataset, {"logging.progress": True})
    expected.env_id, expected.physics = "Hopper-v4", "d4rl"
    expected.dataset.name = dataset.stem  # The data are the file's.
    if name.endswith("_samg"):
        # The preset `paper`, and for hoppers.
        expected.guidance.update(kind="tail", fit="per_dimension", use_std=False)
        expected.guidance.cvae.update(
            beta=0.5,
            decoder_layers=1,
            reconstruct="next_state",
            scale_targets=False,
            action_weight=1.0,
            decoder_input="latent",
        )
    assert saved == json.loads(json.dumps(expected.to_dict()))


def test_tensorboard_events_hold_the_same_scores(finished):
    _, workdir, _ = finished
    (path,) = (workdir / "tensorboard").iterdir()
    scalars = collections.defaultdict(list)
    for event in read_events(path):
        for value in event.summary.value:
            scalars[value.tag].append((event.step, value.simple_value))
    for row in small_runs.evaluations(workdir):
        tag = f"{row.phase}/normalized_score/seed_{row.seed}"
        step = row.offline_step + row.env_step
        assert (step, pytest.approx(row.normalized_score, rel=1e-5)) in scalars[tag]
    assert "offline/critic_loss/seed_1" in scalars
    assert "online/critic_loss/seed_1" in scalars


def read_events(path):
    """Yields the events of a file: records of length, check sum, data, check sum."""
    data, place = path.read_bytes(), 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        yield event_pb2.Event.FromString(data[place + 12 : place + 12 + length])
        place += 12 + length + 4


def test_learning_curve_is_a_picture(finished):
    _, workdir, output = finished
    data = (workdir / "curve.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert (width, height) == (1500, 540)
    assert len(data) > 10_000
    assert f"learning curves: {workdir / 'curve.png'}" in output


def test_guidance_is_drawn_where_there_is_one(finished):
    name, workdir, output = finished
    path = workdir / "guidance.png"
    assert path.exists() == name.endswith("_samg")
    assert (f"guidance over time: {path}" in output) == name.endswith("_samg")


def test_closing_table_agrees_with_the_scores(finished):
    _, workdir, output = finished
    rows = [row for row in small_runs.evaluations(workdir) if row.phase == "online"]
    changes = []
    for seed in (0, 1):
        own = [row.normalized_score for row in rows if row.seed == seed]
        printed = re.search(rf"^seed {seed} +(.+)$", output, re.MULTILINE)[1].split()
        changes.append(own[-1] - own[0])
        assert printed == [f"{own[0]:.1f}", f"{own[-1]:.1f}", f"{changes[-1]:+.1f}"]
    mean = re.search(r"^mean +(.+)$", output, re.MULTILINE)[1].split()
    assert float(mean[-1]) == pytest.approx(np.mean(changes), abs=0.051)
    assert "95 % interval" in output


def test_log_tells_where_data_came_from_and_every_score(finished):
    _, workdir, _ = finished
    log = (workdir / "log.txt").read_text()
    assert "400 rows" in log
    assert len(re.findall(r"INFO offline \(\d+, 0\): ", log)) == 2
    assert len(re.findall(r"INFO online \(60, \d+\): ", log)) == 3
    # The small settings have an embedding network's, which this weight does not read.
    warned = [line for line in log.splitlines() if "WARNING" in line]
    assert all("not read by this run" in line for line in warned)
    assert "ERROR" not in log


def test_log_tells_the_health_of_every_cvae(finished):
    name, workdir, _ = finished
    log = (workdir / "log.txt").read_text()
    lines = re.findall(r"C-VAE of seed (\d) on held-out data: KL [\d.]+ ", log)
    assert lines == (["0", "1"] if name.endswith("_samg") else [])


def test_guidance_starts_at_zero_and_then_acts(finished):
    name, workdir, _ = finished
    terms = small_runs.training(workdir, "guidance_term")
    if not name.endswith("_samg"):
        assert not terms
        return
    assert sorted({step for _, _, step in terms}) == [20, 25, 40, 60]
    for (_, _, step), term in terms.items():
        # At the end of the warm-up both critics are still the same.
        assert (term < 1e-6) == (step <= 25)
    active = small_runs.training(workdir, "weight_active")
    assert all(0 <= share <= 1 for share in active.values())
    # Nothing was learned during the warm-up, and everything was after it.
    losses = small_runs.training(workdir, "critic_loss")
    assert sorted({step for _, _, step in losses}) == [40, 60]


def test_checkpoints_of_both_phases_are_there(finished):
    name, workdir, _ = finished
    steps = {
        phase: max(int(p.name) for p in (workdir / phase).iterdir())
        for phase in ("offline", "online")
    }
    fitted = 40 if name.endswith("_samg") else 0
    assert steps == {"offline": 60 + fitted + 1, "online": 60}


def test_complete_run_of_the_same_command_changes_nothing(finished, dataset, capsys):
    name, workdir, output = finished
    before = small_runs.tables(workdir)
    config = small_experiments.config(name, dataset)
    main(config, workdir)
    assert small_runs.tables(workdir) == before
    table = output[output.index("normalized score") :]
    assert capsys.readouterr().out.endswith(table)


def test_a_run_on_a_file_records_the_file_and_resumes_from_before(
    finished, dataset, tmp_path, capsys
):
    _, workdir, output = finished
    saved = json.loads((workdir / "config.json").read_text())
    assert saved["dataset"]["name"] == dataset.stem
    for text in (output, (workdir / "log.txt").read_text()):
        assert "hopper-demo" not in text
        assert "devices: 1 CPU (" in text
    saved["logging"]["progress"] = False
    command = ml_collections.ConfigDict(config_checks.completed(saved))
    # Earlier versions recorded the name of the config's default dataset.
    saved["dataset"]["name"] = "hopper-demo"
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    (copy / "config.json").write_text(json.dumps(saved))
    main(command, copy)
    table = output[output.index("normalized score") :].split("learning curves")[0]
    assert table.split("guidance over time")[0] in capsys.readouterr().out
    # Without a file the name is what the run learns from.
    saved["dataset"]["path"] = command.dataset.path = None
    found = saved_configs.differences(saved, command.to_dict())
    assert found == [f"dataset.name: 'hopper-demo' before, {dataset.stem!r} now"]


def test_collapsed_cvae_warns_loudly_with_remedies(dataset, tmp_path, capsys):
    overrides = {
        "offline.updates": 0,
        "guidance.cvae.steps": 200,
        "guidance.cvae.beta": 1e6,
        "guidance.cvae.learning_rate": 1e-2,
        "online.steps": 0,
    }
    lifecycle.run(small_experiments.config("awac_samg", dataset, overrides), tmp_path)
    for text in (capsys.readouterr().out, (tmp_path / "log.txt").read_text()):
        assert text.count("The C-VAE has collapsed") == 2
        for part in ("!" * 72, "Seed 1:", "Try in this order:", "kl_warmup_steps"):
            assert part in text
        assert "--config.guidance.cvae.beta=200000" in text
    assert "WARNING" in (tmp_path / "log.txt").read_text()


def test_progress_bars_show_rates_and_scores(finished):
    _, workdir, _ = finished
    errors = workdir.with_name("errors.txt").read_text()
    for bar, unit in (("offline: ", "update/s"), ("online: ", "step/s")):
        shown = errors[errors.index(bar) :]
        assert unit in shown
        assert "score " in shown
        assert "100%" in shown


# Dry runs.


def test_dry_run_prints_the_plan_and_writes_nothing(dataset, tmp_path, capsys):
    fields = {"online.updates_per_step": 3}
    config = small_experiments.config("cql_samg", dataset, fields)
    main(config, tmp_path / "new", dry_run=True)
    output = capsys.readouterr().out
    config, end = json.JSONDecoder().raw_decode(output)
    assert config["online"]["updates_per_step"] == 3
    assert (config["env_id"], config["physics"]) == ("Hopper-v4", "d4rl")
    assert config["dataset"]["name"] == dataset.stem
    assert "hopper-demo" not in output
    assert "devices: 1 CPU (" in output
    for line in (
        f"workdir: {tmp_path / 'new'}",
        "seeds: 0, 1 in one process",
        "environment: Hopper-v4, physics d4rl",
        "offline: 60 updates per seed",
        "C-VAE: 40 updates per seed",
        "online: 60 environment steps per seed, of them 25 warm-up",
        "online: 105 updates per seed, UTD 3",
        f"dataset: about 400 transitions ({dataset})",
    ):
        assert line in output[end:].splitlines()
    assert re.search(r"^device memory: about \d+ MB", output, re.MULTILINE)
    assert re.search(r"^host memory: about [\d,]+ MB", output, re.MULTILINE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", small_experiments.CONFIGS)
def test_memory_estimate_is_the_bytes_of_data_and_states(name, dataset):
    config = small_experiments.config(
        name, dataset, {"online.buffer_size": 50, "num_seeds": 3}
    )
    experiment = resolve.experiment(config)
    data, preprocessing, _ = datasets.load(experiment)
    pretrained = jax.eval_shape(lambda: offline_phase.init(experiment, preprocessing))
    first = jax.ShapeDtypeStruct((3, 11), np.float32)
    both = (
        pretrained,
        jax.eval_shape(
            lambda state, first: online_phase.init(
                experiment, config.online, state, first
            ),
            pretrained,
            first,
        ),
    )
    rows = len(data.rewards)
    expected = sum(
        leaf.size * np.dtype(leaf.dtype).itemsize
        for leaf in jax.tree.leaves((data, both))
    )
    device, host = dry_run.memory(experiment, rows)
    assert device == pytest.approx(expected, rel=1e-3)
    assert host > device
    # Every row of the buffer counts: state, action, next state and four numbers.
    config.online.buffer_size = 60
    larger, _ = dry_run.memory(resolve.experiment(config), rows)
    assert larger - device == 3 * 10 * 4 * (2 * 11 + 3 + 4)


def test_memory_estimate_counts_real_arrays(dataset):
    config = small_experiments.config("awac", dataset)
    experiment = resolve.experiment(config)
    data, preprocessing, _ = datasets.load(experiment)
    pretrained = offline_phase.init(experiment, preprocessing)
    state = online_phase.init(
        experiment, config.online, pretrained, np.zeros((2, 11), "f4")
    )
    arrays = jax.tree.leaves((jax.device_put(data), pretrained, state))
    device, _ = dry_run.memory(experiment, len(data.rewards))
    assert device == pytest.approx(sum(leaf.nbytes for leaf in arrays), rel=1e-3)


def test_dry_run_does_not_download(monkeypatch, tmp_path):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    monkeypatch.setattr(downloads, "fetch", lambda *_: pytest.fail("downloads"))
    config = small_experiments.CONFIGS["cql_samg"]("halfcheetah-medium")
    plan = dry_run.describe(config, tmp_path / "new")
    assert "dataset: about 1,000,000 transitions" in plan
    assert "not on disk" in plan
    assert not list(tmp_path.iterdir())


def test_dry_run_of_a_fork_counts_what_is_left(dataset, tmp_path):
    unused = {"online.steps": 0, "offline.updates": 20}
    lifecycle.run(small_experiments.config("awac", dataset, unused), tmp_path / "run")
    forked = {"offline.restore": str(tmp_path / "run")}
    plan = dry_run.describe(small_experiments.config("awac", dataset, forked), tmp_path)
    assert "offline: 0 updates per seed, forked from" in plan
    assert f"({dataset})" in plan
    forked["online.data"] = "buffer"
    plan = dry_run.describe(small_experiments.config("awac", dataset, forked), tmp_path)
    assert "dataset: about 0 transitions (not opened" in plan
    # The run has no C-VAE, so it is trained before fine-tuning, on the data.
    plan = dry_run.describe(
        small_experiments.config("awac_samg", dataset, forked), tmp_path
    )
    assert "C-VAE: 40 updates per seed" in plan
    assert f"({dataset})" in plan


# Refusals: each before compute is spent.


@pytest.fixture
def no_compute(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("compute is spent")

    monkeypatch.setattr(offline_phase, "init", fail)
    monkeypatch.setattr(offline_phase, "make_updates", fail)
    monkeypatch.setattr(evaluation, "make_evaluator", fail)


@pytest.fixture
def refused(no_compute, dataset, tmp_path, capsys):
    """Returns the message with which a run ends; no traceback, no result."""

    def refused(name="awac", workdir=None, **overrides):
        fields = {key.replace("__", "."): value for key, value in overrides.items()}
        config = small_experiments.config(name, dataset, fields)
        with pytest.raises(SystemExit) as info:
            main(config, workdir or tmp_path / "run")
        assert isinstance(info.value.code, str)  # Printed; the exit code is then 1.
        assert info.value.code.startswith("error: ")
        assert not (tmp_path / "run" / "metrics.csv").exists()
        assert not (tmp_path / "run" / "config.json").exists()
        assert "Traceback" not in capsys.readouterr().err
        return info.value.code

    return refused


def rewrite(dataset, path, **changes):
    """Writes the dataset with some arrays replaced, or left out with None."""
    with h5py.File(dataset) as old, h5py.File(path, "w") as new:
        for key in old:
            value = changes.get(key, old[key][()])
            if value is not None:
                new[key] = value
    return str(path)


def test_truncated_file_is_refused_by_the_program(dataset, tmp_path):
    path = tmp_path / "cut.hdf5"
    path.write_bytes(dataset.read_bytes()[:5_000])
    flags = small_experiments.flags("awac", path)
    process = program(*flags, f"--workdir={tmp_path / 'run'}")
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    error = process.stderr[process.stderr.index("error: ") :]
    for text in (str(path), "cannot be read as HDF5", "truncated", "keep this one"):
        assert text in error


def test_file_that_is_no_hdf5_is_refused(refused, tmp_path):
    path = tmp_path / "text.hdf5"
    path.write_text("no data")
    message = refused(dataset__path=str(path))
    for text in (str(path), "cannot be read as HDF5", "fetch or collect it again"):
        assert text in message


def test_missing_file_is_refused(refused, tmp_path):
    message = refused(dataset__path=str(tmp_path / "none.hdf5"))
    assert f"No dataset file at '{tmp_path / 'none.hdf5'}'" in message
    assert "Check the path" in message


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        ({"terminals": None}, ["no array 'terminals'", "Required are", "Write the"]),
        (
            {"rewards": np.zeros(399)},
            ["different numbers of rows", "'rewards': 399", "all must agree"],
        ),
        (
            {"observations": np.zeros(400)},
            ["'observations'", "shape (400,)", "allowed is [T, size]"],
        ),
        (
            {
                "observations": np.where(
                    np.arange(400)[:, None] == 7, np.nan, [[0.0] * 11]
                )
            },
            ["'observations'", "1 rows with NaN", "first row 7", "must be finite"],
        ),
        (
            {"actions": np.full((400, 3), 1.5)},
            ["'actions'", "leave [-1, 1] in 400 rows", "1.5", "Rescale"],
        ),
    ],
    ids=["missing key", "lengths", "rank", "NaN", "action bounds"],
)
def test_unusable_arrays_are_refused(refused, dataset, tmp_path, changes, texts):
    path = rewrite(dataset, tmp_path / "bad.hdf5", **changes)
    message = refused(dataset__path=path)
    for text in [path, *texts]:
        assert text in message


def test_environment_of_other_dimensions_is_refused(refused, dataset, tmp_path):
    message = refused(env_id="Walker2d-v4")
    for text in (str(dataset), "size 11", "size 3", "Walker2d-v4 has 17 and 6"):
        assert text in message
    assert "config.env_id=" in message
    config = small_experiments.config("awac", dataset, {"env_id": "Walker2d-v4"})
    with pytest.raises(SystemExit, match="Walker2d-v4 has 17 and 6"):
        main(config, dry_run=True)


@pytest.mark.parametrize(
    ("name", "overrides", "texts"),
    [
        ("awac", {"agent.discount": 1.5}, ["discount is 1.5", "between 0 and 1"]),
        ("cql", {"agent.discount": 0.0}, ["discount is 0.0", "both excluded"]),
        ("cql", {"agent.discount": np.nan}, ["discount is nan"]),
        ("cql", {"agent.cql_weight": np.inf}, ["cql_weight is inf", "finite"]),
        ("cql", {"agent.cql_weight": -1.0}, ["cql_weight is -1.0", "of at least 0"]),
        ("awac", {"agent.tau": 2.0}, ["tau is 2.0", "between 0 and 1"]),
        ("awac", {"agent.learning_rate": 0.0}, ["learning_rate is 0.0"]),
        ("awac", {"agent.hidden_dims": (16, 0)}, ["hidden_dims", "width 1 or more"]),
        ("awac", {"agent.hidden_dims": ("a",)}, ["hidden_dims", "width 1 or more"]),
        ("cql", {"agent.initialization": "best"}, ["'best'", "finetune, offline"]),
        (
            "awac_samg",
            {"guidance.threshold": 2.0},
            ["threshold is 2.0", "between 0 and 1"],
        ),
        (
            "awac_samg",
            {"guidance.strength": -0.1},
            ["strength is -0.1", "between 0 and 1"],
        ),
        ("awac_samg", {"guidance.kind": "tial"}, ["Did you mean 'tail'"]),
        ("awac_samg", {"guidance.cvae.steps": 12}, ["trains for 12 steps", "15"]),
        ("awac_samg", {"online.data": "append"}, ["online data only", "=buffer"]),
        ("awac", {"num_seeds": 0}, ["num_seeds is 0", "at least 1", "config."]),
        ("awac", {"seed": -1}, ["seed is -1", "at least 0"]),
        ("awac", {"seed": 2**32 - 1}, ["seed is 4294967295", "below 2**32"]),
        ("awac", {"offline.batch_size": 0}, ["offline.batch_size is 0"]),
        ("awac", {"online.data": "bufer"}, ["'bufer'", "append, buffer, mix"]),
        ("awac", {"online.offline_share": 1.0}, ["offline_share is 1.0"]),
        ("awac", {"online.warmup_steps": 60}, ["no update would be made", "Raise"]),
        ("awac", {"dataset.reward_transform": "rang"}, ["'rang'", "range"]),
        ("awac", {"algorithm": "cql"}, ["no hyperparameters", "configs/cql.py"]),
        ("awac", {"algorithm": "awc"}, ["Did you mean 'awac'"]),
        ("awac", {"env_id": "Hoper-v4"}, ["Unknown environment", "'Hopper-v"]),
        ("awac", {"env_id": "CartPole-v1"}, ["only Box spaces"]),
        ("awac", {"env_id": None}, ["env_id is empty", "config.env_id=Hopper-v4"]),
        ("awac", {"physics": "d4lr"}, ["'d4lr'", "d4rl, stock"]),
    ],
)
def test_impossible_value_is_refused(refused, name, overrides, texts):
    fields = {key.replace(".", "__"): value for key, value in overrides.items()}
    message = refused(name, **fields)
    for text in texts:
        assert text in message


def test_workdir_that_cannot_be_written_is_refused(refused, tmp_path):
    file = tmp_path / "file"
    file.touch()
    message = refused(workdir=file / "run")
    for text in (f"Cannot write into '{file / 'run'}'", "Set another", "workdir="):
        assert text in message
    assert "Cannot write into" in refused(workdir=file)


@pytest.mark.parametrize("folder", ["empty", "none"])
def test_folder_without_checkpoint_is_refused(refused, dataset, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    path = tmp_path / folder
    message = refused(offline__restore=str(path))
    for text in (f"no offline checkpoint in '{path}'", "must be", "offline.restore"):
        assert text in message
    config = small_experiments.config("awac", dataset, {"offline.restore": str(path)})
    with pytest.raises(SystemExit, match="no offline checkpoint"):
        main(config, dry_run=True)


def test_refused_run_can_be_corrected_in_the_same_workdir(refused, dataset, tmp_path):
    refused(dataset__path=str(tmp_path / "typo.hdf5"))
    config = small_experiments.config("awac", dataset)
    lifecycle.check_same_config(config, tmp_path / "run")


def test_failed_download_says_what_to_do(no_compute, monkeypatch, tmp_path):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    config = small_experiments.CONFIGS["awac"]("hopper-medium")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # Nobody listens, so connections are refused.
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        monkeypatch.setattr(d4rl, "BASE_URL", url)
        with pytest.raises(SystemExit) as info:
            main(config, tmp_path / "run")
    for text in (
        "Could not download hopper_medium-v2.hdf5",
        f"expected at {tmp_path / 'cache' / 'hopper_medium-v2.hdf5'}",
        "curl --location",
        f"{url}gym_mujoco_v2/hopper_medium-v2.hdf5",
        "python -m samg_jax.collect --env=Hopper-v4",
        "--config.dataset.path=FILE --config.env_id=Hopper-v4",
    ):
        assert text in info.value.code
    assert not (tmp_path / "cache" / "hopper_medium-v2.hdf5").exists()


# Flags.


def test_misspelled_field_is_refused_by_the_program(tmp_path):
    process = program(
        "--config=configs/awac.py:hopper-demo",
        "--config.agnt.tau=0.1",
        f"--workdir={tmp_path / 'run'}",
    )
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    error = process.stderr[process.stderr.index("error: ") :]
    assert error.startswith("error: Unknown field --config.agnt.tau. ")
    assert "Did you mean --config.agent.tau?" in error
    assert "config has the fields agent, algorithm" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (
            ["--config=configs/awac.py:hoper-medium"],
            ["'hoper-medium'", "Did you mean 'hopper-medium'?", "Known datasets"],
        ),
        (
            ["--config", "configs/cql_samg.py:halfcheetah-mediun-v2"],
            ["Did you mean 'halfcheetah-medium'?"],
        ),
        (
            ["--config=configs/awak.py:hopper-medium"],
            ["no config file 'configs/awak.py'", "Did you mean 'configs/awac.py'?"],
        ),
        (
            ["--config=configs/cql.py", "--config.online.step=3"],
            ["--config.online.step.", "--config.online.steps?", "warmup_steps"],
        ),
        (
            ["--config=configs/cql.py", "--noconfig.loging.progress"],
            ["Did you mean --config.logging.progress?"],
        ),
        (
            ["--config=configs/cql.py", "--config.agent.tau.x=1"],
            ["config.agent.tau is a single value"],
        ),
        (
            ["--config=configs/cql.py", "--config.guidance.strength=0"],
            ["config.guidance has the fields weight"],
        ),
    ],
)
def test_flags_with_unknown_names_are_refused(monkeypatch, arguments, texts):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as info:
        command_line.parse(["train", *arguments], train.CONFIG)
    for text in ["error: ", *texts]:
        assert text in info.value.code


@pytest.mark.parametrize("name", small_experiments.CONFIGS)
def test_flags_with_known_names_pass(monkeypatch, dataset, name):
    monkeypatch.chdir(ROOT)
    command_line.check(["train", *small_experiments.flags(name, dataset), "--dry_run"])
    command_line.check(["train", "--help"])


# What is the user's to mend, and what is not.


def test_failure_of_our_own_is_not_told_as_a_mistake(dataset, tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("shapes do not match")

    monkeypatch.setattr(offline_phase, "make_updates", broken)
    with pytest.raises(ValueError, match="shapes do not match"):
        main(small_experiments.config("awac", dataset), tmp_path)
    log = (tmp_path / "log.txt").read_text()
    assert "Traceback" in log
    assert "shapes do not match" in log


def test_unreadable_checkpoint_is_named(refused, tmp_path):
    source = tmp_path / "source"
    (source / "offline" / "60").mkdir(parents=True)
    message = refused(offline__restore=str(source))
    assert f"No checkpoint in '{source / 'offline'}' can be read" in message
    assert str(source / "offline" / "60") in message


def test_cvae_without_its_settings_is_refused(refused):
    message = refused(guidance__weight="cvae", online__data="buffer")
    assert "configs/awac_samg.py" in message


def test_fork_that_does_nothing_is_refused(refused, tmp_path):
    message = refused(offline__restore=str(tmp_path), online__steps=0)
    assert "there is nothing to do" in message


def test_dry_run_refuses_what_the_run_would(dataset, tmp_path):
    config = small_experiments.config("awac", dataset)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ValueError, match="Cannot write into"):
        dry_run.describe(config, blocked / "run")
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"seed": 7}))
    with pytest.raises(ValueError, match="a run of another config"):
        dry_run.describe(config, other)


def test_file_of_ones_own_has_the_cvae_of_its_robot(tmp_path):
    path = small_experiments.write_dataset(
        tmp_path / "own.hdf5", env_id="HalfCheetah-v4"
    )
    config = small_experiments.CONFIGS["awac_samg"]()
    config.dataset.path, config.env_id = str(path), "HalfCheetah-v4"
    cvae = resolve.experiment(config).guidance.cvae
    assert (cvae.decoder_layers, cvae.kl_warmup_steps) == (2, 0)
    hopper = small_experiments.CONFIGS["awac_samg"]("hopper-medium")
    hopper.guidance.cvae.kl_warmup_steps = 7  # Given, so kept.
    cvae = resolve.experiment(hopper).guidance.cvae
    assert (cvae.decoder_layers, cvae.kl_warmup_start, cvae.kl_warmup_steps) == (
        1,
        10_000,
        7,
    )


def test_program_runs_from_any_folder(tmp_path):
    config = ROOT / "configs" / "awac_samg.py"
    process = subprocess.run(
        [
            *(sys.executable, "-m", "samg_jax.train"),
            *(f"--config={config}:hopper-demo", "--dry_run"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "environment: Hopper-v4" in process.stdout


@pytest.mark.parametrize(
    ("name", "changes", "folder"),
    [
        ("awac_samg", {"num_seeds": 8}, "runs/awac_samg/hopper-demo/seed0-7"),
        ("cql", {"seed": 3}, "runs/cql_vanilla/hopper-demo/seed3"),
        (
            "awac_samg",
            {"guidance.weight": "none", "dataset.path": "my/own.hdf5"},
            "runs/awac_no_data/own/seed0",
        ),
    ],
)
def test_default_workdir_names_the_experiment(name, changes, folder):
    config = small_experiments.CONFIGS[name]()
    config.update_from_flattened_dict(changes)
    assert lifecycle.default_workdir(config.to_dict()) == folder
