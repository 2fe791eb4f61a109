"""The package's log: lines above the progress bar, and the same in a file."""

from __future__ import annotations

import contextlib
import io
import logging
import pathlib
import sys
import tempfile
import traceback
from collections.abc import Iterator

from absl import logging as absl_logging
from tqdm import tqdm

from samg_jax import checks, durable

LOGGER = logging.getLogger("samg_jax")


class _Formatter(logging.Formatter):
    """Spells fields of the config as flags, as the programs' error line does."""

    def format(self, record: logging.LogRecord) -> str:
        return checks.with_flags(super().format(record))


class _AboveTheBar(logging.Handler):
    """Prints without breaking a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record))


class _File(logging.FileHandler):
    """A log file that stops silently on a full disk, which is reported elsewhere."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)  # This is a bug of ours.
            return
        tqdm.write(f"no more log in {self.baseFilename}: {error.strerror}")
        self.setLevel(logging.CRITICAL + 1)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # Closing may still flush.
            super().close()


def quiet_libraries() -> None:
    """Keeps JAX's and Orbax's reports of every step out of the terminal.

    Characters that the terminal cannot show, in a file name or a table, are escaped
    instead of ending the program.
    """
    absl_logging.set_verbosity(absl_logging.WARNING)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _open(path: pathlib.Path) -> _File:
    with durable.writing(path.absolute().parent):
        file = _File(path, errors="backslashreplace")
    file.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s"))
    return file


def trace(error: BaseException) -> str | None:
    """Writes a traceback into the open log file, and not to the terminal.

    Returns:
        The name of the log file; None if none is open, and nothing is written.
    """
    name = None
    for handler in LOGGER.handlers:
        if isinstance(handler, _File):
            _write(handler, error)
            name = handler.baseFilename
    return name


def keep(error: BaseException) -> str:
    """Writes a traceback to a temporary file and returns the file's name.

    If that fails, the traceback goes to the terminal.
    """
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="samg_jax_traceback_",
            suffix=".txt",
            delete=False,
            errors="backslashreplace",
        ) as file:
            file.write(text)
    except OSError:
        tqdm.write(text, file=sys.stderr)
        return "the lines above"
    return file.name


def append(path: pathlib.Path, error: BaseException) -> None:
    """Appends a traceback to a log file that is not open."""
    file = _open(path)
    _write(file, error)
    file.close()


def _write(file: _File, error: BaseException) -> None:
    text = "".join(traceback.format_exception(error))
    file.handle(LOGGER.makeRecord(LOGGER.name, logging.ERROR, "", 0, text, (), None))


@contextlib.contextmanager
def to_file(path: pathlib.Path) -> Iterator[None]:
    """Sends the log to the terminal and appends it to `path`, inside the block."""
    terminal, file = _AboveTheBar(), _open(path)
    terminal.setFormatter(_Formatter("%(message)s"))
    before = LOGGER.level, LOGGER.propagate
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    for handler in (terminal, file):
        LOGGER.addHandler(handler)
    try:
        yield
    except Exception as error:
        # The terminal has its own report; the file would miss it.
        trace(error)
        raise
    finally:
        for handler in (terminal, file):
            LOGGER.removeHandler(handler)
        file.close()
        LOGGER.setLevel(before[0])
        LOGGER.propagate = before[1]
