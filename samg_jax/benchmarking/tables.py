"""Measurements as Markdown: one table, then machine and command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

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


def _value(name: str, digits: int = 1, factor: float = 1.0) -> Callable[[Row], str]:
    """Returns the column of a number, or of a summary with its spread."""

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
    return _value(name, 0, 100.0)


def _cost(row: Row) -> str:
    ratio = row.get("guidance_cost")
    if ratio is None:
        return NONE
    return f"{100 * (ratio['median'] - 1):+.0f} ± {100 * ratio['spread']:.0f}"


COLUMNS: dict[str, tuple[Column, ...]] = {
    "updates": (
        *CASE,
        *SIZES,
        ("updates/s per seed", _value("per_seed")),
        ("summed", _value("summed")),
        ("x one seed", _value("over_one_seed", 2)),
        ("PyTorch updates/s", _value("baseline")),
        ("x PyTorch", _value("over_baseline", 2)),
        ("guidance, % of time", _cost),
        ("MFLOP", _value("mflop_per_update", 0)),
        ("GFLOP/s", _value("gflops")),
        ("matmul peak", _value("peak_gflops")),
        ("% of peak", _percent("share_of_peak")),
        ("updates per call", lambda row: row["chunk"]),
    ),
    "online": (
        *CASE,
        ("batch", lambda row: row["batch_size"]),
        ("UTD", lambda row: row["updates_per_step"]),
        ("steps/s per seed", _value("steps_per_second")),
        ("summed", _value("summed")),
        ("environment %", _percent("shares.environment")),
        ("update %", _percent("shares.update")),
        ("evaluation %", _percent("shares.evaluation")),
        ("rest %", _percent("shares.rest")),
    ),
    "compile": (
        *CASE,
        ("cold s", _value("cold.total")),
        ("of it imports", _value("cold.imports")),
        ("data", _value("cold.data")),
        ("state", _value("cold.state")),
        ("compilation", _value("cold.compilation")),
        ("warm s", _value("warm.total")),
        ("of it imports ", _value("warm.imports")),
        ("data ", _value("warm.data")),
        ("state ", _value("warm.state")),
        ("compilation ", _value("warm.compilation")),
    ),
    "memory": (
        *CASE,
        *SIZES,
        ("dataset MB", _value("dataset_mb")),
        ("state MB", _value("state_mb")),
        ("all arrays MB", _value("arrays_mb")),
        ("program MB", _value("program_mb")),
        ("device peak MB", _value("device_peak_mb")),
        ("host peak MB", _value("host_peak_mb", 0)),
        ("host before data MB", _value("host_before_mb", 0)),
    ),
    "profile": (
        *CASE,
        ("operations", lambda row: row["operation"]),
        ("ms per update", _value("milliseconds", 3)),
        ("% of all", _percent("share")),
    ),
}
NOTES = {
    "updates": "`no_data` and `samg` train on the same online data, without guidance "
    "and with it. % of peak: of matrix products of the shapes of the widest layers. "
    "x one seed, x PyTorch: summed updates/s over those of one of our seeds, of one "
    "PyTorch process.",
    "online": "Shares of an environment step; evaluations and checkpoints are counted "
    "as often as the config has them. `update`: the host waits for the device; "
    "`rest`: logs, checkpoints and Python.",
    "compile": "From the start of the process to the end of the first update; cold: "
    "without compiled programs of earlier runs.",
    "memory": "Program: what one compiled call holds at once, by the compiler. Device "
    "peak: where the device counts it. Host: of the process.",
    "profile": "Summed over threads; a fused operation is named after its last ones.",
}


def describe(report: Mapping[str, Any]) -> str:
    """Returns a report, as the JSON has it, in Markdown."""
    kind = report["kind"]
    state = "" if report["finished"] else ", unfinished"
    about = "; ".join(f"{name} {value}" for name, value in report["machine"].items())
    circumstances = f"products in {report['matmul_precision']}; load {report['load']}"
    return "\n\n".join(
        [
            f"# Benchmark: {kind}{state}",
            table(COLUMNS[kind], report["rows"]),
            f"{NOTES[kind]} Values are medians ± half of the interquartile range.",
            f"Command: `{report['command']}`",
            f"Machine: {about}; {circumstances}",
        ]
    )


def table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Returns a Markdown table, without the columns that are empty in all rows."""
    cells = {name: [str(cell(row)) for row in rows] for name, cell in columns}
    used = {name: column for name, column in cells.items() if {*column} != {NONE}}
    lines = [[*used], ["---"] * len(used), *zip(*used.values(), strict=True)]
    return "\n".join(f"| {' | '.join(map(str.strip, line))} |" for line in lines)
