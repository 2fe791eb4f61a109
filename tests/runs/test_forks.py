"""Online runs that start from another run's offline checkpoint."""

import pathlib
import shutil

import jax
import numpy as np
import pytest

from samg_jax import checks
from samg_jax.experiment import datasets, resolve
from samg_jax.guidance import weights
from samg_jax.runs import checkpoints, forks, lifecycle
from samg_jax.training import offline_phase
from tests.fixtures import small_experiments, small_runs


def fork(name, dataset, workdir, source, **overrides):
    return small_runs.run(
        name, dataset, workdir, offline__restore=str(source), **overrides
    )


def assert_same_fine_tuning(workdir, reference):
    """Fails unless both fine-tuned alike, bit for bit."""
    assert small_runs.scores(workdir) == small_runs.scores(reference)
    small_runs.assert_same_arrays(
        small_runs.saved(workdir), small_runs.saved(reference)
    )


@pytest.fixture
def no_training(monkeypatch):
    def fail(*_):
        return lambda *_, **__: pytest.fail("It trained offline.")

    monkeypatch.setattr(offline_phase, "make_updates", fail)
    monkeypatch.setattr(offline_phase, "make_model_updates", fail)


@pytest.mark.usefixtures("without_data", "no_training")
def test_forks_repeat_the_fine_tuning_without_the_dataset(samg_run, dataset, tmp_path):
    fork("awac_samg", dataset, tmp_path, samg_run)
    assert_same_fine_tuning(tmp_path, samg_run)
    assert not small_runs.scores(tmp_path, "offline")


@pytest.mark.usefixtures("no_training")
def test_a_vanilla_fork_of_a_samg_run_is_the_vanilla_run(
    samg_run, awac_run, dataset, tmp_path
):
    fork("awac", dataset, tmp_path, samg_run)
    assert_same_fine_tuning(tmp_path, awac_run)


@pytest.mark.usefixtures("without_data")
def test_a_vanilla_fork_needs_the_dataset(samg_run, dataset, tmp_path):
    with pytest.raises(ValueError, match=dataset.name):
        fork("awac", dataset, tmp_path, samg_run)


@pytest.mark.usefixtures("without_data")
def test_a_fork_takes_the_rest_from_its_own_config(samg_run, dataset, tmp_path):
    changes = {
        "guidance__kind": "joint",
        "guidance__threshold": 0.25,
        "guidance__strength": 0.75,
        "agent__learning_rate": 1e-30,
        "online__steps": 40,
    }
    fork("awac_samg", dataset, tmp_path, samg_run / "offline", **changes)
    own, source = small_runs.saved(tmp_path), small_runs.saved(samg_run, "offline")
    np.testing.assert_array_equal(own["['guidance']['threshold']"], np.float32(0.25))
    np.testing.assert_array_equal(own["['guidance']['strength']"], np.float32(0.75))
    assert own["['count']"] == 40
    assert own["['agent']['step']"] == source["['agent']['step']"] + 40 - 25
    places = [f"['agent']['{network}']['params']" for network in ("actor", "critic")]
    trained = [name for name in own if name.startswith(tuple(places))]
    assert trained
    for name in trained:  # At that rate nothing is learned.
        np.testing.assert_array_equal(own[name], source[name], name)
    last = small_runs.evaluations(tmp_path)[-1]
    assert (last.offline_step, last.env_step) == (60, 40)


@pytest.mark.parametrize(
    ("name", "changes", "fields"),
    [
        ("cql_samg", {}, ["algorithm"]),
        ("awac_samg", {"agent__hidden_dims": (16, 8)}, ["agent.hidden_dims"]),
        ("awac_samg", {"env_id": "Walker2d-v4"}, ["observation_size", "action_size"]),
        (
            "awac_samg",
            {"dataset__normalize_observations": False},
            ["dataset.normalize_observations"],
        ),
        (
            "awac",
            {"dataset__reward_transform": "affine", "dataset__reward_scale": 2.0},
            ["dataset.reward_transform", "dataset.reward_scale"],
        ),
    ],
)
@pytest.mark.usefixtures("no_training")
def test_what_must_agree_is_named_where_it_does_not(
    name, changes, fields, samg_run, dataset, tmp_path
):
    with pytest.raises(ValueError, match="does not fit this config") as error:
        fork(name, dataset, tmp_path, samg_run, **changes)
    for field in fields:
        assert f"  {field}: " in str(error.value)
    # The way out: the right config in the same workdir is no other run.
    assert not (tmp_path / "config.json").exists()


def test_another_format_version_is_refused(samg_run, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "FORMAT_VERSION", 7)
    with pytest.raises(ValueError, match=r"format version \d, written by samg_jax \d"):
        fork("awac_samg", dataset, tmp_path, samg_run)


def test_an_incomplete_offline_phase_is_refused(
    dataset, tmp_path, monkeypatch, samg_run
):
    source = tmp_path / "source"
    with monkeypatch.context() as patch:
        small_runs.stop_at(patch, "offline", 4)
        with pytest.raises(small_runs.Stopped):
            small_runs.run("awac_samg", dataset, source)
    with pytest.raises(ValueError, match="stopped at update 20 and is not complete"):
        fork("awac_samg", dataset, tmp_path / "fork", source)


def test_a_folder_without_a_checkpoint_is_refused(dataset, tmp_path):
    for source in (tmp_path, tmp_path / "missing", dataset):
        with pytest.raises(ValueError, match="no offline checkpoint") as error:
            fork("awac_samg", dataset, tmp_path / "fork", source)
        assert str(source) in str(error.value)


@pytest.mark.usefixtures("without_data", "no_training")
def test_one_seed_of_a_batch_can_be_fine_tuned_alone(samg_run, dataset, tmp_path):
    settings = small_runs.config(
        "awac_samg", dataset, seed=1, num_seeds=1, offline__restore=str(samg_run)
    )
    experiment = resolve.experiment(settings)
    alone, to_fit = forks.restore(experiment, samg_run / "offline", None)
    assert to_fit is None
    settings = small_runs.config("awac_samg", dataset)
    _, batch = small_runs.offline_state(settings, samg_run / "offline")
    np.testing.assert_array_equal(alone.seeds, [1])
    np.testing.assert_array_equal(alone.agent.step, batch.agent.step)
    for field in ("actor", "critic", "target_critic"):
        jax.tree.map(
            lambda own, all_: np.testing.assert_array_equal(own, all_[1:]),
            getattr(alone.agent, field),
            getattr(batch.agent, field),
        )
    jax.tree.map(
        lambda own, all_: np.testing.assert_array_equal(own, all_[1:]),
        (alone.weight, alone.quantiles, alone.alive),
        (batch.weight, batch.quantiles, batch.alive),
    )
    jax.tree.map(
        np.testing.assert_array_equal, alone.preprocessing, batch.preprocessing
    )

    fork("awac_samg", dataset, tmp_path, samg_run, seed=1, num_seeds=1)
    rows = small_runs.evaluations(tmp_path)
    assert {row.seed for row in rows} == {1}
    other = [row for row in small_runs.evaluations(samg_run) if row.seed == 1]
    start = next(row for row in other if row.phase == "online")
    np.testing.assert_allclose(rows[0].return_mean, start.return_mean, rtol=1e-4)


def test_seeds_that_were_not_pretrained_are_refused(samg_run, dataset, tmp_path):
    with pytest.raises(ValueError, match=r"holds the seeds \[0, 1\], not \[2\]"):
        fork("awac_samg", dataset, tmp_path, samg_run, seed=1)


def test_a_samg_fork_of_a_vanilla_run_fits_its_own_cvae(
    awac_run, samg_run, dataset, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        # Stopped amid the fit, so that the resume is tested as well.
        small_runs.stop_at(patch, "cvae", 4)
        with pytest.raises(small_runs.Stopped):
            fork("awac_samg", dataset, tmp_path, awac_run)
    with monkeypatch.context() as patch:
        calls = count_calls(patch, "make_model_updates")
        patch.setattr(offline_phase, "make_updates", None)
        fork("awac_samg", dataset, tmp_path, awac_run)
    assert len(calls) == 2  # Of four chunks, two were saved.
    assert_same_fine_tuning(tmp_path, samg_run)
    cvae_steps = {step for _, step, _ in small_runs.training(tmp_path, "kl", "cvae")}
    assert cvae_steps == {10, 20, 30, 40}


@pytest.mark.usefixtures("without_data")
def test_a_samg_fork_of_a_vanilla_run_needs_the_dataset(awac_run, dataset, tmp_path):
    with pytest.raises(ValueError, match=dataset.name):
        fork("awac_samg", dataset, tmp_path, awac_run)


def count_calls(monkeypatch, name):
    calls = []
    make = getattr(offline_phase, name)

    def counting(*args):
        function = make(*args)
        return lambda *a, **k: (calls.append(1), function(*a, **k))[1]

    monkeypatch.setattr(offline_phase, name, counting)
    return calls


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"guidance__kind": "window", "guidance__delta": 0.5}, None),
        ({"guidance__threshold": 0.1, "guidance__cut": "soft"}, None),
        ({"guidance__cutoff_steps": 30, "guidance__strength": 0.5}, None),
        ({"guidance__weight": "constant"}, None),
        ({"guidance__weight": "none"}, None),
        ({"guidance__threshold_quantile": 0.3}, 40),
        ({"guidance__fit": "pooled"}, 0),
        ({"guidance__cvae__beta": 0.1}, 0),
        ({"guidance__kind": "joint"}, None),
        ({"guidance__kind": "nearest"}, 40),  # Its codes are not in the fit.
        ({"guidance__kind": "nearest", "guidance__weight": "even"}, None),
        ({"guidance__weight_preset": "best"}, 0),
        ({"guidance__weight_preset": "best", "guidance__weight": "even"}, None),
    ],
)
def test_only_what_changes_the_fit_is_fitted_again(
    changes, expected, samg_run, dataset
):
    settings = small_runs.config("awac_samg", dataset, **changes)
    experiment = resolve.experiment(settings)
    saved = forks.meta(samg_run / "offline")
    assert forks.first_fit_step(experiment, saved) == expected
    needed = forks.needs_dataset(experiment, samg_run / "offline")
    assert needed == (expected is not None)


def test_stored_codes_are_found_again_where_their_number_or_kind_changes(
    dataset, tmp_path
):
    own = {"guidance__kind": "nearest", "guidance__references": 4_096}
    small_runs.run("awac_samg", dataset, tmp_path, online__steps=0, **own)
    source = tmp_path / "offline"

    def restored(**changes):
        experiment = resolve.experiment(
            small_runs.config("awac_samg", dataset, **changes)
        )
        state, start = forks.restore(experiment, source, None)
        shape = forks.template(experiment).weight.normals.nearest.codes.shape
        return state.weight.normals.nearest.codes, shape, start

    codes, shape, start = restored(**own)
    assert (codes.shape, start) == (shape, None)
    assert np.asarray(codes).any()
    codes, shape, start = restored(guidance__kind="tail")
    assert (codes.shape, start) == (shape, None)
    assert not np.asarray(codes).any()
    codes, shape, start = restored(**own | {"guidance__references": 5_000})
    assert (codes.shape, start) == (shape, 40)


@pytest.mark.usefixtures("no_training")
def test_a_threshold_by_quantile_reads_the_data_but_trains_nothing(
    samg_run, dataset, tmp_path
):
    changes = {"guidance__threshold_quantile": 0.3}
    fork("awac_samg", dataset, tmp_path, samg_run, **changes)
    own = small_runs.saved(tmp_path)
    settings = small_runs.config("awac_samg", dataset)
    experiment, pretrained = small_runs.offline_state(settings, samg_run / "offline")
    data = datasets.load(experiment, lambda _: None)[0]
    for index in range(2):
        weight = jax.tree.map(lambda leaf, i=index: leaf[i], pretrained.weight)
        p_int = weights.cvae_probabilities(
            experiment.guidance, weight, 1.0, data.observations, data.actions
        )
        expected = np.quantile(p_int, 0.3)
        threshold = own["['guidance']['threshold']"][index]
        np.testing.assert_allclose(threshold, expected, rtol=1e-5)
        below = np.mean(np.asarray(p_int) < threshold)
        assert 0.25 < below < 0.35


@pytest.mark.usefixtures("without_data", "no_training")
def test_a_fork_resumes_without_dataset_and_source(
    samg_run, dataset, tmp_path, monkeypatch
):
    source = pathlib.Path(shutil.copytree(samg_run, tmp_path / "source"))
    with monkeypatch.context() as patch:
        small_runs.stop_at(patch, "online", 53)
        with pytest.raises(small_runs.Stopped):
            fork("awac_samg", dataset, tmp_path / "fork", source)
    source.rename(tmp_path / "away")
    fork("awac_samg", dataset, tmp_path / "fork", source)
    assert_same_fine_tuning(tmp_path / "fork", samg_run)


@pytest.mark.usefixtures("without_data", "no_training")
def test_forking_leaves_the_source_as_it_was(samg_run, dataset, tmp_path):
    def contents():
        return {
            path: path.stat().st_mtime_ns
            for path in samg_run.rglob("*")
            if path.is_file()
        }

    before = contents()
    fork(
        "awac_samg",
        dataset,
        tmp_path,
        samg_run,
        guidance__weight="none",
        online__steps=30,
    )
    assert contents() == before


@pytest.mark.parametrize(
    "changes", [{"agent__hidden_dims": (8, 8)}, {"num_seeds": 9}], ids=str
)
def test_the_error_of_a_fork_comes_alone(changes, awac_run, dataset, tmp_path, capsys):
    config = small_experiments.config(
        "awac",
        dataset,
        {
            "offline.restore": str(awac_run),
            **{name.replace("__", "."): value for name, value in changes.items()},
        },
    )
    with pytest.raises(checks.UserError, match="offline checkpoint"):
        lifecycle.run(config, tmp_path / "fork", {"offline.updates": 0})
    out, err = capsys.readouterr()
    assert "not read by this run" not in out + err
