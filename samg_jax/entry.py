"""How the programs start, the same as `python -m samg_jax.NAME` and as `samg-NAME`."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app


def start(
    main: Callable[[list[str]], Any],
    parse: Callable[[Sequence[str]], list[str]] | None = None,
    arguments: Sequence[str] = (),
) -> None:
    """Runs the main function of a program and exits.

    Args:
        main: takes the arguments that are no flags.
        parse: reads the flags of the command line; by default as absl does.
        arguments: are read before those of the command line.
    """
    # `python -m` finds a user's modules in the current folder; a script does not.
    if not sys.flags.safe_path and not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())
    parser = {"flags_parser": parse} if parse else {}
    app.run(main, argv=[sys.argv[0], *arguments, *sys.argv[1:]], **parser)
