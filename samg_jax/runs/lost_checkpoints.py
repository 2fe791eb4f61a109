"""Checkpoints that are gone although the tables show that they were saved.

Saving is synchronous: a row behind the step at which a phase saves first was written
after that checkpoint, and one at that step just before it. So the tables of any version
tell deleted checkpoints from a run that was stopped before its first one.
"""

from __future__ import annotations

import contextlib
import csv
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from samg_jax import checks
from samg_jax.experiment import spec
from samg_jax.runs import run_tables


def phase(workdir: pathlib.Path, fields: Mapping[str, Any]) -> str | None:
    """The last phase whose tables go on to where a checkpoint is due; None if none.

    Args:
        workdir: of the run.
        fields: The run's config as nested dictionaries; one that was edited may lack
            some.
    """
    last = progress(workdir)
    if last.get("online", (0, 0))[1] >= _first(fields, "online", "steps"):
        return "online"
    first = _first(fields, "offline", "updates")
    reached = "online" in last or last.get("offline", (0, 0))[0] >= first
    # The offline phase of a fork is another run's.
    return "offline" if reached and not _field(fields, "offline", "restore") else None


def is_proven(workdir: pathlib.Path, offline: spec.Offline) -> bool:
    """Whether the tables prove that a run, which is no fork, had saved a checkpoint."""
    last = progress(workdir)
    trained, _ = last.get("offline", (0, 0))
    return "online" in last or trained > offline.checkpoint_every


def _first(fields: Mapping[str, Any], phase: str, total: str) -> float:
    """The step at which a phase saves first; infinite if the config does not say."""
    given = [_field(fields, phase, name) for name in ("checkpoint_every", total)]
    whole = all(type(value) is int and value > 0 for value in given)
    return min(given) if whole else math.inf


def _field(fields: Mapping[str, Any], group: str, name: str) -> Any:
    """A field, None where a config that was edited does not have it."""
    found = fields.get(group)
    return found.get(name) if isinstance(found, Mapping) else None


def progress(workdir: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Phase -> the last offline update and environment step that the tables name.

    Rows that cannot be read are none.
    """
    found: dict[str, tuple[int, int]] = {}
    for name in run_tables.NAMES:
        try:
            text = (workdir / name).read_text(errors="replace")
        except OSError:
            continue
        reader = csv.DictReader(text.replace("\0", "").splitlines())
        with contextlib.suppress(csv.Error):  # A field without an end, for example.
            for row in reader:
                _count(row, found)
    return found


def _count(row: dict[str, str], found: dict[str, tuple[int, int]]) -> None:
    try:
        phase = row["phase"]
        steps = int(row["offline_step"]), int(row["env_step"])
    except (KeyError, TypeError, ValueError):
        return
    before = found.get(phase, (0, 0))
    found[phase] = max(before[0], steps[0]), max(before[1], steps[1])


def refuse(workdir: pathlib.Path) -> checks.UserError:
    """The error of a workdir whose tables are there and whose checkpoints are not."""
    last = progress(workdir)
    updates = max(steps[0] for steps in last.values())
    taken = max(steps[1] for steps in last.values())
    return checks.UserError(
        f"The workdir {str(workdir)!r} has no checkpoint, but its run had saved some: "
        f"its tables go on to offline update {updates} and environment step {taken}. "
        "They were moved, or are gone. Restore the folders offline and online from a "
        f"copy. To train from the start, rename {' and '.join(run_tables.NAMES)}, or "
        "give another workdir=FOLDER."
    )
