"""Where a suite's results lie; needs nothing that the extra `report` brings."""

from __future__ import annotations

import pathlib

# The first that is there is read.
FILES = ("results.parquet", "results.csv")


def find(folder: pathlib.Path) -> pathlib.Path | None:
    """Returns the path of the folder's table; None where it has none."""
    paths = (folder / name for name in FILES)
    return next((path for path in paths if path.is_file()), None)
