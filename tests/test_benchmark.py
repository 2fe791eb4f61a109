"""The benchmark's program: refusals, and each of its measures on tiny networks."""

import dataclasses
import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import jax
import pytest

from samg_jax.benchmarking import (
    benchmark_cases,
    benchmark_tables,
    measures,
    timed_programs,
    torch_process,
)
from tests.fixtures import called_programs, small_experiments

ROOT = pathlib.Path(__file__).parent.parent
CONFIGS = ROOT / "configs"
TORCH = importlib.util.find_spec("torch") is not None


@pytest.fixture(autouse=True)
def _short_products(monkeypatch):
    """Measures what the machine can do by small products, for an instant."""
    monkeypatch.setattr(measures.matmul, "LARGE", 128)
    monkeypatch.setattr(measures.matmul, "SECONDS", 0.002)


def parse(*arguments, **flags):
    with called_programs.running("benchmark", **flags) as program:
        return program.parse(list(arguments))


def tiny(algorithm, phase="offline", **fields):
    settings = dict(small_experiments.NETWORKS[algorithm])
    settings |= {"evaluation.episodes": 1, "evaluation.threads": 1}
    if phase == "samg":
        settings |= {k: v for k, v in small_experiments.GUIDED.items() if "cvae" in k}
    fields = {"seeds": 1, "batch_size": 16, "rows": 1_500, **fields}
    return benchmark_cases.Case(algorithm, phase, settings=settings, **fields)


def run(kind, wanted, folder, **fields):
    """Returns the report of a request, after it was checked and made a table of."""
    fields = {"repeats": 2, "seconds": 0.01, "steps": 12, **fields}
    request = measures.Request(kind, wanted, CONFIGS, **fields)
    measures.check(request)
    report = measures.run(request, folder, "the command")
    text = benchmark_tables.describe(report)
    assert text.count("\n| ") == len(report["rows"]) + 2  # Header and rule.
    return json.loads(json.dumps(report))["rows"]


def test_all_combinations_are_measured_that_exist():
    request = parse("updates", seeds=["1", "2"], configs=str(CONFIGS))
    measures.check(request)
    found = {(case.algorithm, case.phase) for case in request.cases}
    guided = {
        (algorithm, phase)
        for algorithm in ("awac", "iql", "cql", "cal_ql")
        for phase in ("no_data", "samg")
    }
    everything = ("bc", "td3_bc", "awac", "iql", "cql", "cal_ql", "spot")
    assert found == guided | {(algorithm, "offline") for algorithm in everything}
    assert {case.family for case in request.cases} == {"locomotion", "antmaze"}
    assert {case.seeds for case in request.cases} == {1, 2}
    assert len(set(map(str, request.cases))) == len(request.cases) == 15 * 4


@pytest.mark.parametrize(
    ("arguments", "flags", "message"),
    [
        ([], {}, "Allowed is one of updates, online, compile"),
        (["update"], {}, "arguments are update. Allowed"),
        (["updates", "online"], {}, "Allowed is one of"),
        (["onlin"], {}, "Did you mean 'online'"),
        ([], {}, "suites are run by python -m samg_jax.suite"),
        (["updates"], {"algorithms": ["awc"]}, "Did you mean 'awac'"),
        (["updates"], {"algorithms": []}, "algorithms is empty"),
        (["updates"], {"families": ["adroit"]}, "locomotion, antmaze"),
        (["online"], {"phases": ["offline"]}, "vanilla, no_data, samg"),
        (["updates"], {"seeds": ["1", "0"]}, "seeds is '1,0'"),
        (["updates"], {"rows": ["many"]}, "positive integers"),
        (["updates"], {"rows": ["1000"]}, "At least 1100"),
        (["updates"], {"algorithms": ["bc"], "phases": ["samg"]}, "None of these"),
        (["updates"], {"baseline": "jax"}, "Allowed is 'torch'"),
        (["memory"], {"baseline": "torch"}, "Only updates are compared"),
        (["updates"], {"utd": ["4"]}, "--utd was given with updates.*by online alone"),
        (["profile"], {"overlap": ["on"]}, "--overlap was given with profile"),
        (["compile"], {"steps": 5}, "--steps was given with compile"),
        (["memory"], {"repeats": 3}, "read by updates, online, compile, profile"),
        (["online"], {"seconds": 2.0}, "--seconds.*read by updates, profile"),
        (["online"], {"overlap": ["yes"]}, "Known are off, on"),
        (["online"], {"seeds": []}, "seeds is ''"),
        (["updates"], {"families": []}, "families is empty"),
        (["updates"], {"phases": []}, "phases is empty"),
        (["updates"], {"batch_sizes": []}, "batch_sizes is ''"),
        (["online"], {"seeds": ["1", "4", "1"]}, "seeds is '1,4,1', which has 1 2"),
        (["updates"], {"rows": ["2000", "02000"]}, "which has 2000 2 times"),
        (["updates"], {"algorithms": ["awac", "awac"]}, "has awac 2 times"),
        (["online"], {"overlap": ["on", "on"]}, "has on 2 times"),
        (["profile"], {}, "out is empty, but profile"),
        (["updates"], {"out": "table.md"}, "Only .json is allowed"),
        (["updates"], {"threads": 100_000}, "threads is 100000, but"),
        (["updates"], {"configs": "nowhere"}, "no config file"),
    ],
)
def test_mistakes_are_told_before_anything_is_computed(arguments, flags, message):
    flags = {"configs": str(CONFIGS), **flags}
    with pytest.raises(ValueError, match=message):
        measures.check(parse(*arguments, **flags))


@pytest.mark.parametrize(
    ("flag", "message"),
    [("--utd=1", "--utd was given with updates"), ("--seeds=", "seeds is ''")],
)
def test_flags_of_the_command_line_are_refused_alike(flag, message):
    with called_programs.running("benchmark") as program:
        called_programs.flags.FLAGS(["benchmark", "updates", flag])
        with pytest.raises(ValueError, match=message):
            program.parse(["updates"])


def test_overlap_is_a_row_of_its_own():
    request = parse(
        "online",
        algorithms=["iql"],
        families=["antmaze"],
        phases=["samg"],
        seeds=["1"],
        overlap=["off", "on"],
        configs=str(CONFIGS),
    )
    measures.check(request)
    loaded = [benchmark_cases.load(case, CONFIGS) for case in request.cases]
    assert [config.online.overlap for config in loaded] == [False, True]


def test_a_measurement_that_ends_early_keeps_its_rows(tmp_path, monkeypatch):
    original, out = jax.profiler.trace, tmp_path / "traces"

    def second_fails(path, **options):
        if pathlib.Path(path).name.endswith("2"):
            raise KeyboardInterrupt
        return original(path, **options)

    monkeypatch.setattr(jax.profiler, "trace", second_fails)
    with pytest.raises(KeyboardInterrupt):
        run("profile", [tiny("bc"), tiny("bc", seeds=2)], tmp_path, out=out)
    assert not (out / "profile.json").exists()
    kept = json.loads((out / "profile.unfinished.json").read_text())
    assert not kept["finished"]
    assert {row["seeds"] for row in kept["rows"]} == {1}
    assert kept["machine"]["jax"]


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_programs_are_measured_in_the_precision_that_was_asked_for(
    name, tmp_path, monkeypatch
):
    original, seen = timed_programs.Program.call, []

    def watched(program):
        if not seen:
            lowered = program.prepared.lower(program.state, 1)
            seen.extend(re.findall(r"stablehlo.dot_general.*", lowered.as_text()))
        return original(program)

    monkeypatch.setattr(timed_programs.Program, "call", watched)
    request = parse(
        "profile",
        out=str(tmp_path / "traces"),
        matmul_precision=name,
        configs=str(CONFIGS),
    )
    request = dataclasses.replace(request, cases=[tiny("bc")], repeats=1, seconds=0.01)
    report = measures.run(request, tmp_path, "the command")
    assert report["matmul_precision"] == name
    mark = {"float32": "HIGHEST, HIGHEST", "bfloat16": "lhs_precision_type = bf16"}
    assert len(seen) > 3
    assert all(mark[name] in product for product in seen)
    (trace,) = {pathlib.Path(row["trace"]) for row in report["rows"]}
    assert trace.is_relative_to(tmp_path / "traces")
    assert any(trace.rglob("*.xplane.pb"))


@pytest.mark.parametrize("kind", ["online", "compile"])
def test_the_precision_goes_into_the_config_of_every_case(kind, monkeypatch):
    # The loop, and the processes, take it from there.
    seen = []

    def measured(request, folder):
        seen.extend(benchmark_cases.load(case, CONFIGS) for case in request.cases)
        yield []

    monkeypatch.setitem(measures._MEASURES, kind, measured)
    # What a process of its own would say, said in this one.
    alone = measures.case_processes
    monkeypatch.setattr(alone, "alone", lambda function, *args: function(*args))
    request = measures.Request(
        kind, [tiny("iql", "samg")], CONFIGS, matmul_precision="tensorfloat32"
    )
    measures.run(request, ROOT, "the command")
    assert [config.matmul_precision for config in seen] == ["tensorfloat32"]


def test_a_mistake_ends_the_program_with_a_message():
    done = subprocess.run(
        [sys.executable, "-m", "samg_jax.benchmark", "updates", "--seeds=none"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: --seeds is 'none'.")


def test_updates_are_compared_over_seeds_and_guidance(tmp_path):
    wanted = [tiny("iql", "no_data", seeds=seeds) for seeds in (1, 2)]
    wanted += [tiny("iql", "samg")]
    rows = run("updates", wanted, tmp_path)
    measured = [(row["algorithm"], row["phase"], row["seeds"]) for row in rows]
    assert measured == [(case.algorithm, case.phase, case.seeds) for case in wanted]
    assert ["over_one_seed" in row for row in rows] == [False, True, False]
    assert ["guidance_cost" in row for row in rows] == [False, False, True]
    for row in rows:
        expected = row["seeds"] * row["per_seed"]["median"]
        assert row["summed"]["median"] == pytest.approx(expected)
        assert row["share_of_peak"] > 0
        assert row["batch_size"] == 16
    # The guidance adds the frozen value's forward pass.
    assert rows[2]["mflop_per_update"] > rows[0]["mflop_per_update"]


@pytest.mark.slow
@pytest.mark.skipif(not TORCH, reason="needs the extra `torch`")
def test_pytorch_runs_beside_our_updates(tmp_path):
    rows = run("updates", [tiny("iql")], tmp_path, baseline="torch", threads=1)
    assert rows[0]["baseline"]["median"] > 0
    assert rows[0]["over_baseline"]["median"] > 0
    assert rows[0]["baseline_version"].split(".")[0] in {"2", "3"}


@pytest.mark.slow
@pytest.mark.skipif(not TORCH, reason="needs the extra `torch`")
@pytest.mark.parametrize("algorithm", ["awac", "iql", "td3_bc", "cql"])
def test_pytorchs_updates_run_for_every_algorithm(algorithm):
    flags = ["--seconds=0.01", "--rows=500", "--batch_size=16", "--threads=1"]
    done = subprocess.run(
        [sys.executable, str(torch_process.SCRIPT), f"--algorithm={algorithm}", *flags],
        capture_output=True,
        text=True,
        check=True,
    )
    name, rate, unit = done.stdout.split()
    assert (name, unit) == (algorithm, "updates/s")
    assert float(rate) > 0


@pytest.mark.slow
@pytest.mark.skipif(not TORCH, reason="needs the extra `torch`")
def test_a_pytorch_process_takes_updates_when_it_is_told_to():
    case = tiny("td3_bc")
    task = benchmark_cases.experiment(case, CONFIGS).task
    other = torch_process.Baseline(case, task, 16, 1)
    try:
        assert other.version.split(".")[0] in {"2", "3"}
        assert other.rate(0.0) > 0
        assert other.rate(0.0) > 0
    finally:
        other.close()


def test_pytorch_is_compared_where_it_has_the_same_update():
    assert torch_process.covers(benchmark_cases.Case("cql"))
    assert not torch_process.covers(benchmark_cases.Case("cql", family="antmaze"))
    assert not torch_process.covers(benchmark_cases.Case("iql", "samg"))
    assert not torch_process.covers(benchmark_cases.Case("spot"))


@pytest.mark.parametrize(
    ("phase", "overlap"),
    [("vanilla", True), pytest.param("samg", False, marks=pytest.mark.slow)],
)
def test_the_online_loop_is_split_into_its_parts(phase, overlap, tmp_path):
    wanted = [tiny("iql", phase, seeds=2, overlap=overlap)]
    rows = run("online", wanted, tmp_path)
    shares = {name: one["median"] for name, one in rows[0]["shares"].items()}
    assert set(shares) == {"environment", "update", "evaluation", "rest"}
    least = 0 if overlap else 1e-6  # The device's work may hide the environments.
    assert all(share > 0 for name, share in shares.items() if name != "environment")
    assert shares["environment"] >= least
    assert rows[0]["overlap"] is overlap
    assert sum(shares.values()) == pytest.approx(1.0, abs=0.1)
    per_seed = rows[0]["steps_per_second"]["median"]
    assert rows[0]["summed"]["median"] == pytest.approx(2 * per_seed)


def test_rows_of_the_online_loop_are_compared_with_one_seed(tmp_path, monkeypatch):
    def measured(case, *_):
        summed = {"median": 30.0 if case.seeds > 1 else 20.0 - case.overlap}
        return {**case.describe(), "summed": summed}

    monkeypatch.setattr(measures.online_loop, "measure", measured)
    wanted = [
        tiny("iql", "vanilla", seeds=seeds, overlap=overlap)
        for seeds in (4, 1)
        for overlap in (False, True)
    ]
    request = measures.Request("online", [*wanted, tiny("bc", seeds=2)], CONFIGS)
    rows = [row for rows in measures._online(request, tmp_path) for row in rows]
    found = {(row["seeds"], row["overlap"]): row.get("over_one_seed") for row in rows}
    assert found == {
        (1, False): None,
        (1, True): None,
        (2, False): None,
        (4, False): pytest.approx(30 / 20),
        (4, True): pytest.approx(30 / 19),
    }


@pytest.mark.slow
def test_start_up_is_timed_with_and_without_compiled_programs(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    row = run("compile", [tiny("bc")], tmp_path, repeats=1)[0]
    for kind in ("cold", "warm"):
        stages = [
            row[kind][stage]["median"] for stage in measures.case_processes.STAGES
        ]
        assert all(seconds > 0 for seconds in stages)
        assert row[kind]["total"]["median"] == pytest.approx(sum(stages))


@pytest.mark.slow
def test_memory_holds_one_copy_of_the_data_whatever_the_seeds(tmp_path):
    wanted = [tiny("bc", seeds=seeds, rows=100_000) for seeds in (1, 4)]
    one, four = run("memory", wanted, tmp_path)
    # Rows at time limits are no transitions, and BC leaves the last thousand out then.
    columns = 4 * (2 * 17 + 6 + 3) * 99_000 / 1e6
    for row in (one, four):
        assert row["dataset_mb"] == pytest.approx(columns, rel=1e-3)
        others = row["arrays_mb"] - row["dataset_mb"] - row["state_mb"]
        assert 0 <= others < 0.1
        assert row["host_peak_mb"] >= row["host_before_mb"] > 10
    assert four["state_mb"] == pytest.approx(4 * one["state_mb"], rel=0.1)


def test_a_profile_lies_in_its_folder(tmp_path):
    out = tmp_path / "traces"
    rows = run("profile", [tiny("bc")], tmp_path, out=out)
    (row,) = rows
    assert row["updates"] > 0
    assert pathlib.Path(row["trace"]).is_relative_to(out)
    for name in ("*.xplane.pb", "perfetto_trace.json.gz"):
        (file,) = pathlib.Path(row["trace"]).rglob(name)
        assert file.stat().st_size > 1_000


def test_a_baseline_that_ends_is_an_error(tmp_path, monkeypatch):
    script = tmp_path / "ends.py"
    script.write_text("import sys; sys.exit(3)")
    monkeypatch.setattr(torch_process, "SCRIPT", script)
    task = benchmark_cases.experiment(tiny("iql"), CONFIGS).task
    with pytest.raises(RuntimeError, match="ended with status 3"):
        torch_process.Baseline(tiny("iql"), task, 16, 1)
