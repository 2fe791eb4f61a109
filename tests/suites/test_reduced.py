"""The suites that two cores can do: which runs they make, with which settings."""

import pathlib

import pytest

from samg_jax.experiment import suite_files
from samg_jax.suites import job_list, suite_program
from tests.fixtures import small_experiments, tiny_suite

FORKS = {"vanilla", "no_data", "samg", "samg_even", "samg_random", "samg_embedding"}
ALGORITHMS = {"bc", "td3_bc", "awac", "iql", "spot", "cql", "cal_ql"}
BASES = {"awac", "iql", "cql", "cal_ql"}
# Suite -> algorithms, variants of the forks, and seeds.
GRIDS = {
    "ablation_reduced": ({"awac"}, FORKS, 4),
    "finetune": (BASES, {"vanilla", "no_data", "samg"}, 4),
    "offline": (ALGORITHMS, set(), 4),
    "presets": ({"awac"}, {"samg", "samg_best"}, 8),
    "threshold_sensitivity_reduced": ({"awac"}, {"samg"}, 4),
}


def load(name, *settings):
    return suite_files.load(name, tiny_suite.CONFIGS, settings)


def expand(name, *settings):
    """The configs of a suite's jobs, by algorithm and variant."""
    planned = job_list.expand(load(name, *settings), tiny_suite.CONFIGS)
    found = {(job.algorithm, job.variant): job.config for job in planned}
    assert len(found) == len(planned)
    return found


@pytest.mark.parametrize("name", GRIDS)
def test_every_variant_forks_from_one_checkpoint_of_its_algorithm(name):
    algorithms, variants, seeds = GRIDS[name]
    suite = load(name)
    planned = job_list.expand(suite, tiny_suite.CONFIGS)
    assert (
        suite_program.idle(suite, planned) == []
    )  # A job reads whatever the suite sets.
    assert {job.algorithm for job in planned} == algorithms
    assert len(planned) == len(algorithms) * (1 + len(variants))
    for job in planned:
        assert job.dataset == "hopper-demo"
        assert job.config["num_seeds"] == seeds
        assert job.config["evaluation"]["episodes"] == 20
        if job.variant == "offline":
            assert job.source is None
            assert job.config["online"]["steps"] == 0
        else:
            assert job.variant in variants
            assert job.source.endswith("/offline")
            assert job.source.split("/")[0] == job.algorithm


def test_lengths_and_networks_are_those_that_two_cores_can_train():
    offline, online = expand("offline"), expand("finetune")
    for (algorithm, _), config in offline.items():
        updates = {"spot": 45_000, "cql": 10_000, "cal_ql": 10_000}
        assert config["offline"]["updates"] == updates.get(algorithm, 40_000)
        of_cql = algorithm in ("cql", "cal_ql")
        field = "critic_hidden_dims" if of_cql else "hidden_dims"
        assert config["agent"][field] == [128, 128]
        assert config["agent"].get("tau", 0.02) == 0.02
        scaled = "none" if algorithm == "bc" else "affine"
        assert config["dataset"]["reward_transform"] == scaled
    for (algorithm, variant), config in online.items():
        if variant != "offline":
            short = algorithm in ("cql", "cal_ql")
            assert config["online"]["steps"] == (4_000 if short else 10_000)
            assert config["online"]["eval_every"] == (1_000 if short else 2_000)
        shared = offline[algorithm, "offline"]
        fine_tuned = {"inverse_temperature_online": 10.0} if algorithm == "awac" else {}
        assert config["agent"] == {**shared["agent"], **fine_tuned}
        for group in ("dataset", "offline"):
            assert config[group] == shared[group], (algorithm, variant, group)
    assert online["cql", "samg"]["agent"]["cql_weight"] == 1.0


def test_the_ablation_changes_the_weight_alone():
    found = {
        variant: config for (_, variant), config in expand("ablation_reduced").items()
    }
    weights = {
        "no_data": "none",
        "samg": "cvae",
        "samg_even": "even",
        "samg_random": "random",
        "samg_embedding": "embedding",
    }
    for variant, weight in weights.items():
        config = found[variant]
        assert config["guidance"] == {**found["samg"]["guidance"], "weight": weight}
        assert config["online"] == found["samg"]["online"]
        assert config["guidance"]["cvae"]["hidden_dim"] == 128
        assert config["guidance"]["embedding"]["steps"] == 3_000
    assert found["offline"]["guidance"] == found["samg"]["guidance"]


def test_thresholds_are_swept_in_one_fork_and_presets_are_two():
    found = expand("threshold_sensitivity_reduced")
    assert found["awac", "samg"]["sweep"] == ["guidance.threshold=0,0.3,0.5,0.75"]
    assert "sweep" not in found["awac", "offline"]
    presets = expand("presets")
    assert presets["awac", "samg"]["guidance"]["weight_preset"] == "paper"
    assert presets["awac", "samg_best"]["guidance"]["weight_preset"] == "best"
    assert presets["awac", "offline"]["offline"]["updates"] == 20_000


def test_the_users_settings_win_and_a_file_of_their_own_is_studied(tmp_path):
    path = small_experiments.write_dataset(
        pathlib.Path(tmp_path) / "own.v1.hdf5", rows=60
    )
    found = expand(
        "ablation_reduced",
        *("num_seeds=2", "config.online.steps=7000", "config.agent.tau=0.3"),
        *("config.agent.hidden_dims=(32, 32)", "config.guidance.cvae.steps=2000"),
        *(f"dataset_path={path}", "config.env_id=Hopper-v4"),
    )
    for (_, variant), config in found.items():
        assert config["num_seeds"] == 2
        assert config["online"]["steps"] == (0 if variant == "offline" else 7_000)
        assert (config["agent"]["tau"], config["agent"]["hidden_dims"]) == (
            0.3,
            [32, 32],
        )
        assert (config["dataset"]["path"], config["env_id"]) == (str(path), "Hopper-v4")
        if variant != "vanilla":
            assert config["guidance"]["cvae"]["steps"] == 2_000
