"""Whatever in a workdir was damaged, edited or brought from elsewhere is named."""

import json
import pathlib
import re
import shutil

import h5py
import numpy as np
import pytest

from samg_jax import checks, logs
from samg_jax.data import d4rl, fingerprints
from samg_jax.diagnosis import candidates
from samg_jax.results import workdirs
from samg_jax.runs import (
    dry_run,
    evaluation,
    lifecycle,
    locations,
    saved_configs,
    saved_policies,
)
from samg_jax.training import offline_phase
from tests.fixtures import small_runs


@pytest.fixture(scope="module")
def seed_0(dataset, tmp_path_factory):
    """A finished vanilla run of one seed, which keeps the offline data."""
    folder = tmp_path_factory.mktemp("seed_0") / "run"
    return small_runs.run("awac", dataset, folder, num_seeds=1)


@pytest.fixture
def workdir(seed_0, tmp_path):
    return pathlib.Path(shutil.copytree(seed_0, tmp_path / "run"))


@pytest.fixture
def no_compute(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("compute is spent")

    monkeypatch.setattr(offline_phase, "make_updates", fail)
    monkeypatch.setattr(evaluation, "make_evaluator", fail)


@pytest.fixture
def refused(no_compute, dataset):
    """Returns the message with which a resume is refused; nothing is changed."""

    def refused(workdir, **overrides):
        def files():
            return {
                path: path.is_file() and path.read_bytes()
                for path in workdir.rglob("*")
                if path.name not in (".lock", "log.txt")
            }

        before = files() if workdir.is_dir() else None
        with pytest.raises(checks.UserError) as error:
            small_runs.run("awac", dataset, workdir, **{"num_seeds": 1, **overrides})
        assert before is None or files() == before
        assert "delete" not in str(error.value)
        return str(error.value)

    return refused


# The config of the workdir.


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is missing"),
        ("", "is empty"),
        ("\0" * 50, "is empty"),
        ("null", "is not the config of a run"),
        ("[1]", "is not the config of a run"),
        ('{"algorithm": "awac"', "is not JSON"),
        ('{"seed": 0}', "is not the config of a run: 'algorithm' is missing"),
        ("\udcff", "is not JSON"),
    ],
)
def test_a_config_that_is_gone_is_named_with_its_copy(
    content, said, workdir, refused, dataset, seed_0
):
    path = workdir / "config.json"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    message = refused(workdir)
    assert f"{path} {said}" in message
    copy = workdir / "online" / "60" / "config_copy.json"
    assert message.endswith(f"cp {copy} {path}")
    assert copy.read_bytes() == (seed_0 / "config.json").read_bytes()


def test_the_copy_of_the_config_is_the_way_out(workdir, dataset, seed_0):
    path = workdir / "config.json"
    path.unlink()
    shutil.copy(workdir / "online" / "60" / "config_copy.json", path)
    small_runs.run("awac", dataset, workdir, num_seeds=1)
    assert small_runs.tables(workdir) == small_runs.tables(seed_0)


@pytest.mark.parametrize("phase", ["online", "offline"])
@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("seed", 3, "seed: 0 before, 3 now"),
        ("online.steps", 80, "online.steps: 60 before, 80 now"),
        ("agent.discount", 0.5, "agent.discount: 0.99 before, 0.5 now"),
    ],
)
def test_an_edited_config_does_not_continue_other_arrays(
    field, value, said, phase, workdir, refused
):
    if phase == "offline":
        shutil.rmtree(workdir / "online")
    path = workdir / "config.json"
    config = json.loads(path.read_text())
    *groups, name = field.split(".")
    inner = config
    for group in groups:
        inner = inner[group]
    inner[name] = value
    path.write_text(json.dumps(config))
    message = refused(workdir, **{field.replace(".", "__"): value})
    assert said in message
    assert str(workdir / phase) in message


@pytest.mark.parametrize("phase", ["online", "offline"])
@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("agent.discount", 0.9, "agent.discount: 0.99 before, 0.9 now"),
        ("online.batch_size", 8, "online.batch_size: 16 before, 8 now"),
        ("num_seeds", 2, "num_seeds: 1 before, 2 now"),
    ],
)
def test_an_edited_config_is_told_with_the_copy_that_is_intact(
    field, value, said, phase, workdir, refused, dataset, seed_0
):
    if phase == "offline":
        shutil.rmtree(workdir / "online")
    path = workdir / "config.json"
    config = json.loads(path.read_text())
    group, _, name = field.rpartition(".")
    (config[group] if group else config)[name] = value
    path.write_text(json.dumps(config))
    step = workdir / phase / str(locations.steps(workdir / phase)[-1])
    command = f"cp {step / 'config_copy.json'} {path}"
    message = refused(workdir)
    assert f"{path} was edited" in message
    assert said in message
    assert message.endswith(command)
    if field != "num_seeds":  # Nor does giving the edited value help.
        assert command in refused(workdir, **{field.replace(".", "__"): value})
    shutil.copy(*command.split()[1:])
    given = small_runs.config("awac", dataset, num_seeds=1)
    saved_configs.check_same_config(given.to_dict(), workdir, complete=False)


def test_a_phase_of_another_run_is_refused_also_if_its_config_says_nothing(
    workdir, dataset, tmp_path, monkeypatch
):
    """Seed 3 does not go on with seed 0's arrays that an earlier version saved."""
    other = tmp_path / "other"
    with monkeypatch.context() as patch:
        small_runs.stop_at(patch, "offline", 3)
        with pytest.raises(small_runs.Stopped):
            small_runs.run("awac", dataset, other, num_seeds=1, seed=3)
    shutil.copytree(workdir / "online", other / "online")
    for name in ("metrics.csv", "training.csv"):
        shutil.copy(workdir / name, other / name)
    with pytest.raises(checks.UserError, match="seed: 0 before, 3 now"):
        small_runs.run("awac", dataset, other, num_seeds=1, seed=3)
    (step,) = [path for path in (other / "online").iterdir() if path.name == "60"]
    (step / "files.json").unlink()
    meta = json.loads((step / saved_configs.META).read_text())
    del meta["config"], meta["seeds"]
    (step / saved_configs.META).write_text(json.dumps(meta))
    with pytest.raises(checks.UserError, match=r"the seeds \[0\]; this run has \[3\]"):
        small_runs.run("awac", dataset, other, num_seeds=1, seed=3)


def test_evaluation_refuses_the_config_of_another_run_beside_a_checkpoint(workdir):
    path = workdir / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": 3}))
    with pytest.raises(checks.UserError, match="seed: 0 before, 3 now"):
        saved_policies.find(str(workdir))
    path.write_text("{}")
    with pytest.raises(checks.UserError, match="'algorithm' is missing"):
        saved_policies.find(str(workdir / "online"))


# The dataset.


def test_the_fingerprint_tells_any_change_of_the_rows():
    def raw(**changes):
        arrays = {
            "observations": np.zeros((4, 2), np.float32),
            "actions": np.zeros((4, 1), np.float32),
            "rewards": np.zeros(4, np.float32),
            "terminals": np.zeros(4, bool),
            "timeouts": None,
        }
        return d4rl.Raw(**{**arrays, **changes}, attributes={})

    one = np.zeros((4, 2), np.float32)
    one[3, 1] = 1e-7
    variants = [
        raw(),
        raw(observations=one),
        raw(observations=np.zeros((2, 4), np.float32)),
        raw(rewards=np.float32([0, 0, 0, -0.0])),
        raw(terminals=np.array([0, 0, 0, 1], bool)),
        raw(timeouts=np.zeros(4, bool)),
    ]
    assert len({fingerprints.fingerprint(item) for item in variants}) == len(variants)
    assert fingerprints.fingerprint(raw()) == fingerprints.fingerprint(raw())


@pytest.fixture
def changed(dataset):
    """Changes one number of the dataset, for the time of a test."""
    content = dataset.read_bytes()
    with h5py.File(dataset, "r+") as file:
        file["rewards"][7] += 1
    yield
    dataset.write_bytes(content)


@pytest.mark.usefixtures("changed")
def test_a_changed_dataset_is_refused_wherever_it_is_opened_again(
    workdir, refused, dataset, tmp_path
):
    said = "has changed: its rows are not those that the checkpoint was trained on"
    # A vanilla run keeps its offline data online.
    message = refused(workdir)
    assert said in message
    assert str(dataset) in message
    # So does a fork; one with a weight fits it to the data.
    assert said in refused(tmp_path / "fork", offline__restore=str(workdir))


@pytest.mark.usefixtures("changed")
def test_an_incomplete_offline_phase_and_a_diagnosis_refuse_changed_data(
    workdir, dataset
):
    read = candidates.read(str(workdir))
    named = read.experiment.settings.dataset
    with pytest.raises(checks.UserError, match="has changed"):
        lifecycle.forks.check_data(named, read.meta, "another")
    lifecycle.forks.check_data(named, read.meta, read.meta["data_fingerprint"])
    lifecycle.forks.check_data(named, {"data_source": ""}, "unknown before")


# Files and folders in each other's place.


@pytest.mark.parametrize("name", locations.FILES)
def test_a_folder_where_a_file_belongs_is_named(name, tmp_path, refused):
    (tmp_path / "run" / name).mkdir(parents=True)
    message = refused(tmp_path / "run")
    assert f"{tmp_path / 'run' / name} is a folder" in message


@pytest.mark.parametrize("name", locations.FOLDERS)
def test_a_file_where_a_folder_belongs_is_named(name, tmp_path, refused):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).write_text("mine")
    assert f"{tmp_path / 'run' / name} is a file" in refused(tmp_path / "run")


def test_a_workdir_that_is_a_file_and_a_link_to_nowhere_are_named(tmp_path, refused):
    (tmp_path / "file").write_text("mine")
    assert str(tmp_path / "file") in refused(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "offline").symlink_to(tmp_path / "unmounted")
    assert "which does not exist" in refused(tmp_path / "run")


# What is given to restore from.


@pytest.mark.parametrize("part", ["online", "online/60", "offline/60", "offline/61"])
def test_a_part_of_a_run_given_to_restore_names_the_run(part, seed_0, refused):
    if not (seed_0 / part).exists():
        part = f"offline/{locations.steps(seed_0 / 'offline')[-1]}"
    message = refused(seed_0.parent / "new", offline__restore=str(seed_0 / part))
    assert f"config.offline.restore={seed_0}." in message
    with pytest.raises(checks.UserError, match=f"Set checkpoint={seed_0}"):
        candidates.read(str(seed_0 / part))


def test_what_has_no_offline_phase_says_what_it_is(seed_0, tmp_path, refused):
    fork = tmp_path / "fork"
    shutil.copytree(seed_0 / "online", fork / "online")
    (tmp_path / "file").touch()
    for path, said in [
        (fork, "only online ones"),
        (fork / "online", "only online ones"),
        (tmp_path / "file", "which is a file"),
        (tmp_path / "none", "which does not exist"),
    ]:
        message = refused(tmp_path / "new", offline__restore=str(path))
        assert f"no offline checkpoint in {str(path)!r}, {said}" in message


def test_one_checkpoint_given_to_evaluate_names_its_folder(seed_0):
    with pytest.raises(checks.UserError, match=f"Set checkpoint={seed_0 / 'online'}"):
        saved_policies.find(str(seed_0 / "online" / "60"))


# Damage, met by each program.


def damage(workdir, phase, step):
    path = workdir / phase / str(step) / "state" / "_METADATA"
    path.write_bytes(bytes(path.stat().st_size))


def test_every_reader_falls_back_to_the_checkpoint_before(
    workdir, dataset, caplog, capsys, monkeypatch
):
    monkeypatch.setattr(logs.LOGGER, "propagate", True)
    damage(workdir, "online", 60)
    found = saved_policies.find(str(workdir))
    assert found.steps == (60, 40)
    assert saved_policies.restore(found).alive.all()
    assert f"{workdir / 'online' / '60'} cannot be read" in caplog.text
    last = locations.steps(workdir / "offline")[-1]
    damage(workdir, "offline", last)
    with pytest.raises(checks.UserError, match="stopped before its end"):
        candidates.read(str(workdir))
    with pytest.raises(checks.UserError, match="is not complete"):
        small_runs.run(
            *("awac", dataset, workdir.parent / "fork"),
            num_seeds=1,
            offline__restore=str(workdir),
        )
    said = f"{workdir / 'offline' / str(last)} cannot be read"
    assert said in caplog.text
    assert said in capsys.readouterr().out  # A run has its own log.


@pytest.mark.parametrize("phase", ["offline", "online"])
def test_a_run_goes_on_from_the_checkpoint_before_and_ends_equal(
    phase, workdir, dataset, seed_0
):
    if phase == "offline":
        shutil.rmtree(workdir / "online")
    last = locations.steps(workdir / phase)[-1]
    damage(workdir, phase, last)
    small_runs.run("awac", dataset, workdir, num_seeds=1)
    assert small_runs.tables(workdir) == small_runs.tables(seed_0)
    small_runs.assert_same_arrays(small_runs.saved(workdir), small_runs.saved(seed_0))
    assert (workdir / phase / f"{last}.damaged").is_dir()
    text = (workdir / "log.txt").read_text()
    assert f"WARNING {workdir / phase / str(last)} cannot be read" in text


def test_the_offline_checkpoint_stands_in_for_online_ones_that_cannot_be_read(
    workdir, dataset, seed_0, caplog, monkeypatch
):
    monkeypatch.setattr(logs.LOGGER, "propagate", True)
    shutil.rmtree(workdir / "online" / "40")
    damage(workdir, "online", 60)
    last = workdir / "offline" / str(locations.steps(workdir / "offline")[-1])
    found = saved_policies.find(str(workdir))
    assert (found.phase, found.steps) == ("offline", (60, 0))
    assert saved_policies.restore(found).alive.all()
    assert f"The checkpoint before them is used, {last}." in caplog.text
    with pytest.raises(checks.UserError, match="No checkpoint in"):
        saved_policies.find(str(workdir / "online"))  # It is asked for by name.
    small_runs.run("awac", dataset, workdir, num_seeds=1)
    assert small_runs.tables(workdir) == small_runs.tables(seed_0)
    small_runs.assert_same_arrays(small_runs.saved(workdir), small_runs.saved(seed_0))
    assert (workdir / "online" / "60.damaged").is_dir()
    text = (workdir / "log.txt").read_text()
    assert f"The checkpoint before them is used, {last}." in text
    assert "60.damaged" in text


def test_nothing_readable_is_named_on_resume_fork_evaluation_and_diagnosis(
    workdir, refused
):
    for phase in ("offline", "online"):
        for step in locations.steps(workdir / phase):
            damage(workdir, phase, step)
    fork = {"offline__restore": str(workdir)}
    messages = [refused(workdir), refused(workdir.parent / "fork", **fork)]
    for read in (saved_policies.find, candidates.read):
        with pytest.raises(checks.UserError) as error:
            read(str(workdir))
        messages.append(str(error.value))
    for message in messages:
        assert "state/_METADATA is not as it was written" in message
        assert "Restore them from a copy" in message


@pytest.mark.parametrize("kind", ["one bit", "cut", "longer", "empty", "gone"])
def test_damage_of_an_array_falls_back_once_and_is_then_named(kind, workdir, refused):
    arrays = []
    for step in (60, 40):
        files = (workdir / "online" / str(step) / "state").rglob("*")
        path = max((path for path in files if path.is_file()), key=size)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= kind == "one bit"
        changed = {"cut": content[:-1], "longer": content + b"x", "empty": b""}
        path.write_bytes(changed.get(kind, content))
        if kind == "gone":
            path.unlink()
        arrays.append(path)
        if step == 60:
            assert saved_policies.find(str(workdir)).steps == (60, 40)
    with pytest.raises(checks.UserError) as error:
        saved_policies.find(str(workdir / "online"))
    shutil.rmtree(workdir / "offline")
    for message in (str(error.value), refused(workdir)):
        for path in arrays:
            assert path.name in message
        assert "Restore them from a copy" in message


def size(path):
    return path.stat().st_size


@pytest.mark.parametrize("lost", ["emptied", "gone", "one step moved"])
def test_a_run_whose_checkpoints_are_gone_is_not_trained_anew(
    lost, workdir, dataset, seed_0
):
    for phase in ("offline", "online"):
        if lost == "one step moved":
            (workdir / phase).rename(workdir / f"{phase}.old")
            continue
        shutil.rmtree(workdir / phase)
        if lost == "emptied":
            (workdir / phase).mkdir()
    with pytest.raises(checks.UserError) as error:
        small_runs.run("awac", dataset, workdir, num_seeds=1)
    assert f"The workdir {str(workdir)!r} has no checkpoint" in str(error.value)
    assert "offline update 60 and environment step 60" in str(error.value)
    assert small_runs.tables(workdir) == small_runs.tables(seed_0)
    for name in small_runs.tables(workdir):
        (workdir / name).rename(workdir / f"{name}.old")
    small_runs.run("awac", dataset, workdir, num_seeds=1)
    assert small_runs.tables(workdir) == small_runs.tables(seed_0)


def test_what_was_not_yet_saved_begins_anew_without_a_word(
    workdir, dataset, seed_0, tmp_path
):
    for phase in ("offline", "online"):
        shutil.rmtree(workdir / phase)
    for name, content in small_runs.tables(workdir).items():
        rows = content.decode().splitlines(keepends=True)
        early = [row for row in rows[1:] if row.startswith("offline,0,10,")]
        (workdir / name).write_text("".join([rows[0], *early]) + "offline,0,1")
    small_runs.run("awac", dataset, workdir, num_seeds=1)
    assert small_runs.tables(workdir) == small_runs.tables(seed_0)
    assert not list(workdir.glob("*.found*"))


@pytest.mark.parametrize("lost", ["emptied", "gone"])
def test_a_lost_online_phase_begins_anew_and_the_tables_so_far_are_kept(
    lost, workdir, dataset, seed_0, caplog, monkeypatch
):
    monkeypatch.setattr(logs.LOGGER, "propagate", True)
    shutil.rmtree(workdir / "online")
    if lost == "emptied":
        (workdir / "online").mkdir()
    (workdir / "metrics.csv").open("a").write("online,0,60,60,1,1,1,1,0\n")
    before = small_runs.tables(workdir)
    assert saved_policies.find(str(workdir)).phase == "offline"
    assert "The policy before fine-tuning is read" in caplog.text
    with pytest.raises(checks.UserError, match="though the tables go on to where"):
        workdirs.read_run(workdir)
    small_runs.run("awac", dataset, workdir, num_seeds=1)
    assert small_runs.tables(workdir) == small_runs.tables(seed_0)
    for name, content in before.items():
        assert (workdir / f"{name}.found1").read_bytes() == content
    assert "The online phase restarts" in (workdir / "log.txt").read_text()


@pytest.mark.parametrize("lost", ["damaged", "emptied"])
def test_a_fork_whose_checkpoints_are_lost_forks_again(lost, seed_0, dataset, tmp_path):
    fork = {"num_seeds": 1, "offline__restore": str(seed_0), "online__log_every": 15}
    expected = small_runs.run("awac", dataset, tmp_path / "fork", **fork)
    other = pathlib.Path(shutil.copytree(expected, tmp_path / "other"))
    for step in locations.steps(other / "online"):
        if lost == "damaged":
            damage(other, "online", step)
        else:
            shutil.rmtree(other / "online" / str(step))
    if lost == "damaged":  # As if the other run were gone.
        alone = {**fork, "offline__restore": str(tmp_path / "no")}
        config = other / "config.json"
        config.write_text(config.read_text().replace(str(seed_0), str(tmp_path / "no")))
        for copy in other.glob("online/*/config_copy.json"):
            copy.write_text(config.read_text())
        with pytest.raises(checks.UserError, match="No checkpoint in"):
            small_runs.run("awac", dataset, other, **alone)
        shutil.copy(expected / "config.json", config)
    small_runs.run("awac", dataset, other, **fork)
    assert small_runs.tables(other) == small_runs.tables(expected)
    small_runs.assert_same_arrays(small_runs.saved(other), small_runs.saved(expected))
    for name, content in small_runs.tables(expected).items():
        assert (other / f"{name}.found1").read_bytes() == content


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("env_id", -1),
        ("physics", None),
        ("dataset.name", []),
        ("dataset.name", {"a": 1}),
        ("evaluation.episodes", "x"),
        ("online.data", None),
        ("online", "x"),
    ],
    ids=str,
)
def test_a_config_with_a_wrong_field_is_refused_by_report_and_evaluation(
    name, value, workdir
):
    path = workdir / "config.json"
    config = json.loads(path.read_text())
    *groups, field = name.split(".")
    inner = config[groups[0]] if groups else config
    inner[field] = value
    path.write_text(json.dumps(config))
    for read in (workdirs.read_run, lambda folder: saved_policies.find(str(folder))):
        with pytest.raises(checks.UserError, match=r"config\.json"):
            read(workdir)


def test_a_fork_of_a_damaged_offline_phase_says_how_it_is_completed(workdir, refused):
    last = locations.steps(workdir / "offline")[-1]
    damage(workdir, "offline", last)
    fork = {"offline__restore": str(workdir)}
    message = refused(workdir.parent / "fork", **fork)
    assert f"{workdir / 'offline' / str(last)} cannot be read" in message
    assert f"rename {workdir / 'online'}, then give the command of that run" in message
    (workdir / "online").rename(workdir / "online.old")
    assert "rename" not in refused(workdir.parent / "fork", **fork)


@pytest.mark.parametrize("missing", ["files.json", "tensorboard", "log.txt"])
def test_what_no_resume_needs_may_be_missing(missing, workdir, dataset, seed_0):
    shutil.rmtree(workdir / "online" / "60")  # Something is left to do.
    (workdir / "tensorboard").mkdir()
    for path in [*workdir.glob(f"*/*/{missing}"), *workdir.glob(missing)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    small_runs.run("awac", dataset, workdir, num_seeds=1, logging__tensorboard=True)
    assert small_runs.tables(workdir) == small_runs.tables(seed_0)
    small_runs.assert_same_arrays(small_runs.saved(workdir), small_runs.saved(seed_0))
    said = "is missing, with the checksums" in (workdir / "log.txt").read_text()
    assert said is (missing == "files.json")


# Room.


def test_a_run_whose_checkpoints_do_not_fit_is_refused_at_the_start(
    tmp_path, refused, dataset, monkeypatch
):
    needed = 2 * 10_000_000 * 4 * (2 * 11 + 3 + 4)
    usage = shutil.disk_usage(tmp_path)._replace(free=needed)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    large = {"online__steps": 10_000_000, "online__buffer_size": 10_000_000}
    message = refused(tmp_path / "run", **large)
    assert f"bytes in {str(tmp_path / 'run')!r}" in message
    assert f"has room for {needed:,}" in message
    assert not (tmp_path / "run" / "metrics.csv").exists()
    config = small_runs.config("awac", dataset, num_seeds=1, **large)
    with pytest.raises(checks.UserError, match=f"has room for {needed:,}"):
        dry_run.describe(config, tmp_path / "new")
    config.online.buffer_size //= 4
    plan = dry_run.describe(config, tmp_path / "new")
    (size,) = re.findall(r"^disk: at most ([\d,]+) MB", plan, re.MULTILINE)
    size = int(size.replace(",", ""))
    assert needed // 4 < size * 1e6 < needed // 3
