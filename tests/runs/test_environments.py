"""Runs on awkward environments: tried out first, and resumed at episode boundaries."""

import dataclasses
import json
import re
import sys

import gymnasium
import h5py
import numpy as np
import pytest

from samg_jax import checks
from samg_jax.envs import instances, tryout
from samg_jax.runs import dry_run, environments, evaluation
from samg_jax.training import offline_phase
from tests.fixtures import awkward_envs, called_programs, small_runs

STEPS = 50


@pytest.mark.parametrize(
    "draw",
    [np.random.rand, lambda: np.random.seed(3), np.random.standard_normal],  # noqa: NPY002
)
def test_shared_random_numbers_that_are_drawn_late_are_warned_of_once(draw):
    said = []
    draws = environments.SharedDraws(tryout.EXACT)
    draws.check(said.append)
    assert not said
    for _ in range(2):
        draw()
        draws.check(said.append)
    assert len(said) == 1
    assert "np.random" in said[0]
    known = environments.SharedDraws(dataclasses.replace(tryout.EXACT, exact=False))
    draw()
    known.check(pytest.fail)  # Its log has said so at the start.


RUN = {
    "env_id": None,
    "num_seeds": 1,
    "offline__updates": 10,
    "online__steps": STEPS,
    "online__checkpoint_every": 15,
    "online__eval_every": 25,
}


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    return awkward_envs.write_dataset(tmp_path_factory.mktemp("walks") / "walks.hdf5")


@pytest.fixture
def start(walks, tmp_path):
    """Runs an experiment on a case in one workdir; returns the workdir."""

    def start(env_id, name="awac", **changes):
        try:
            fields = {**RUN, **changes, "env_id": env_id}
            return small_runs.run(name, walks, tmp_path / "run", **fields)
        finally:
            instances.close_all()

    return start


@pytest.fixture
def refused(start, monkeypatch):
    """Returns the line that refuses a run before any compute."""

    def fail(*_, **__):
        raise AssertionError("compute is spent")

    monkeypatch.setattr(offline_phase, "init", fail)
    monkeypatch.setattr(evaluation, "make_evaluator", fail)

    def refused(case, **changes):
        with awkward_envs.registered(case) as (env_id,):
            with pytest.raises(checks.UserError) as info:
                start(env_id, **changes)
            assert "\n" not in str(info.value)
            return str(info.value)

    return refused


def saved_meta(workdir):
    """The step of the newest online checkpoint, and what it says."""
    folder = max((workdir / "online").glob("[0-9]*"), key=lambda path: int(path.name))
    return int(folder.name), json.loads((folder / "meta/metadata").read_text())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Slip", "AttributeError"),
        ("Leaving", "SystemExit"),
        ("Interrupting", "KeyboardInterrupt"),
        ("LeavingLate", "SystemExit"),
    ],
)
def test_a_constructor_that_raises_has_its_traceback_in_the_log(
    name, said, refused, tmp_path
):
    log = tmp_path / "run/log.txt"
    assert refused(name).endswith(f"Its traceback is in {log}.")
    text = log.read_text()
    assert "Traceback (most recent call last)" in text
    assert re.search(rf'awkward_envs\.py", line \d+.*{said}', text, re.DOTALL)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("Closure", {}),
        ("SharedNumpy", {"num_seeds": 2, "online__overlap": True}),
    ],
)
def test_a_run_resumes_at_episode_boundaries(name, changes, start, monkeypatch, capsys):
    with awkward_envs.registered(name) as (env_id,):
        with monkeypatch.context() as patch:
            small_runs.stop_at(patch, "online", 44)
            with pytest.raises(small_runs.Stopped):
                start(env_id, **changes)
        workdir = start(env_id, **changes)
    text, log = capsys.readouterr().out, (workdir / "log.txt").read_text()
    for said in (text, log):
        assert "resume: at episode boundaries" in said
    step, meta = saved_meta(workdir)
    assert (step, meta["resume"]) == (STEPS, "episode boundaries")
    arrays = small_runs.saved(workdir)
    assert not any(key.startswith("host pickled") for key in arrays)
    # Every step is in the buffer, once, and leads to where it led.
    observations, after, masks = (
        next(
            array
            for key, array in arrays.items()
            if "buffer" in key and f"'{field}'" in key.replace(".", "'")
        )
        for field in ("observations", "next_observations", "masks")
    )
    assert observations.shape[:2] == (changes.get("num_seeds", 1), STEPS)
    times = np.rint(observations[..., 1] * awkward_envs.LIMIT)
    np.testing.assert_array_equal(
        np.rint(after[..., 1] * awkward_envs.LIMIT), times + 1
    )
    # An end only where the walk ended.
    ended = (np.abs(after[..., 0]) > 5) & (times + 1 < awkward_envs.LIMIT)
    np.testing.assert_array_equal(masks == 0, ended)


def test_the_checkpoint_waits_for_the_ends_of_all_episodes_but_not_for_ever(walks):
    with awkward_envs.registered("Walk") as (env_id,):
        settings = small_runs.config("awac", walks, **{**RUN, "env_id": env_id})
        settings.num_seeds = 3
        experiment = small_runs.resolve.experiment(settings)
    trial = tryout.Trial(False, "a reason")
    saving = environments.Saving(dataclasses.replace(experiment, trial=trial))
    none, first = np.zeros(3, bool), np.array([True, False, False])
    rest = ~first
    assert not saving.reached(~none)  # Nothing is due.
    saving.ask()
    assert not saving.reached(first)
    saving.ask()  # Due again: the wait goes on.
    assert saving.pending
    assert saving.reached(rest)
    assert not saving.pending
    saving.ask()
    waited = [saving.reached(none) for _ in range(awkward_envs.LIMIT + 1)]
    assert waited == [False] * awkward_envs.LIMIT + [True]


def test_a_device_is_built_once_and_trains_and_evaluates_in_turns(
    start, walks, tmp_path, capsys
):
    awkward_envs.Connected.built = 0
    with awkward_envs.registered("Connected") as (env_id,):
        start(env_id)
        assert awkward_envs.Connected.built == 1
        assert "evaluation uses the same one" in capsys.readouterr().out
        # It scores a policy as two instances would.
        alone = small_runs.scores(tmp_path / "run", "offline")
        awkward_envs.Connected.built = 0
        changes = {"offline__updates": 10, "single_env": False, "online__steps": 0}
        fields = {**RUN, **changes, "env_id": env_id}
        small_runs.run("awac", walks, tmp_path / "many", **fields)
        many = small_runs.scores(tmp_path / "many", "offline")
        # One at a time the policy is another program, which rounds differently.
        for line, other in zip(alone, many, strict=True):
            np.testing.assert_allclose(*(numbers(row) for row in (line, other)), 1e-5)
        assert awkward_envs.Connected.built > 2


def numbers(line):
    """The numbers of a line of `metrics.csv`."""
    return [float(cell) for cell in line.split(",")[1:]]


def test_evaluation_reads_a_device_and_will_not_film_it(start, capsys):
    with awkward_envs.registered("Journal") as (env_id,):
        workdir = start(env_id, online__steps=0)
        awkward_envs.Journal.built = 0
        values = {"checkpoint": str(workdir), "episodes": 2}
        with called_programs.running("evaluate", **values) as program:
            program.main(["evaluate"])
            assert "seed 0" in capsys.readouterr().out
            assert awkward_envs.Journal.built == 1
        with (
            called_programs.running("evaluate", **values, video="film.mp4") as program,
            pytest.raises(SystemExit, match="built only once"),
        ):
            program.main(["evaluate"])
        instances.close_all()


@pytest.mark.parametrize("name", ["unlimited", "Unending"])
def test_episodes_that_need_not_end_are_cut_or_refused(name, refused, walks, tmp_path):
    assert "config.evaluation.max_steps=1000" in refused(name)
    with awkward_envs.registered(name) as (env_id,):
        fields = {**RUN, "env_id": env_id}
        config = small_runs.config("awac", walks, **fields)
        with pytest.raises(checks.UserError, match=r"config\.evaluation\.max_steps"):
            dry_run.describe(config, tmp_path / "run")


def test_evaluation_episodes_are_cut_where_the_config_says(start, capsys):
    with awkward_envs.registered("Unending") as (env_id,):
        workdir = start(env_id, evaluation__max_steps=6)
        assert {row.episode_length for row in small_runs.evaluations(workdir)} == {6}
        # The program goes by the run, or by its own flag.
        for extra, length in (({}, "6.0"), ({"max_steps": 9}, "9.0")):
            values = {"checkpoint": str(workdir), "episodes": 2, **extra}
            capsys.readouterr()
            with called_programs.running("evaluate", **values) as program:
                program.main(["evaluate"])
            line = next(
                line
                for line in capsys.readouterr().out.splitlines()
                if line.startswith("seed 0")
            )
            assert line.split()[-1] == length


@pytest.mark.parametrize(
    ("name", "said", "changes"),
    [
        ("OldReset", "return observation, info", {}),
        ("NeedsArguments", "'length'", {}),
        ("Disconnected", "no robot answers", {}),
        ("unlimited", "Cal-QL sums", {"name": "cal_ql"}),
        ("Walk", "evaluation.max_steps is 0", {"evaluation__max_steps": 0}),
        ("Walk", "built only once", {"single_env": True, "num_seeds": 2}),
        ("NotANumber", "must be finite", {}),
    ],
)
def test_what_cannot_be_used_is_refused_before_any_compute(
    name, said, changes, refused
):
    with np.errstate(divide="ignore", invalid="ignore"):
        assert said in refused(name, **changes)


@pytest.mark.parametrize("name", ["flattened", "SampledSpace"])
def test_wrapped_environments_continue_bit_for_bit(name, walks, tmp_path, capsys):
    with awkward_envs.registered(name) as (env_id,):
        fields = {**RUN, "env_id": env_id, "offline__updates": 0}
        fields["online__checkpoint_every"] = 30
        whole = small_runs.run("awac", walks, tmp_path / "whole", **fields)
        stopped = small_runs.as_if_killed(whole, tmp_path / "stopped")
        small_runs.run("awac", walks, stopped, **fields)
    assert small_runs.tables(stopped) == small_runs.tables(whole)
    assert "episode boundaries" not in capsys.readouterr().out


def test_collecting_works_on_a_device_and_marks_where_evaluation_interrupts(
    tmp_path,
):
    with awkward_envs.registered("Locked", "unlimited") as (device, unlimited):
        awkward_envs.Locked.built = 0
        values = {
            "env": device,
            "out": str(tmp_path / "walk.hdf5"),
            "level": "medium-replay",
            "medium_return": -1e9,
            "train_steps": 30,
            "eval_every": 13,
            "hidden_dims": ["8"],
            "steps": 30,
        }
        with called_programs.running("collect", **values) as program:
            program.main(["collect"])
        assert awkward_envs.Locked.built == 1
        with h5py.File(values["out"]) as file:
            times = np.rint(file["observations"][:, 1] * awkward_envs.LIMIT)
            ends = file["terminals"][:] | file["timeouts"][:]
        starts = np.flatnonzero(times == 0)
        assert ends[starts[1:] - 1].all()
        with (
            called_programs.running(
                "collect", **{**values, "env": unlimited, "overwrite": True}
            ) as program,
            pytest.raises(SystemExit, match="--max_steps=1000"),
        ):
            program.main(["collect"])
        instances.close_all()


def test_a_checkpoint_of_others_is_evaluated_only_if_trusted(
    start, tmp_path, monkeypatch
):
    (tmp_path / "their_arm.py").write_text(
        "import gymnasium\nfrom tests.fixtures import awkward_envs\n"
        "gymnasium.register('TheirArm-v0', awkward_envs.Walk, max_episode_steps=20)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    workdir = start("their_arm:TheirArm-v0", online__steps=0)
    # As in another process, which has imported nothing.
    del sys.modules["their_arm"], gymnasium.registry["TheirArm-v0"]
    values = {"checkpoint": str(workdir), "episodes": 1}
    with (
        called_programs.running("evaluate", **values) as program,
        pytest.raises(SystemExit, match=r"'their_arm'.*--trust"),
    ):
        program.main(["evaluate"])
    assert "their_arm" not in sys.modules
    with called_programs.running("evaluate", **values, trust=True) as program:
        program.main(["evaluate"])
    del sys.modules["their_arm"], gymnasium.registry["TheirArm-v0"]


def test_the_summary_and_the_dry_run_say_how_a_run_resumes(walks, tmp_path):
    with awkward_envs.registered("Closure") as (env_id,):
        config = small_runs.config("awac", walks, **{**RUN, "env_id": env_id})
        plan = dry_run.describe(config, tmp_path / "run")
    assert "resume: at episode boundaries (attribute 'shift' of Closure" in plan
