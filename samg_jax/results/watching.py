"""A report that follows a suite while it runs."""

from __future__ import annotations

import pathlib
import time

from samg_jax import checks
from samg_jax.results import report_page, suite_location


def watch(
    folder: pathlib.Path,
    out: pathlib.Path,
    reps: int,
    every_s: float,
    limit_s: float | None = None,
) -> int:
    """Writes the report whenever the results change; returns how often it did.

    The page reloads by itself as long as it is watched. Results that cannot be reported
    yet are waited for, saying why.

    Args:
        folder: of the suite.
        out: folder of the report.
        reps: resamples of every bootstrap.
        every_s: seconds between two looks.
        limit_s: seconds after which it ends; None for Ctrl-C alone.
    """
    began, seen, count = time.monotonic(), None, 0
    try:
        while True:
            now = _stamp(folder)
            if now != seen:
                seen, count = now, count + _try(folder, out, reps, every_s)
            if limit_s is not None and time.monotonic() - began + every_s > limit_s:
                break
            time.sleep(every_s)
    except KeyboardInterrupt:
        print(f"no longer watching {folder}", flush=True)
    if (out / report_page.PAGE).exists():
        report_page.stop_reloading(out / report_page.PAGE)
    return count


def _try(folder, out, reps, every_s) -> bool:
    try:
        path = report_page.write(folder, out, reps, reload_s=max(round(every_s), 1))
    except checks.UserError as error:
        print(f"waiting: {error}", flush=True)
        return False
    print(f"report: {path}", flush=True)
    return True


def _stamp(folder: pathlib.Path):
    """Returns what changes when the results do."""
    path = suite_location.find(folder)
    if path is None:
        return ()
    status = path.stat()
    return path, status.st_mtime_ns, status.st_size
