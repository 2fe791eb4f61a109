"""Programs that differ and must give the same bits.

How a formula is rounded depends on what it is fused with.
"""

import os
import pathlib
import re
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parent


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        # Compiled quickly, but with the emitters that all other tests leave out.
        ("--xla_backend_optimization_level=0", "exact and not long"),
        pytest.param("", "exact", marks=pytest.mark.slow, id="as shipped"),
    ],
)
def test_programs_that_differ_give_the_same_bits(flags, chosen):
    paths = [
        str(path)
        for path in sorted(FOLDER.rglob("test_*.py"))
        if "@pytest.mark.exact" in path.read_text() and path != pathlib.Path(__file__)
    ]
    options = ["-c", str(FOLDER / "pytest.ini"), f"--rootdir={FOLDER.parent}"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-n", "0", "-m", chosen, *paths],
        cwd=FOLDER.parent,
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-1000:]
    passed = re.search(r"(\d+) passed", result.stdout)
    assert int(passed[1]) > len(paths), result.stdout[-500:]
