"""The processes of jobs that this one has started, and stopping them in order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence

# Seconds until a process that was told to stop is killed. One that is interrupted ends
# at its next step; one that is terminated saves first.
GRACE = {signal.SIGINT: 10.0, signal.SIGTERM: 300.0}


class Processes:
    """Runs processes from threads, and stops all of them.

    Each is in a session of its own: what is typed at the terminal reaches the parent
    alone, which then tells each of them once.

    Attributes:
        stopped: whether they were, and none is started any more.
    """

    def __init__(self):
        self.stopped = False
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen] = set()

    def run(self, program: Sequence[str], **options) -> int:
        """Runs a program to its end and returns its exit status.

        Args:
            program: with its arguments.
            **options: of `subprocess.Popen`.

        Raises:
            KeyboardInterrupt: they were stopped.
        """
        with self._lock:
            if self.stopped:
                raise KeyboardInterrupt
            process = subprocess.Popen(program, start_new_session=True, **options)
            self._running.add(process)
        try:
            return process.wait()
        except BaseException:  # In the main thread: of a signal.
            self.stop(signal.SIGTERM)
            raise
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self, number: signal.Signals) -> None:
        """Tells all to stop and waits until they have; kills those that do not.

        Args:
            number: SIGINT, or SIGTERM for those that shall save first.
        """
        with self._lock:
            self.stopped = True
            running = list(self._running)
        for process in running:
            process.send_signal(number)
        end = time.monotonic() + GRACE[number]
        try:
            for process in running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(end - time.monotonic(), 0.0))
        finally:  # Also at once, if the user insists.
            for process in running:
                if process.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
