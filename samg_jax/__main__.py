"""Lists the programs of the package: `python -m samg_jax`."""

import ast
import pathlib
import sys

PROGRAMS = (
    *("train", "suite", "evaluate", "collect", "diagnose", "report", "benchmark"),
    *("coverage", "paper.tabular"),
)
HERE = pathlib.Path(__file__).parent


def describe() -> str:
    """One line for each program, which is the first one of its documentation."""
    lines = ["Programs of samg_jax; each explains its flags with --help:", ""]
    for name in PROGRAMS:
        # Parsed, not imported, which would take seconds.
        text = (HERE / f"{name.replace('.', '/')}.py").read_text()
        first = ast.get_docstring(ast.parse(text)).splitlines()[0]
        lines.append(f"  python -m {f'samg_jax.{name}':<26}{first}")
    lines += [
        "",
        "All but the last two are also commands: `samg-train` for `python -m",
        "samg_jax.train`, and so on.",
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Prints the list, whatever help is asked for."""
    print(describe())
    unknown = [text for text in arguments if text not in ("-h", "--help", "help")]
    if unknown:
        sys.exit(
            f"error: The arguments are {' '.join(unknown)}. None is allowed here. "
            "Start one of the programs above."
        )


if __name__ == "__main__":
    main(sys.argv[1:])
