"""Where a suite's results lie; needs nothing that the extra `report` brings."""

from __future__ import annotations

import pathlib

# The first that is there is read.
FILES = ("results.parquet", "results.csv")


def find(folder: pathlib.Path) -> pathlib.Path | None:
    """Returns the path of the folder's table; None where it has none."""
    return next(iter(there(folder)), None)


def there(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the paths of the folder's tables, the first to be read first."""
    paths = (folder / name for name in FILES)
    return [path for path in paths if path.is_file()]
