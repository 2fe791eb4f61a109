"""Suites as files: their jobs, the paper's grids, and mistakes found before compute."""

import json

import pytest

from samg_jax.data import d4rl
from samg_jax.experiment import resolve, suite_files
from samg_jax.runs import dry_run
from samg_jax.suites import (
    executors,
    job_folders,
    job_list,
    suite_plan,
)
from tests.fixtures import small_experiments, tiny_suite

BASES = {"cql", "awac", "iql", "cal_ql"}
# Suite -> algorithms, variants, datasets, and how many jobs it has.
SUITES = {
    # 15 x (4 bases x (1 + 3) + BC + TD3+BC + SPOT x 2).
    "table1": ({*BASES, "bc", "td3_bc", "spot"}, {"vanilla", "no_data", "samg"}, 300),
    "figure2": (BASES, {"vanilla", "samg"}, 15 * 4 * 3),
    "table2": (BASES, {"vanilla", "samg"}, 6 * 4 * 3),
    "threshold_sensitivity": (BASES, {"samg"}, 3 * 4 * 2),
    "smoke": ({"awac", "iql"}, {"vanilla", "no_data", "samg"}, 2 * 4),
}


def expand(name, *settings):
    suite = suite_files.load(name, tiny_suite.CONFIGS, settings)
    return job_list.expand(suite, tiny_suite.CONFIGS)


@pytest.mark.parametrize("name", SUITES)
def test_the_papers_suites_have_its_grids(name):
    algorithms, variants, count = SUITES[name]
    planned = expand(name)
    assert len(planned) == count == len({job.name for job in planned})
    assert {job.algorithm for job in planned} == algorithms
    assert {job.variant for job in planned} == {"offline", *variants}
    assert {job.config["num_seeds"] for job in planned} == {5 if count > 8 else 3}
    seen = set()
    for job in planned:
        assert (job.source is None) == (job.variant == "offline")
        assert job.source is None or job.source in seen
        seen.add(job.name)
    sources = [job for job in planned if job.source is None]
    pairs = {(job.algorithm, job.dataset) for job in planned}
    assert len(sources) == len(pairs)


def test_variants_differ_as_the_protocols_say():
    by_variant = {job.variant: job.config for job in expand("ablation")}
    assert by_variant["vanilla"]["online"]["data"] == "append"
    expected = {
        "no_data": "none",
        "samg": "cvae",
        "samg_even": "even",
        "samg_random": "random",
        "samg_embedding": "embedding",
        "samg_best": "cvae",
    }
    for variant, weight in expected.items():
        assert by_variant[variant]["guidance"]["weight"] == weight
        assert by_variant[variant]["online"]["data"] == "buffer"
    assert by_variant["samg"]["guidance"]["kind"] == "tail"
    assert by_variant["samg_best"]["guidance"]["kind"] == "nearest"
    assert by_variant["offline"]["online"]["steps"] == 0
    # A fork takes over the fit of the weight.
    assert by_variant["offline"]["guidance"]["weight"] == "cvae"
    offline = expand("smoke", "variants=vanilla")[0]
    assert offline.config["guidance"]["weight"] == "none"


def test_a_sweep_belongs_to_the_guided_variants():
    sweep = "sweep=guidance.threshold=0.1,guidance.strength=0.5"
    planned = expand("smoke", sweep, "algorithms=awac")
    swept = {job.variant: job.config.get("sweep") for job in planned}
    assert swept == {
        "offline": None,
        "vanilla": None,
        "no_data": None,
        "samg": ["guidance.threshold=0.1", "guidance.strength=0.5"],
    }


def test_seeds_are_split_over_processes():
    planned = expand("smoke", "num_seeds=5", "seeds_per_job=2", "algorithms=iql")
    names = {job.name.split("/")[2] for job in planned}
    assert names == {"seed0-1", "seed2-3", "seed4"}
    counts = {job.config["seed"]: job.config["num_seeds"] for job in planned}
    assert counts == {0: 2, 2: 2, 4: 1}


def test_local_files_are_found_by_the_datasets_name(tmp_path, dataset):
    pattern = f"dataset_path={tmp_path}/{{dataset}}-local.hdf5"
    with pytest.raises(ValueError, match="No dataset file"):
        expand("local", pattern)
    for robot in ("hopper", "halfcheetah", "walker2d"):
        path = tmp_path / f"{robot}-medium-local.hdf5"
        path.symlink_to(dataset)
    planned = expand("local", pattern)
    assert len(planned) == 3 * 4 * 5
    envs = {job.dataset: job.config["env_id"] for job in planned}
    assert envs == {
        "hopper-medium-local": "Hopper-v4",
        "halfcheetah-medium-local": "HalfCheetah-v4",
        "walker2d-medium-local": "Walker2d-v4",
    }
    # Networks and hyperparameters are the published ones.
    iql = next(j for j in planned if j.name == "iql/hopper-medium-local/seed0-4/samg")
    assert iql.config["agent"]["hidden_dims"] == [256, 256]
    assert iql.config["agent"]["deterministic"] is True


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("smok", [], "Did you mean 'smoke'"),
        ("smoke", ["num_seed=3"], "Did you mean 'num_seeds'"),
        ("smoke", ["num_seeds"], "FIELD=VALUE"),
        (
            "smoke",
            ["num_seeds=0"],
            "num_seeds is 0. It must be an integer of at least 1",
        ),
        ("smoke", ["num_seeds=many"], "wrong kind"),
        ("smoke", ["datasets=hoper-demo"], "Did you mean 'hopper-demo'"),
        ("smoke", ["datasets=hopper-demo,hopper-demo"], "each once"),
        ("smoke", ["algorithms=awc"], "Did you mean .*awac.py"),
        ("smoke", ["variants=sagm"], "Did you mean 'samg'"),
        ("smoke", ["config.online.step=3"], "Did you mean config.online.steps"),
        ("smoke", ["config.guidance.treshold=3"], "config.guidance.threshold"),
        ("smoke", ["config.agent.tau=3"], "The job awac/.*tau is 3"),
        ("smoke", ["config.online.eval_every=x"], "of the wrong kind"),
        ("smoke", ["sweep=guidance.delta=1,2"], "The job awac/.*/samg"),
        ("smoke", ["dataset_path=nowhere.hdf5"], "No dataset file"),
    ],
)
def test_mistakes_in_a_suite_are_told(name, settings, message):
    with pytest.raises(ValueError, match=message):
        expand(name, *settings)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cloud", [], "Allowed: local, ray, slurm"),
        ("slrum", [], "Did you mean 'slurm'"),
        ("local", ["parallel=2"], "Allowed are none. Set processes=2"),
        ("slurm", ["cluster=cloud"], "Allowed are slurm and local"),
        ("slurm", ["partition=x"], "Allowed are .*slurm_"),
        (
            "ray",
            ["cpus=-1"],
            r"option=cpus is -1. It must be a finite number of at least 0",
        ),
        ("ray", ["cpus"], "cpus: cores of a job"),
        ("ray", ["gpu=1"], "Did you mean 'gpus'"),
    ],
)
def test_mistakes_in_an_executor_are_told(name, options, message):
    if name in ("ray", "slurm"):
        pytest.importorskip({"slurm": "submitit", "ray": "ray"}[name])
    with pytest.raises(ValueError, match=message):
        executors.make(name, options)


def test_a_cluster_takes_no_number_of_processes():
    pytest.importorskip("submitit")
    assert executors.make("local", [], 3).processes == 3
    with pytest.raises(ValueError, match="processes=2 is read by executor=local alone"):
        executors.make("slurm", ["cluster=local"], 2)


def test_a_job_of_another_config_is_refused(tmp_path):
    job_folders.prepare(tmp_path, expand("smoke"))
    job_folders.prepare(tmp_path, expand("smoke", "config.evaluation.threads=1"))
    with pytest.raises(ValueError, match=r"online.steps: 2000 before, 900 now"):
        job_folders.prepare(tmp_path, expand("smoke", "budgets.online_steps=900"))


def test_a_job_runs_what_the_command_says_where_a_folder_may_differ(tmp_path):
    job_folders.prepare(tmp_path, expand("smoke", "config.compilation_cache=theirs"))
    jobs = expand("smoke", "config.compilation_cache=mine")
    job_folders.prepare(tmp_path, jobs)
    assert job_folders.load(tmp_path, jobs[0].name) == jobs[0]
    assert jobs[0].config["compilation_cache"] == "mine"


def test_jobs_whose_states_are_alike_share_the_estimate_of_them(monkeypatch):
    datasets = "datasets=hopper-medium,hopper-medium-replay,walker2d-medium"
    planned = expand("table1", datasets, "algorithms=iql")
    traced, trace = [], dry_run.state_bytes
    monkeypatch.setattr(
        dry_run, "state_bytes", lambda *given: traced.append(0) or trace(*given)
    )
    estimator = suite_plan.Estimator()
    needs = [estimator.memory(job) for job in planned]
    # Of 12 jobs the 4 of the second dataset are as those of the first.
    assert len(planned) == 12
    assert len(traced) == 8
    for job, need in zip(planned[4:8], needs[4:8], strict=True):
        config = job.experiment()
        rows = d4rl.FILES["hopper-medium-replay-v2"].rows
        rows *= job.variant in ("offline", "vanilla")
        assert dry_run.memory(resolve.experiment(config), rows) == need


def test_estimated_memory_counts_the_data_where_they_are_opened():
    estimator = suite_plan.Estimator()
    needs = {j.variant: estimator.memory(j) for j in expand("smoke", "algorithms=iql")}
    columns = 4 * (2 * 11 + 3 + 3) * 100_000
    assert needs["offline"][0] > columns
    assert needs["vanilla"][0] > columns
    assert needs["samg"][0] < columns


def test_executors_place_a_job_by_the_memory_of_its_estimate(tmp_path):
    ray_cluster = pytest.importorskip("samg_jax.suites.ray_cluster")
    planned = expand("smoke", "algorithms=iql", "num_seeds=64")
    estimator = suite_plan.Estimator()
    given = executors.Work(
        tmp_path, planned, 1, (), lambda job: estimator.memory(job)[1], print
    )
    executor = ray_cluster.Executor(cpus=2)
    needs = {job.variant: int(estimator.memory(job)[1]) for job in planned}
    assert len(set(needs.values())) == 4
    for job in planned:
        options = executor.options(given, job, gpus=1, limit=1e12)
        assert options["memory"] == needs[job.variant]
        assert (options["num_cpus"], options["num_gpus"]) == (2, 1)
    # No node of the cluster has as much.
    assert executor.options(given, planned[0], 0, limit=5e8)["memory"] == 5e8


def test_slurms_limit_is_above_what_was_measured_beyond_an_estimate():
    slurm = pytest.importorskip("samg_jax.suites.slurm")
    # By hand: 2 x 1.2 and 4 GB, of which full ones are asked for.
    assert slurm.limit_gb(1.2e9) == 7
    measured = (
        tiny_suite.CONFIGS.parent / "launch" / "results" / "benchmark_memory.json"
    )
    report = json.loads(measured.read_text())
    for row in report["rows"]:
        data = 3 * row["dataset_mb"] + row["state_mb"]
        estimated = dry_run.HOST_BASE + data * dry_run.MEGABYTE
        assert slurm.limit_gb(estimated) * 1e3 > 1.5 * row["host_peak_mb"]


def test_a_request_without_suite_or_folder_is_refused(tmp_path):
    for suite, out in ((None, str(tmp_path)), ("smoke", None)):
        with pytest.raises(ValueError, match=r"is empty\. It must be given"):
            suite_files.check_given(suite, out, tiny_suite.CONFIGS)


def test_names_of_files_and_variants_are_names_of_folders(tmp_path):
    path = small_experiments.write_dataset(tmp_path / f"$ {'x' * 220}.hdf5", rows=60)
    given = [f"dataset_path={path}", "datasets=hopper-demo", "algorithms=awac"]
    planned = expand("smoke", *given)
    assert {len(job.name.split("/")) for job in planned} == {4}
    assert all(len(part) <= 200 for job in planned for part in job.name.split("/"))
    assert planned[0].dataset == path.stem
    job_folders.prepare(tmp_path / "out", planned)
    assert job_folders.all_jobs(tmp_path / "out") == sorted(
        planned, key=lambda j: j.name
    )


def test_jobs_that_would_share_a_folder_are_refused(tmp_path):
    for name in ("hopper-demo", "hopper-medium"):
        (tmp_path / name).mkdir()
        small_experiments.write_dataset(tmp_path / name / "data.hdf5", rows=60)
    given = [f"dataset_path={tmp_path}/{{dataset}}/data.hdf5", "algorithms=awac"]
    with pytest.raises(ValueError, match="would share a folder"):
        expand("smoke", *given, "datasets=hopper-demo,hopper-medium")
