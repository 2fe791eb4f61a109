"""Programs that differ and must give the same bits, compiled so that they can."""

import os
import pathlib
import re
import subprocess
import sys

FOLDER = pathlib.Path(__file__).parent


def test_programs_that_differ_give_the_same_bits():
    # How a formula is rounded depends on what it is fused with. Without optimisation,
    # and with the emitters that all other tests leave out, both programs do it alike.
    chosen = [
        str(path)
        for path in sorted(FOLDER.rglob("test_*.py"))
        if "@pytest.mark.exact" in path.read_text() and path != pathlib.Path(__file__)
    ]
    options = ["-c", str(FOLDER / "pytest.ini"), f"--rootdir={FOLDER.parent}"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-n", "0", "-m", "exact", *chosen],
        cwd=FOLDER.parent,
        env={**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-1000:]
    passed = re.search(r"(\d+) passed", result.stdout)
    assert int(passed[1]) > len(chosen), result.stdout[-500:]
