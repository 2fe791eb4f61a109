"""Rows of a run's tables, read so that what is damaged is named."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Iterator, Sequence

from samg_jax import checks


def read(path: pathlib.Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yields the rows of a CSV file.

    Args:
        path: of the file.
        columns: that it must have; it may have more.

    Raises:
        checks.UserError: it is missing, is no table, or a row is not whole.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restkey=None, strict=True)
            missing = sorted(set(columns) - set(reader.fieldnames or ()))
            if missing:
                raise damaged(path, f"it has no column {', '.join(missing)}")
            for row in reader:
                if None in row or None in row.values():
                    raise damaged(path, f"line {reader.line_num} is not whole")
                yield row
    except OSError as error:
        raise damaged(path, error.strerror) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise damaged(path, str(error)) from error


def damaged(path: pathlib.Path, reason: str) -> checks.UserError:
    """The error that names a table of a run, what is wrong, and the remedy."""
    return checks.UserError(
        f"{path} cannot be read: {reason}. It must be as the run wrote it. Restore the "
        "file, or give the run's own command again, which says what can be mended."
    )
