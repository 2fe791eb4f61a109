r"""Finished runs side by side.

    python -m samg_jax.report runs/finetune/*/* --out=table.md
    python -m samg_jax.report runs/offline/* --baseline=bc

Prints a Markdown table, with what was measured and with which versions.
"""

import pathlib
import sys

from absl import app, flags

from samg_jax.analysis import comparison, machine
from samg_jax.training import logs

BASELINE = flags.DEFINE_string(
    "baseline", None, "Algorithm; says who ends below it by two standard errors."
)
TITLE = flags.DEFINE_string("title", None, "Heading of the table.")
COMMAND = flags.DEFINE_string(
    "command", None, "What made the runs, to be written down."
)
OUT = flags.DEFINE_string("out", None, "Markdown file to write as well.")


def main(argv: list[str]) -> None:
    """Reports the runs whose workdirs are the arguments."""
    logs.quiet_libraries()
    try:
        text = describe([pathlib.Path(name).expanduser() for name in argv[1:]])
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(text, end="")
    if OUT.value:
        pathlib.Path(OUT.value).expanduser().write_text(text)


def describe(workdirs: list[pathlib.Path]) -> str:
    """Returns the report as Markdown."""
    if not workdirs:
        raise ValueError(
            "No runs were named; at least one is needed. Give their workdirs, as in "
            "python -m samg_jax.report runs/*."
        )
    outcomes = [comparison.read(workdir) for workdir in workdirs]
    parts = [f"# {TITLE.value}"] if TITLE.value else []
    parts.append(comparison.table(outcomes))
    if BASELINE.value:
        parts.append(comparison.below(outcomes, BASELINE.value))
    if COMMAND.value:
        parts.append(f"Command: `{COMMAND.value}`")
    about = machine.describe().items()
    parts.append("Machine: " + "; ".join(f"{name} {value}" for name, value in about))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    app.run(main)
