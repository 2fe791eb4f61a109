"""What a save that failed leaves running: waited for, and kept off the terminal.

Orbax and TensorStore write in threads. If the disk is full, each of them reports the
same by itself, some only when the interpreter ends, behind the one line that says it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pathlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from absl import logging as absl_logging

from samg_jax import durable

WAIT = 30.0  # Seconds for the threads, all together.
# Messages of work that is given to a loop or a pool which the failed save closed.
CLOSED = ("Event loop is closed", "cannot schedule new futures after")
LOGGERS = ("absl", "asyncio")


@contextlib.contextmanager
def contained(folder: pathlib.Path) -> Iterator[None]:
    """Keeps what follows from a full disk in the block, and later, to one error.

    If the block succeeds or fails of something else, everything is reported as ever
    again afterward. After a full disk what follows from it stays silent, and nothing
    else.

    Args:
        folder: that the block writes into.
    """
    silence = _Silence(folder)
    silence.begin()
    try:
        yield
    except Exception as error:
        _wait()
        if durable.disk_error(error, folder, libraries=True) is None:
            silence.end()
        raise
    except BaseException:
        silence.end()
        raise
    else:
        silence.end()


def _wait() -> None:
    """Waits for Orbax's own threads, which end by themselves."""
    limit = time.monotonic() + WAIT
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("orbax."):
            thread.join(max(limit - time.monotonic(), 0.0))


class _Silence(logging.Filter):
    """Drops reports of what follows from a full disk, from wherever they come."""

    def __init__(self, folder: pathlib.Path):
        super().__init__()
        self._folder = folder
        self._before: dict[tuple, Callable] = {}

    def begin(self) -> None:
        # TensorStore's threads report through `sys.excepthook`.
        for module, name in (
            (sys, "excepthook"),
            (sys, "unraisablehook"),
            (threading, "excepthook"),
        ):
            self._before[module, name] = getattr(module, name)
            setattr(module, name, self._hook(getattr(module, name)))
        for name in LOGGERS:
            _logger(name).addFilter(self)

    def end(self) -> None:
        for (module, name), hook in self._before.items():
            setattr(module, name, hook)
        for name in LOGGERS:
            _logger(name).removeFilter(self)

    def _hook(self, before: Callable) -> Callable:
        def hook(*given):
            # `sys.excepthook` has three arguments, the others one with the names.
            error = given[1] if len(given) == 3 else given[0].exc_value
            if not self._follows(error):
                before(*given)

        return hook

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return not record.getMessage().startswith("Task was destroyed but it is")
        return not self._follows(error)

    def _follows(self, error: BaseException | None) -> bool:
        if isinstance(error, RuntimeError) and str(error).startswith(CLOSED):
            return True
        if isinstance(error, asyncio.CancelledError):
            return True
        return (
            error is not None
            and durable.disk_error(error, self._folder, libraries=True) is not None
        )


def _logger(name: str) -> logging.Logger:
    if name == "absl":
        return absl_logging.get_absl_logger()
    return logging.getLogger(name)
