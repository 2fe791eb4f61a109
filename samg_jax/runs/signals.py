"""Ctrl-C and SIGTERM: where a run may stop, and what is finished before it does.

Programs install the handlers, through `program` or `handled`; without them, in a
notebook or a thread of somebody else's program, everything here does nothing.

Ctrl-C stops at once, but never amid a checkpoint: `finished_first` finishes it.
An exception that a library's callback swallows comes again a moment later.
SIGTERM, which schedulers send before they kill, waits in `at_boundaries` for the next
place where all state is consistent; the loops ask there and save. A second SIGTERM does
not wait.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from samg_jax import checks

TERMINATED = 143  # Exit status, as shells have it: 128 + SIGTERM.
AGAIN = 0.1  # Seconds until a signal comes again whose exception was lost.
NOTICE = "\nSIGTERM: saving a checkpoint, then ending.\n"


class Terminated(KeyboardInterrupt):
    """SIGTERM has ended the program, and what was to be saved before is saved."""


class _Stops:
    """What was asked of this process, of which signals are; there is one."""

    def __init__(self):
        self.protected = self.waiting = 0  # Blocks that are open.
        self.pending: type[KeyboardInterrupt] | None = None
        self.asked = self.interrupted = False
        self.timer: threading.Timer | None = None
        self.report = sys.unraisablehook

    def interrupt(self, number, frame) -> None:
        del number, frame
        self.interrupted = True
        self._stop(KeyboardInterrupt)

    def terminate(self, number, frame) -> None:
        del number, frame
        if self.waiting and not self.asked:
            self.asked = True
            # No print: the signal may have come amid one.
            with contextlib.suppress(OSError):
                os.write(2, NOTICE.encode())
            return
        self._stop(Terminated)

    def _stop(self, kind) -> None:
        if not self.protected:
            raise kind
        self.pending = kind

    def unraisable(self, lost: Any) -> None:
        """Sends a signal again whose exception a callback or a finalizer swallowed."""
        kind = lost.exc_type
        if not (isinstance(kind, type) and issubclass(kind, KeyboardInterrupt)):
            self.report(lost)
            return
        number = signal.SIGTERM if issubclass(kind, Terminated) else signal.SIGINT
        main = threading.main_thread().ident
        self.timer = threading.Timer(AGAIN, signal.pthread_kill, (main, number))
        self.timer.daemon = True
        self.timer.start()

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.asked, self.interrupted = False, False
        self.pending = self.timer = None


_STOPS = _Stops()


@contextlib.contextmanager
def handled(
    words: str = "Terminated. The same command goes on from the last checkpoint.",
) -> Iterator[None]:
    """Handles the signals of a program in the block; ends it with 143 on SIGTERM.

    Args:
        words: what to say then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs handlers in the main thread alone.
        return
    handlers = {signal.SIGINT: _STOPS.interrupt, signal.SIGTERM: _STOPS.terminate}
    # What the parent wants ignored, as nohup and shells do for background jobs, is.
    before = {
        number: signal.signal(number, handler)
        for number, handler in handlers.items()
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    hook = sys.unraisablehook
    if hook != _STOPS.unraisable:  # Not within another block.
        _STOPS.report, sys.unraisablehook = hook, _STOPS.unraisable
    try:
        yield
    except Terminated:
        print(words, file=sys.stderr, flush=True)
        sys.exit(TERMINATED)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook
        _STOPS.close()


@contextlib.contextmanager
def program(
    interrupted: str = "Interrupted.", terminated: str = "Terminated."
) -> Iterator[None]:
    """Ends a program with one line at a `UserError`, at Ctrl-C and at SIGTERM.

    Args:
        interrupted: what to say after Ctrl-C.
        terminated: what to say after SIGTERM.
    """
    with checks.program(interrupted), handled(terminated):
        yield


@contextlib.contextmanager
def finished_first() -> Iterator[None]:
    """Finishes the block before a signal that comes meanwhile takes effect."""
    _STOPS.protected += 1
    try:
        yield
    finally:
        _STOPS.protected -= 1
        kind = _STOPS.pending
        if kind is not None and not _STOPS.protected:
            _STOPS.pending = None
            raise kind


@contextlib.contextmanager
def at_boundaries() -> Iterator[None]:
    """Lets a first SIGTERM wait until the block asks `asked`, and saves."""
    _STOPS.waiting += 1
    try:
        yield
    finally:
        _STOPS.waiting -= 1


def asked() -> bool:
    """Whether the program is to save and end.

    Raises:
        KeyboardInterrupt: Ctrl-C came amid a callback of a library, which lost it.
    """
    if _STOPS.interrupted:
        raise KeyboardInterrupt
    return _STOPS.asked


def stop_if_asked() -> None:
    """Ends the program if it is to end; everything is saved."""
    if asked():
        raise Terminated
