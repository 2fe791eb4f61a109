"""The notebook of examples/: its commands are right, and it runs as it stands."""

import ast
import json
import os
import pathlib
import re
import shlex
import time

import pytest

from samg_jax.experiment import command_line
from tests.fixtures import small_experiments

ROOT = pathlib.Path(__file__).parent.parent
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
CELLS = json.loads(NOTEBOOK.read_text())["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
COMMANDS = [text.removeprefix("!") for text in CODE if text.startswith("!")]
# Longer than the five minutes that it promises, as a CI shares its cores.
PATIENCE = 900
# Fields that make its runs tiny; the last of two equal flags wins.
TINY = {
    **small_experiments.fields("awac_samg", pathlib.Path("unused")),
    "online.warmup_steps": 25,
}


def variables():
    """What the notebook's Python cells before the commands assign."""
    (text,) = (each for each in CODE if each.startswith("SMALL"))
    return {"sys.executable": "python", "SMALL": ast.literal_eval(text[8:])}


def tiny_flags():
    """Flags that make the notebook's runs tiny, as a shell reads them."""
    own = {k: v for k, v in TINY.items() if k not in ("dataset.path", "env_id")}
    return "".join(
        " " + shlex.quote(f"--config.{name}={value}") for name, value in own.items()
    )


def words(command):
    """A command as the notebook's shell sees it, as words."""
    filled = re.sub(r"{([\w.]+)}", lambda name: variables()[name[1]], command)
    filled = filled.replace("\\\n", " ")
    return shlex.split(filled)


def test_notebook_holds_no_output_and_python_that_compiles():
    for cell in CELLS:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")
    for text in CODE:
        if not text.startswith("!"):
            ast.parse(text)


def test_commands_of_the_notebook_have_known_fields():
    assert len(COMMANDS) == 3
    for command in COMMANDS:
        python, flag, program, *arguments = words(command)
        assert (python, flag) == ("python", "-m")
        assert (ROOT / f"{program.replace('.', '/')}.py").is_file()
        if program == "samg_jax.train":
            command_line.check([program, *arguments])
            assert "--config.online.steps=4000" in arguments


@pytest.mark.parametrize(
    "tiny", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["tiny", "whole"]
)
def test_notebook_runs_and_shows_metrics_and_the_curve(tiny, tmp_path, monkeypatch):
    nbclient, nbformat = map(pytest.importorskip, ("nbclient", "nbformat"))
    pytest.importorskip("ipykernel")
    known = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), known])))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if tiny:
        (cell,) = (each for each in notebook.cells if each.source.startswith("SMALL"))
        cell.source += f"\nSMALL += {tiny_flags()!r}"
    client = nbclient.NotebookClient(
        notebook,
        timeout=PATIENCE,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    started = time.monotonic()
    client.execute()
    assert time.monotonic() - started < PATIENCE
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    text = "".join(output.get("text", "") for output in shown)
    assert "online" in text
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert "error" not in text.lower()
    for name in ("samg", "no_data"):
        assert (tmp_path / "runs" / name / "metrics.csv").is_file()
