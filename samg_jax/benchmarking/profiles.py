"""Traces of the trainer's programs, for TensorBoard and Perfetto."""

from __future__ import annotations

import collections
import gzip
import json
import pathlib
import re

import jax

from samg_jax.benchmarking import timed_programs

PERFETTO = "perfetto_trace.json.gz"
# They span the operations inside of them, which are counted by themselves.
CONTAINERS = ("while", "conditional", "call")
PRODUCTS = " (matrix products)"
# What the compiler's text has where a product is computed.
PRODUCT = re.compile(r"\bdot\(|__cublas|__onednn\$matmul")


def trace(
    program: timed_programs.Program, folder: pathlib.Path, calls: int
) -> pathlib.Path:
    """Writes a trace of some calls of a program; returns its file for Perfetto.

    Args:
        program: warm.
        folder: for `tensorboard --logdir`; the files lie deeper in it.
        calls: how many.
    """
    with jax.profiler.trace(str(folder), create_perfetto_trace=True):
        for _ in range(calls):
            program.call()
    return max(folder.glob(f"plugins/profile/*/{PERFETTO}"))


def operations(program: timed_programs.Program, path: pathlib.Path) -> dict[str, float]:
    """Kind of operation -> milliseconds in a trace, the longest first.

    Summed over threads. A kind is the compiler's name without its number; what is fused
    is named after its last operations. Matrix products are marked as such, also those
    that a library computes under a name of its own.

    Args:
        program: that was traced.
        path: from `trace`.
    """
    text = program.compiled.as_text()
    products = matrix_products(text)
    known = set(re.findall(r"^\s*(?:ROOT )?%?([\w.-]+) = ", text, re.MULTILINE))
    with gzip.open(path, "rt") as file:
        events = json.load(file)["traceEvents"]
    kinds: dict[str, float] = collections.defaultdict(float)
    for event in events:
        if event.get("ph") != "X":
            continue
        name = event.get("args", {}).get("hlo_op", event["name"])
        kind = re.sub(r"\.\d+$", "", name)
        if name in known and kind not in CONTAINERS:
            if name in products:
                kind += PRODUCTS
            kinds[kind] += event["dur"] / 1e3
    return dict(sorted(kinds.items(), key=lambda item: -item[1]))


def matrix_products(text: str) -> set[str]:
    """Which operations of a compiled program have matrix products inside.

    Args:
        text: of the program, as the compiler gives it.
    """
    holding, found = set(), set()  # Computations come before what calls them.
    computation = None
    for line in text.splitlines():
        if line and not line[0].isspace():
            begins = re.match(r"(?:ENTRY )?%?([\w.-]+) ", line)
            computation = begins and begins[1]
        operation = re.match(r"\s+(?:ROOT )?%?([\w.-]+) = ", line)
        if operation is None:
            continue
        called = re.search(r" fusion\(.*calls=%?([\w.-]+)", line)
        if PRODUCT.search(line) or (called and called[1] in holding):
            found.add(operation[1])
            holding.add(computation)
    return found
