"""Benchmark reports as Markdown: one table, then machine and command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from samg_jax import provenance
from samg_jax.results import markup

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], Any]]

NONE = "–"  # noqa: RUF001
CASE: tuple[Column, ...] = (
    ("shapes", lambda row: row["family"]),
    ("algorithm", lambda row: row["algorithm"]),
    ("phase", lambda row: row["phase"]),
    ("seeds", lambda row: row["seeds"]),
)
SIZES: tuple[Column, ...] = (
    ("batch", lambda row: row["batch_size"]),
    ("rows", lambda row: row["rows"]),
)


def number(name: str, digits: int = 1, factor: float = 1.0) -> Callable[[Row], str]:
    """A column of a number, or of a summary with its spread."""

    def cell(row: Row) -> str:
        value = row
        for part in name.split("."):
            value = value.get(part) if value is not None else None
        if value is None:
            return NONE
        if not isinstance(value, Mapping):
            return f"{factor * value:,.{digits}f}"
        median, spread = (factor * value[key] for key in ("median", "spread"))
        return f"{median:,.{digits}f} ± {spread:,.{digits}f}"

    return cell


def _percent(name: str) -> Callable[[Row], str]:
    return number(name, 0, 100.0)


def _cost(row: Row) -> str:
    ratio = row.get("guidance_cost")
    if ratio is None:
        return NONE
    return f"{100 * (ratio['median'] - 1):+.0f} ± {100 * ratio['spread']:.0f}"


def _share_of_peak(row: Row) -> str:
    cell = _percent("share_of_peak")(row)
    return f"{cell} (!)" if _exceeds(row) else cell


def _exceeds(row: Row) -> bool:
    return row.get("share_of_peak", 0.0) > 1.0


COLUMNS: dict[str, tuple[Column, ...]] = {
    "updates": (
        *CASE,
        *SIZES,
        ("updates/s per seed", number("per_seed")),
        ("summed", number("summed")),
        ("x one seed", number("over_one_seed", 2)),
        ("PyTorch updates/s", number("baseline")),
        ("x PyTorch", number("over_baseline", 2)),
        ("guidance, % of time", _cost),
        ("MFLOP", number("mflop_per_update", 0)),
        ("GFLOP/s", number("gflops")),
        ("matmul peak", number("peak_gflops")),
        ("% of peak", _share_of_peak),
        ("square peak", number("square_peak_gflops")),
        ("% of square peak", _percent("share_of_square_peak")),
        ("updates per call", lambda row: row["chunk"]),
    ),
    "online": (
        *CASE,
        ("batch", lambda row: row["batch_size"]),
        ("UTD", lambda row: row["updates_per_step"]),
        ("overlap", lambda row: "on" if row["overlap"] else "off"),
        ("steps/s per seed", number("steps_per_second")),
        ("summed", number("summed")),
        ("x one seed", number("over_one_seed", 2)),
        ("environment %", _percent("shares.environment")),
        ("update %", _percent("shares.update")),
        ("evaluation %", _percent("shares.evaluation")),
        ("rest %", _percent("shares.rest")),
    ),
    "compile": (
        *CASE,
        ("cold s", number("cold.total")),
        ("of it imports", number("cold.imports")),
        ("data", number("cold.data")),
        ("state", number("cold.state")),
        ("compilation", number("cold.compilation")),
        ("warm s", number("warm.total")),
        ("of it imports ", number("warm.imports")),
        ("data ", number("warm.data")),
        ("state ", number("warm.state")),
        ("compilation ", number("warm.compilation")),
    ),
    "memory": (
        *CASE,
        *SIZES,
        ("dataset MB", number("dataset_mb")),
        ("state MB", number("state_mb")),
        ("all arrays MB", number("arrays_mb")),
        ("program MB", number("program_mb")),
        ("device peak MB", number("device_peak_mb")),
        ("host peak MB", number("host_peak_mb", 0)),
        ("host before data MB", number("host_before_mb", 0)),
    ),
    "profile": (
        *CASE,
        ("updates", lambda row: row["updates"]),
        ("trace", lambda row: row["trace"]),
    ),
}
NOTES = {
    "updates": "`no_data` and `samg` train on the same online data, without guidance "
    "and with it. % of peak: of matrix products of the shapes of the widest layers, by "
    "themselves; of square peak: of a product of large square matrices. "
    "x one seed, x PyTorch: summed updates/s over those of one of our seeds, of one "
    "PyTorch process.",
    "online": "Shares of an environment step; evaluations and checkpoints are counted "
    "as often as the config has them. `update`: the host waits for the device; "
    "`rest`: logs, checkpoints and Python. With overlap `environment` is what the loop "
    "waits for environments that are done later than the device; stepping that the "
    "device's work hides is in no part. The replay buffer has a row per step of these "
    "short runs. x one seed: summed steps/s over those of one "
    "seed.",
    "compile": "From the start of the process to the end of the first call, of ten "
    "updates offline; cold: without compiled programs of earlier runs.",
    "memory": "Program: what one compiled call holds at once, by the compiler. Device "
    "peak: where the device counts it. Host: of the process.",
    "profile": "TensorBoard with `xprof` shows a trace: `tensorboard --logdir=TRACE`; "
    "ui.perfetto.dev opens its file `perfetto_trace.json.gz`.",
}
SPREAD = " Values are medians ± half of the interquartile range."
EXCEEDING = (
    "(!): above 100 %. These products were slower by themselves, where each writes "
    "its result to memory and reads it back, than between the other work of an update. "
    "The share says nothing there; that of the square peak does."
)


def describe(report: Mapping[str, Any]) -> str:
    """A report, with the content of its JSON file, in Markdown."""
    kind = report["kind"]
    state = "" if report["finished"] else ", unfinished"
    circumstances = f"products in {report['matmul_precision']}; load {report['load']}"
    note = [EXCEEDING] if any(map(_exceeds, report["rows"])) else []
    return "\n\n".join(
        [
            f"# Benchmark: {kind}{state}",
            table(COLUMNS[kind], report["rows"]),
            NOTES[kind] + (SPREAD if kind != "profile" else ""),
            *note,
            f"Command: {markup.markdown_code(report['command'])}",
            f"{provenance.text(report['machine'])}; {circumstances}",
        ]
    )


def table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """A Markdown table without the columns that are empty in all rows."""
    cells = {name: [str(cell(row)) for row in rows] for name, cell in columns}
    used = {name: column for name, column in cells.items() if {*column} != {NONE}}
    return markup.markdown_table([*used], [*zip(*used.values(), strict=True)])
