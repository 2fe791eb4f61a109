r"""Measures the trainer: updates, the online loop, start-up, memory; or profiles it.

    python -m samg_jax.benchmark updates --algorithms=awac,iql --seeds=1,4 --threads=2 \
        --baseline=torch --out=updates.json
    python -m samg_jax.benchmark online --algorithms=awac --seeds=8 --overlap=off,on
    python -m samg_jax.benchmark compile
    python -m samg_jax.benchmark memory
    python -m samg_jax.benchmark profile --algorithms=cql --seeds=1 --out=traces

The programs that training compiles are timed, on random data of a task's shapes.
It prints a Markdown table. `--out` writes the table, and all measurements as JSON, also
if the program is stopped. Measure on a machine that does nothing else.
"""

from __future__ import annotations

import os
import pathlib
import shlex
import sys
import tempfile
from collections.abc import Sequence

from absl import flags

from samg_jax import checks, declarations, lazy, logs, startup
from samg_jax.experiment import command_line, config_files
from samg_jax.runs import signals

benchmark_cases = lazy.module("samg_jax.benchmarking.benchmark_cases")
measures = lazy.module("samg_jax.benchmarking.measures")
report_files = lazy.module("samg_jax.benchmarking.report_files")
benchmark_tables = lazy.module("samg_jax.benchmarking.benchmark_tables")
compilation = lazy.module("samg_jax.compilation")

KINDS = tuple(declarations.load("benchmarking.measures").constant("KINDS"))
OF_COMPILATION = declarations.load("compilation")

ALGORITHMS = flags.DEFINE_list(
    "algorithms",
    list(declarations.load("benchmarking.benchmark_cases").constant("ALGORITHMS")),
    "The algorithms to measure.",
)
PHASES = flags.DEFINE_list(
    "phases",
    None,
    "What to measure of offline, vanilla, no_data, samg. By default offline; no_data "
    "and samg if guidance is compared; vanilla and samg for `online`.",
)
FAMILIES = flags.DEFINE_list(
    "families",
    None,
    "Shapes: locomotion, antmaze; by default both, for `profile` the first.",
)
SEEDS = flags.DEFINE_list(
    "seeds",
    None,
    "Numbers of seeds in one process; by default 1,4,16,64, for some measures 1.",
)
BATCH_SIZES = flags.DEFINE_list(
    "batch_sizes", None, "Batch sizes; by default the configs'."
)
ROWS = flags.DEFINE_list("rows", ["200000"], "Rows of the random offline data.")
UTD = flags.DEFINE_list("utd", ["1"], "Updates per environment step, for `online`.")
OVERLAP = flags.DEFINE_list(
    "overlap",
    ["off"],
    "`online.overlap`, for `online`: off, on, or both, with a row for each.",
)
REPEATS = command_line.define_integer(
    "repeats", 7, "Timed repeats; for `online`, laps.", 1
)
SECONDS = flags.DEFINE_float("seconds", 1.0, "Seconds of one repeat of `updates`.", 0.0)
STEPS = command_line.define_integer("steps", 1_000, "Environment steps of a lap.", 1)
BASELINE = flags.DEFINE_string(
    "baseline", None, "`torch` times eager PyTorch in turns with our updates."
)
THREADS = command_line.define_integer(
    "threads", None, "Cores for our updates and for the baseline; by default all.", 1
)
PRECISION = flags.DEFINE_enum(
    "matmul_precision",
    OF_COMPILATION.constant("DEFAULT_PRECISION"),
    list(OF_COMPILATION.constant("PRECISIONS")),
    "The precision of our matrix products, as the config's field; PyTorch's stay in "
    "float32.",
)
CONFIGS = flags.DEFINE_string(
    "configs", None, "Folder of the config files; by default the package's own."
)
OUT = flags.DEFINE_string(
    "out",
    None,
    "The JSON file to write, with a .md file beside it; for `profile` a folder. Rows "
    "are in NAME.unfinished.json until all are measured; only then is NAME.json "
    "replaced. A measurement that was stopped is not continued.",
)
SWITCH = {"off": False, "on": True}
# Flags that not all kinds read.
READ_BY = (
    (UTD, ("online",)),
    (OVERLAP, ("online",)),
    (STEPS, ("online",)),
    (REPEATS, ("updates", "online", "compile", "profile")),
    (SECONDS, ("updates", "profile")),
)


def main(argv: list[str]) -> None:
    """Measures what the flags describe."""
    logs.quiet_libraries()
    with checks.program():
        request = parse(argv[1:])
        measures.check(request)
        measures.limit(request.threads)
        if measures.KINDS[request.kind].apart:
            startup.check_platforms()
        else:
            compilation.start()
        compilation.use_cache(compilation.DEFAULT_CACHE)
    command = shlex.join(["python", "-m", "samg_jax.benchmark", *sys.argv[1:]])
    stopped = report_files.stopped(request.kind, request.out)
    ended = stopped.replace("Interrupted", "Terminated", 1)
    with signals.program(stopped, ended), tempfile.TemporaryDirectory() as folder:
        report = measures.run(request, pathlib.Path(folder), command)
    print(benchmark_tables.describe(report))


def refuse(given: Sequence[flags.FlagHolder], kind: str, remedy: str) -> None:
    """Raises UserError where a flag was given that this kind does not read."""
    for flag in given:
        if flag.present:
            raise checks.UserError(
                f"--{flag.name} was given with {kind}, which does not read it. Leave "
                f"it out; {remedy}."
            )


def parse(arguments: list[str]) -> measures.Request:
    """The request of the flags; raises UserError for what is not one."""
    if len(arguments) != 1 or arguments[0] not in KINDS:
        hint = checks.hint(arguments[0], KINDS) if arguments else ""
        raise checks.UserError(
            f"The arguments are {' '.join(arguments) or 'empty'}. Allowed is one of "
            f"{', '.join(KINDS)}. {hint}Write, for example, python -m "
            "samg_jax.benchmark updates; suites are run by python -m samg_jax.suite."
        )
    kind = measures.KINDS[arguments[0]]
    for flag, kinds in READ_BY:
        if arguments[0] not in kinds:
            refuse([flag], arguments[0], f"it is read by {', '.join(kinds)} alone")
    families = kind.families if FAMILIES.value is None else FAMILIES.value
    phases = kind.usual if PHASES.value is None else PHASES.value
    seeds = kind.seeds if SEEDS.value is None else SEEDS.value
    benchmark_cases.check_names("overlap", OVERLAP.value, list(SWITCH))
    benchmark_cases.check_names(
        "algorithms", ALGORITHMS.value, benchmark_cases.ALGORITHMS
    )
    benchmark_cases.check_names("families", families, list(benchmark_cases.DATASETS))
    benchmark_cases.check_names("phases", phases, kind.phases)
    batch_sizes = [None]
    if BATCH_SIZES.value is not None:
        batch_sizes = benchmark_cases.positive_integers(
            "batch_sizes", BATCH_SIZES.value
        )
    return measures.Request(
        kind=arguments[0],
        cases=benchmark_cases.product(
            ALGORITHMS.value,
            phases,
            family=families,
            batch_size=batch_sizes,
            rows=benchmark_cases.positive_integers("rows", ROWS.value),
            updates_per_step=benchmark_cases.positive_integers("utd", UTD.value),
            seeds=benchmark_cases.positive_integers("seeds", seeds),
            overlap=[SWITCH[name] for name in OVERLAP.value],
        ),
        configs=config_files.folder(CONFIGS.value),
        repeats=REPEATS.value,
        seconds=SECONDS.value,
        steps=STEPS.value,
        baseline=BASELINE.value,
        threads=THREADS.value,
        matmul_precision=PRECISION.value,
        out=OUT.value and pathlib.Path(OUT.value).expanduser(),
    )


def run() -> None:
    """Runs the program with the arguments of the command line."""
    if sys.argv[1:2] == ["suite"]:  # As it was spelled before.
        message = "`samg_jax.benchmark suite` is now `python -m samg_jax.suite`."
        print(message, file=sys.stderr, flush=True)
        program = [sys.executable, "-m", "samg_jax.suite", *sys.argv[2:]]
        os.execv(sys.executable, program)
    command_line.run(main, positional=True)


if __name__ == "__main__":
    run()
