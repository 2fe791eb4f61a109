"""The curves of a run beside its tables: TensorBoard, and Weights & Biases.

Everything here can be had again from the tables. So where it cannot be written the run
goes on without it, after one warning; a disk that is full ends the run.
"""

from __future__ import annotations

import os
import pathlib
import socket
import time
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from samg_jax import durable, lazy, logs
from samg_jax.runs import wandb_events

FOLDER = "tensorboard"  # In the workdir.
FLUSH_SECONDS = 30.0

record_writer = lazy.module("tensorboardX.record_writer")
event_pb2 = lazy.module("tensorboardX.proto.event_pb2")
summary_pb2 = lazy.module("tensorboardX.proto.summary_pb2")


class Sink(Protocol):
    """Takes scalars."""

    def add_scalars(self, values: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """An event file, written in this thread.

    tensorboardX's own writer has a thread with a queue: if that thread dies, on a full
    disk for example, its queue fills and the run waits for ever.
    """

    def __init__(self, folder: pathlib.Path, first: int):
        """Begins an event file.

        Args:
            folder: of the event files, created where missing.
            first: step from which TensorBoard forgets what earlier files have.
        """
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{now:.0f}.{socket.gethostname()}"
        # Two that begin within a second would share a file.
        self._file = record_writer.RecordWriter(
            str(folder / f"{name}.{os.getpid()}.{time.monotonic_ns()}")
        )
        self._flushed = time.monotonic()
        version = "brain.Event:2"
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        for event in (
            event_pb2.Event(wall_time=now, file_version=version),
            event_pb2.Event(step=first, file_version=version),
            event_pb2.Event(step=first, session_log=start),
        ):
            self._file.write(event.SerializeToString())

    def add_scalars(self, values: Mapping[str, float], step: int) -> None:
        """Writes tag -> value at a step."""
        for tag, value in values.items():
            scalar = summary_pb2.Summary.Value(tag=tag, simple_value=value)
            summary = summary_pb2.Summary(value=[scalar])
            event = event_pb2.Event(step=step, summary=summary, wall_time=time.time())
            self._file.write(event.SerializeToString())
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._file.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Flushes and closes the file."""
        self._file.close()


class Events:
    """Writes scalars to all that a run asked for."""

    def __init__(
        self,
        workdir: pathlib.Path,
        tensorboard: bool,
        first: int,
        wandb: wandb_events.Events | None,
    ):
        """Opens them.

        Args:
            workdir: of the run.
            tensorboard: whether TensorBoard's files are written.
            first: see `TensorBoard`.
            wandb: Weights & Biases, where the run asked for it.
        """
        self._workdir, self._folder = workdir, workdir / FOLDER
        self._sinks: dict[str, Sink] = {}
        if wandb is not None:
            self._sinks["Weights & Biases"] = wandb
        if tensorboard:
            try:
                made = TensorBoard(self._folder, first)
            except OSError as error:
                self._end("TensorBoard", error)
            else:
                self._sinks["TensorBoard"] = made

    def add_scalars(self, values: Mapping[str, float], step: int) -> None:
        """Writes tag -> value at a step; what is not finite cannot be drawn.

        Raises:
            checks.UserError: the disk of the workdir is full.
        """
        finite = {tag: value for tag, value in values.items() if np.isfinite(value)}
        for name, sink in list(self._sinks.items()) if finite else ():
            try:
                sink.add_scalars(finite, step)
            except OSError as error:
                self._end(name, error)

    def close(self) -> None:
        """Closes them; a failure loses only what the tables have too."""
        for name, sink in self._sinks.items():
            _close(name, sink)
        self._sinks = {}

    def _end(self, name: str, error: OSError) -> None:
        """Goes on without a sink, unless the tables could not be written either."""
        sink = self._sinks.pop(name, None)
        if sink is not None:
            _close(name, sink, told=True)
        full = durable.disk_error(error, self._folder) is not None
        if full and durable.same_disk(self._folder, self._workdir):
            with durable.writing(self._workdir):
                raise error
        logs.LOGGER.warning("no more %s events: %s", name, error)


def _close(name: str, sink: Sink, told: bool = False) -> None:
    """Closes a sink; what fails is told once."""
    try:
        sink.close()
    except OSError as error:
        if not told:
            logs.LOGGER.warning("no more %s events: %s", name, error)
