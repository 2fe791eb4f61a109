"""Weights & Biases, where a run asks for it: the scalars that TensorBoard gets too.

Nothing is imported and nothing is sent before `logging.wandb` is `offline` or `online`.
What an earlier process logged behind the checkpoint it was stopped at stays there; the
resumed run logs the same steps again.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pathlib
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from samg_jax import checks, durable

PROJECT = "samg_jax"
STEP = "step"  # Offline updates plus environment steps, as in TensorBoard.
# Holds the id of the workdir's run, so that a resumed process goes on with it.
ID_FILE = "wandb_id.txt"


class Events:
    """Writes scalars into the Weights & Biases run of a workdir.

    Offline they lie in `wandb/` of the workdir until `wandb sync` uploads them.
    """

    def __init__(self, workdir: pathlib.Path, mode: str, config: Mapping[str, Any]):
        """Begins the run of a workdir, or goes on with it.

        Args:
            workdir: of the run; its path names it.
            mode: `offline` or `online`.
            config: resolved, shown beside the curves.

        Raises:
            checks.UserError: the service does not take it, for example without a login.
        """
        wandb = importlib.import_module("wandb")
        self._error = wandb.errors.Error
        path = workdir / ID_FILE
        if not (path.exists() and path.read_text().strip()):
            with durable.writing(workdir):
                durable.write_text(path, uuid.uuid4().hex + "\n")
        # Offline nobody can say whether the run exists; the id alone joins both.
        resume = {"resume": "allow"} if mode == "online" else {}
        try:
            with durable.writing(workdir):
                self._run = wandb.init(
                    project=PROJECT,
                    name="/".join(workdir.absolute().parts[-3:]),
                    id=path.read_text().strip(),
                    dir=workdir,
                    mode=mode,
                    config=config,
                    settings=wandb.Settings(silent=True, console="off"),
                    **resume,
                )
        except wandb.errors.Error as error:
            durable.try_room(workdir, durable.RESUME)
            raise checks.UserError(
                f"config.logging.wandb is {mode!r}, but Weights & Biases could not "
                f"begin: {error}. Run wandb login first, or set "
                "config.logging.wandb=offline."
            ) from error
        self._run.define_metric("*", step_metric=STEP)

    def add_scalars(self, values: Mapping[str, float], step: int) -> None:
        """Logs name -> value at a step; raises OSError where that cannot be."""
        with self._as_os_errors():
            self._run.log({**values, STEP: step})

    def close(self) -> None:
        """Ends the run; raises OSError where that cannot be."""
        with self._as_os_errors():
            self._run.finish()

    @contextlib.contextmanager
    def _as_os_errors(self) -> Iterator[None]:
        # The library's own process may be gone, as any writer's disk may be.
        try:
            yield
        except self._error as error:
            raise OSError(str(error)) from error
