"""Sweeps: each place is the run with its values, and is told apart everywhere."""

import json

import jax
import numpy as np
import pytest

from samg_jax import checks
from samg_jax.experiment import resolve, sweeps
from samg_jax.results import result_folders
from samg_jax.runs import dry_run, saved_policies
from samg_jax.training import handover, offline_phase, online_phase
from tests.fixtures import recording_algorithm, small_runs

THRESHOLDS = ("guidance.threshold=0,0.5,0.9",)


def swept(dataset, *texts, name="awac_samg", **overrides):
    """Returns a small config with a sweep, as the flag makes it."""
    config = small_runs.config(name, dataset, **overrides)
    with config.unlocked():
        config.sweep = texts
    return config


def resolved(dataset, *texts, **overrides):
    return resolve.experiment(swept(dataset, *texts, **overrides))


@pytest.fixture(scope="module")
def sweep_run(samg_run, dataset, tmp_path_factory):
    """A sweep of the threshold from the SAMG run's offline checkpoint."""
    workdir = tmp_path_factory.mktemp("sweep") / "run"
    return run(swept(dataset, *THRESHOLDS, offline__restore=str(samg_run)), workdir)


def run(config, workdir):
    small_runs.run_summary.report(small_runs.lifecycle.run(config, workdir))
    return workdir


def test_places_are_the_product_of_values_and_seeds(dataset):
    texts = ("guidance.threshold=0,0.5", "agent.tau=0.1,0.2,1")
    experiment = sweeps.spread(resolved(dataset, *texts, seed=3))
    values = [(0, 0.1), (0, 0.2), (0, 1), (0.5, 0.1), (0.5, 0.2), (0.5, 1)]
    np.testing.assert_array_equal(experiment.seeds, [3, 4] * 6)
    for name, index in [("guidance.threshold", 0), ("agent.tau", 1)]:
        expected = [value[index] for value in values for _ in range(2)]
        np.testing.assert_array_equal(experiment.swept[name], expected)
    assert experiment.labels[::2] == experiment.labels[1::2]
    assert experiment.labels[0] == "threshold=0 tau=0.1"
    assert len(set(experiment.labels)) == 6
    assert experiment.name(3) == "4 (threshold=0 tau=0.2)"


def test_without_a_sweep_nothing_is_spread(dataset):
    experiment = resolve.experiment(small_runs.config("awac_samg", dataset))
    assert sweeps.spread(experiment) is experiment
    assert experiment.name(1) == "1"


@pytest.mark.parametrize(
    ("text", "overrides", "match"),
    [
        ("guidance.treshold=0,1", {}, r"Did you mean 'guidance\.threshold'\?"),
        ("guidance.kind=1,2", {}, "cannot be swept"),
        ("agent.learning_rate=1e-3,1e-4", {}, "cannot be swept"),
        ("agent.expectile=0.5,0.7", {}, "cannot be swept"),  # IQL's, not AWAC's.
        ("guidance.threshold", {}, "no float"),
        ("guidance.threshold=0,high", {}, "no float"),
        ("guidance.cutoff_steps=10,2.5", {}, "no int"),
        ("guidance.threshold=0.5,0.50", {}, "twice"),
        ("guidance.threshold=0,1.5", {}, r"config\.guidance\.threshold is 1\.5"),
        ("guidance.strength=0,nan", {}, "strength is nan"),
        ("agent.tau=0.1,2", {}, r"config\.agent\.tau is 2"),
        ("guidance.constant=0,1", {}, "guidance.weight is 'cvae'"),
        ("guidance.temperature=0.1,1", {}, "cut is 'hard'"),
        ("guidance.delta=1,2", {}, "'window'"),
        ("guidance.threshold=0,1", {"guidance__threshold_quantile": 0.2}, "a quantile"),
        ("guidance.threshold=0,1", {"guidance__weight": "even"}, "'even' is not cut"),
        ("guidance.strength=0,1", {"guidance__weight": "none"}, "weight is 'none'"),
        (
            "guidance.delta=1,2",
            {"guidance__kind": "window", "guidance__threshold_quantile": 0.2},
            "those of one width",
        ),
        (
            "agent.inverse_temperature=1,2",
            {"agent__inverse_temperature_online": 3.0},
            "inverse_temperature_online is what",
        ),
        ("guidance.threshold=0,1", {"online__steps": 0}, "online.steps 0"),
    ],
)
def test_impossible_sweeps_are_refused(text, overrides, match, dataset):
    with pytest.raises(ValueError, match=match):
        resolved(dataset, text, **overrides)


def test_one_setting_has_one_list_of_values(dataset):
    with pytest.raises(ValueError, match="more than once"):
        resolved(dataset, "guidance.strength=0,1", "config.guidance.strength=0.5")


def test_refusals_come_before_anything_is_written(dataset, tmp_path):
    config = swept(dataset, "guidance.threshold=0,2")
    with pytest.raises(checks.UserError):
        small_runs.lifecycle.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="threshold is 2"):
        dry_run.describe(config, tmp_path / "run")


def test_a_dry_run_counts_places(dataset, tmp_path):
    config = swept(dataset, *THRESHOLDS)
    text = dry_run.describe(config, tmp_path)
    for label in ("threshold=0", "threshold=0.5", "threshold=0.9"):
        assert f"sweep: {label}" in text.splitlines()
    plain = small_runs.config("awac_samg", dataset)
    single = dry_run.memory(resolve.experiment(plain), 0)[0]
    many = dry_run.memory(resolve.experiment(config), 0)[0]
    plain.online.steps = 0
    offline_alone = dry_run.memory(resolve.experiment(plain), 0)[0]
    # Up to the few bytes that all replicas share, such as the normalizer.
    expected = 3 * (single - offline_alone)
    assert many - offline_alone == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("field", "values", "overrides"),
    [
        ("threshold", (0.25, 0.75), {}),
        ("strength", (0, 0.5), {}),
        ("cutoff_steps", (3, 40), {}),
        ("temperature", (0.5, 0.25), {"guidance__cut": "soft"}),
        ("delta", (0.5, 2), {"guidance__kind": "window"}),
        ("constant", (0.25, 1), {"guidance__weight": "constant"}),
    ],
)
def test_every_swept_setting_reaches_the_leaf_of_its_place(
    field, values, overrides, dataset
):
    text = f"guidance.{field}=" + ",".join(map(str, values))
    experiment = resolved(dataset, text, **overrides)
    guidance = frozen(experiment)
    np.testing.assert_array_equal(getattr(guidance, field), np.repeat(values, 2))
    # All else is as without the sweep.
    single = dataset, f"guidance.{field}={values[0]}"
    alone = frozen(resolved(*single, **overrides))
    half = jax.tree.map(lambda leaf: leaf[:2], guidance)
    jax.tree.map(np.testing.assert_array_equal, half, alone)


PRETRAINED = {}  # By weight: nothing else of the guidance changes the fresh state.


def frozen(experiment):
    weight = experiment.guidance.weight
    if weight not in PRETRAINED:
        PRETRAINED[weight] = offline_phase.init(
            experiment, recording_algorithm.preprocessing(experiment.task)
        )
    pretrained = PRETRAINED[weight]
    grid = np.linspace(0, 1, 1001, dtype=np.float32) ** 2
    pretrained = pretrained.replace(quantiles=np.stack([grid, grid / 2]))
    replicas = sweeps.spread(experiment)
    return handover.freeze(replicas, handover.to_replicas(replicas, pretrained))


def test_a_swept_quantile_is_a_threshold_per_place(dataset):
    experiment = resolved(dataset, "guidance.threshold_quantile=0.3,0.6")
    assert experiment.by_quantile
    expected = [0.09, 0.045, 0.36, 0.18]  # The square of the level, half for seed 1.
    np.testing.assert_allclose(frozen(experiment).threshold, expected, rtol=1e-5)


def draws(dataset, texts, **overrides):
    """Returns what 6 steps handed to every place: rewards, draws, weights, actions."""
    config = swept(dataset, *texts, guidance__weight="random", **overrides)
    experiment = sweeps.spread(recording_algorithm.experiment(config, 16))
    single = recording_algorithm.experiment(config, 16)
    pretrained = offline_phase.init(
        single, recording_algorithm.preprocessing(experiment.task)
    )
    pretrained = handover.to_replicas(experiment, pretrained)
    first = np.zeros(
        (len(experiment.seeds), experiment.task.observation_size), np.float32
    )
    state = online_phase.init(experiment, config.online, pretrained, first)
    take, seen = online_phase.make_step(experiment, config.online), []
    for step in range(6):
        rewards = np.float32(step) + 10.0 * experiment.seeds.astype(np.float32)
        env_step = online_phase.EnvStep(rewards, first, np.ones_like(rewards), first)
        actions = np.asarray(state.actions)
        state = take(state, env_step, None, 1)
        agent = state.agent
        observed = (agent.batch.rewards, agent.draw, agent.weights, actions)
        seen.append(jax.device_get(observed))
    return seen


def test_a_place_draws_exactly_what_its_seed_draws_alone(dataset):
    together = draws(dataset, ("guidance.strength=0.5,1",))
    for strength, replica in [(0.5, slice(0, 2)), (1.0, slice(2, 4))]:
        alone = draws(dataset, (), guidance__strength=strength)
        for of_all, own in zip(together, alone, strict=True):
            for values, value in zip(of_all, own, strict=True):
                np.testing.assert_array_equal(values[replica], value)


def test_a_place_is_the_run_with_its_value(sweep_run, samg_run, dataset, tmp_path):
    zero = small_runs.run(
        "awac_samg",
        dataset,
        tmp_path,
        offline__restore=str(samg_run),
        guidance__threshold=0.0,
    )
    together = small_runs.saved(sweep_run)
    for single, replicas in [(zero, slice(0, 2)), (samg_run, slice(2, 4))]:
        alone = small_runs.saved(single)
        own = {
            name: array
            if "preprocessing" in name or not np.ndim(alone[name])
            else array[replicas]
            for name, array in together.items()
            if not name.startswith("host")
        }
        expected = {name: alone[name] for name in own}
        small_runs.assert_close_arrays(own, expected)
        for row, other in zip(
            [row for row in small_runs.evaluations(sweep_run) if row.sweep][
                replicas.start :: 6
            ],
            [row for row in small_runs.evaluations(single) if row.phase == "online"][
                ::2
            ],
            strict=True,
        ):
            assert (row.seed, row.env_step) == (other.seed, other.env_step)
            assert row.return_mean == pytest.approx(other.return_mean, rel=1e-3)
    # They are not all the same run.
    weights = together["['buffer']['weights']"]
    active = [(weights[replica : replica + 2] > 0).mean() for replica in (0, 2, 4)]
    assert active[0] > active[1] > active[2]


def learned(dataset, texts, **overrides):
    """Returns what every replica has learned after 4 steps, of 2 updates each."""
    config = swept(dataset, *texts, **overrides)
    single = resolve.experiment(config)
    experiment = sweeps.spread(single)
    pretrained = offline_phase.init(
        single, recording_algorithm.preprocessing(experiment.task)
    )
    pretrained = handover.to_replicas(experiment, pretrained)
    rows = np.random.default_rng(0).normal(size=(4, experiment.task.observation_size))
    first = np.float32(np.tile(rows[:1], (len(experiment.seeds), 1)))
    state = online_phase.init(experiment, config.online, pretrained, first)
    take = online_phase.make_step(experiment, config.online)
    for step in range(4):
        next_ = np.float32(np.tile(rows[step : step + 1], (len(experiment.seeds), 1)))
        ones = np.ones(len(experiment.seeds), np.float32)
        state = take(state, online_phase.EnvStep(ones, next_, ones, next_), None, 2)
    return jax.device_get(state.agent)


def assert_place(together, replicas, alone, tolerance):
    """Fails unless these places learned what a run alone did, to a tolerance."""
    for many, own in zip(
        jax.tree.leaves(together), jax.tree.leaves(alone), strict=True
    ):
        # Of the size of the array: single numbers may be near 0.
        atol = tolerance * np.abs(own).max()
        found = many[replicas] if many.ndim else many
        np.testing.assert_allclose(found, own, rtol=0, atol=atol)


def test_swept_hyperparameters_are_those_of_the_fork(dataset):
    texts = ("agent.tau=0.005,0.5", "agent.inverse_temperature_online=0.1,9")
    settings = {"guidance__weight": "none"}
    together = learned(dataset, texts, **settings)
    settings |= {"agent__tau": 0.5, "agent__inverse_temperature_online": 0.1}
    # Swept they are in the state, in the fork compiled in: other programs, which round
    # differently.
    assert_place(together, slice(4, 6), learned(dataset, (), **settings), 1e-6)
    tau = jax.tree.leaves(together.target_critic)[1]
    assert not np.allclose(tau[:2], tau[4:6], rtol=1e-3)
    actor = jax.tree.leaves(together.actor.params)[1]
    assert not np.allclose(actor[4:6], actor[6:8], rtol=1e-3)


@pytest.mark.parametrize("name", ["iql_samg", "cql_samg"])
def test_a_place_of_another_base_is_the_fork_with_its_value(name, dataset):
    settings = {"name": name, "guidance__weight": "constant"}
    together = learned(dataset, ("guidance.strength=0.25,1",), **settings)
    alone = learned(dataset, (), guidance__strength=1.0, **settings)
    # Products of twice as many replicas are rounded otherwise.
    assert_place(together, slice(2, 4), alone, 1e-6)
    critic = jax.tree.leaves(together.critic.params)[1]
    assert not np.allclose(critic[:2], critic[2:], rtol=1e-4, atol=1e-7)


def test_all_tables_tell_the_places_apart(sweep_run):
    header = (sweep_run / "metrics.csv").read_text().splitlines()[0]
    assert header.startswith("phase,seed,sweep,offline_step,")
    rows = small_runs.evaluations(sweep_run)
    labels = ["threshold=0", "threshold=0.5", "threshold=0.9"]
    assert [(row.sweep, row.seed) for row in rows[:6]] == [
        (label, seed) for label in labels for seed in (0, 1)
    ]
    assert {row.phase for row in rows} == {"online"}  # A fork.
    lines = (sweep_run / "training.csv").read_text().splitlines()
    assert lines[0] == "phase,seed,sweep,offline_step,env_step,name,value"
    assert {line.split(",")[2] for line in lines[1:]} == set(labels)
    saved = json.loads((sweep_run / "config.json").read_text())
    assert saved["sweep"] == list(THRESHOLDS)
    assert (sweep_run / "curve.png").stat().st_size > 10_000
    for label in labels:
        name = "guidance_" + label.replace("=", "_")
        assert (sweep_run / f"{name}.png").stat().st_size > 10_000
    results = result_folders.read([sweep_run])
    found = results.frame
    assert set(found["variant"]) == {f"samg {label}" for label in labels}
    for label in labels:
        own = found[found["variant"] == f"samg {label}"].groupby("seed")["score"].last()
        expected = [row.normalized_score for row in rows if row.sweep == label][-2:]
        assert own.tolist() == expected
    assert set(found["networks"]) - {""}


def test_a_sweep_continues_bit_for_bit(sweep_run, samg_run, dataset, tmp_path):
    config = swept(dataset, *THRESHOLDS, offline__restore=str(samg_run))
    workdir = small_runs.as_if_killed(sweep_run, tmp_path / "run")
    run(config, workdir)
    assert small_runs.tables(workdir) == small_runs.tables(sweep_run)
    small_runs.assert_same_arrays(
        small_runs.saved(workdir), small_runs.saved(sweep_run)
    )


def test_policies_of_a_sweep_are_not_taken_for_those_of_seeds(sweep_run):
    with pytest.raises(ValueError, match=r"is a sweep's.*metrics\.csv"):
        saved_policies.find(str(sweep_run))


def test_another_sweep_is_another_config(sweep_run, samg_run, dataset):
    config = swept(dataset, "guidance.threshold=0,1", offline__restore=str(samg_run))
    with pytest.raises(ValueError, match="sweep:"):
        run(config, sweep_run)
