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
# These operations contain others, which are counted by themselves.
CONTAINERS = ("while", "conditional", "call")
PRODUCTS = " (matrix products)"
# The patterns by which the compiler's text shows a matrix product.
PRODUCT = re.compile(r"\bdot\(|__cublas|__onednn\$matmul")


def trace(
    program: timed_programs.Program, folder: pathlib.Path, calls: int
) -> pathlib.Path:
    """Writes a trace of some calls of a program; returns its file for Perfetto.

    Args:
        program: A program that has been called before.
        folder: The folder for `tensorboard --logdir`; the files lie deeper in it.
        calls: The number of calls.
    """
    with jax.profiler.trace(str(folder), create_perfetto_trace=True):
        for _ in range(calls):
            program.call()
    return max(folder.glob(f"plugins/profile/*/{PERFETTO}"))


def operations(program: timed_programs.Program, path: pathlib.Path) -> dict[str, float]:
    """Milliseconds of each kind of operation in a trace, the longest first.

    The times are summed over threads. A kind is the compiler's name without its number;
    a fused operation is named after its last operations. Matrix products are marked,
    including those that a library computes under another name.

    Args:
        program: The traced program.
        path: The file from `trace`.
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
    """The operations of a compiled program that contain matrix products.

    Args:
        text: The program in the compiler's text form.
    """
    holding, found = set(), set()  # A computation precedes its callers in the text.
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
