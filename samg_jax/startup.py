"""The process in which a program runs, as the user's shell set it up.

Environment variables, folders and output are checked or fixed here before a library
sees them: libraries respond with a traceback, or not at all.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import importlib
import importlib.metadata
import os
import pathlib
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from samg_jax import checks, drivers

DEFAULT_CACHE = "~/.cache/samg_jax"
# ASCII replacements for the other characters in our tables, for terminals without them.
PLAIN = {"±": "+-", "\u2013": "-", "→": "->", "▸": ">", "◂": "<", "✕": "x"}
# Exit status after the reader of our output has gone, as a shell reports it.
BROKEN_PIPE = 141
PROBE_SECONDS = 120
# Message and exit status of a program that is stopped while it starts.
_ENDS: dict[int, tuple[str, int]] = {
    signal.SIGINT: ("Interrupted.", 1),
    signal.SIGTERM: ("Terminated.", 143),
}


def is_program() -> bool:
    """Whether one of our programs is about to start, by `python -m` or as a script.

    Python sets the program's name to `-m` while it imports the program's package.
    """
    name = pathlib.PurePath(sys.argv[0] if sys.argv else "").name
    return name == "-m" or name.startswith("samg-")


def open_missing() -> None:
    """Opens streams that a shell closed by `>&-`: a file would reuse their numbers."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def end_at_signals() -> None:
    """Ends the process at once on Ctrl-C or SIGTERM while it is still starting.

    An exception during an import can get lost in a library's callback, or break the
    import. Nothing has begun yet, so there is nothing to clean up.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _ENDS:
        # A signal that the parent process ignores, as nohup does, stays ignored.
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, _end)


def _end(number: int, frame: object) -> None:
    del frame
    words, status = _ENDS[number]
    with contextlib.suppress(OSError):
        os.write(2, f"{words} Nothing was begun.\n".encode())
    os._exit(status)


def begin() -> None:
    """Restores Python's signal handlers: from here on there is work to clean up."""
    if threading.current_thread() is not threading.main_thread():
        return
    handlers: dict[int, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }
    for number, handler in handlers.items():
        if signal.getsignal(number) is _end:
            signal.signal(number, handler)


def import_jax() -> None:
    """Imports JAX, which reads its environment variables; refuses invalid ones."""
    given = {name: text for name, text in os.environ.items() if name.startswith("JAX_")}
    if not given:
        return  # The first module that needs JAX imports it.
    try:
        importlib.import_module("jax")
    except ValueError as error:
        texts = ", ".join(f"{name}={text}" for name, text in sorted(given.items()))
        raise checks.UserError(
            f"JAX refuses an environment variable: {error}. Set here are {texts}. "
            "Unset the one that is named, or correct it."
        ) from error


def import_mujoco() -> None:
    """Imports MuJoCo if `MUJOCO_GL` is set, since MuJoCo reads it; refuses bad values.

    Raises:
        ImportError: The library of that backend cannot be loaded.
    """
    backend = os.environ.get("MUJOCO_GL")
    if not backend:
        return  # The first module that needs MuJoCo imports it.
    try:
        importlib.import_module("mujoco")
    except Exception as error:  # The library of a backend may raise anything.
        raise ImportError(
            f"MuJoCo cannot be imported with MUJOCO_GL={backend}: {error}. Known are "
            "egl, osmesa and glfw, each with its library installed. Unset MUJOCO_GL: "
            "the first that works is chosen where a video is asked for."
        ) from error


def check_libraries() -> None:
    """Refuses variables that keep JAX, XLA or MuJoCo from starting; takes seconds."""
    check_xla_flags()
    import_jax()
    try:
        import_mujoco()
    except ImportError as error:
        raise checks.UserError(str(error)) from error


def check() -> None:
    """Refuses folders that no program can work with; imports nothing."""
    try:
        pathlib.Path.cwd()
    except FileNotFoundError as error:
        raise checks.UserError(
            "The current folder does not exist any more. Change to one that does, as "
            "by cd ~, and start the program there."
        ) from error
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise checks.UserError(
            f"There is no folder for temporary files: {error.strerror}. Set TMPDIR to "
            "a folder that can be written to."
        ) from error
    find_home()


def find_home() -> None:
    """Sets HOME for a user without one, as in some containers: caches need it."""
    try:
        pathlib.Path.home()
    except RuntimeError:
        home = pathlib.Path(tempfile.gettempdir()) / f"samg_jax_{os.getuid()}"
        with contextlib.suppress(OSError):
            home.mkdir(mode=0o700, exist_ok=True)
        os.environ["HOME"] = str(home)
        print(
            f"warning: this user has no home folder, so HOME is {home} here. What is "
            "cached there may be deleted; set HOME to a folder that stays.",
            file=sys.stderr,
        )


def check_xla_flags() -> None:
    """Refuses XLA_FLAGS that XLA does not know: XLA would abort the process.

    A separate process tries the flags once; flags that work are remembered.
    """
    flags = os.environ.get("XLA_FLAGS", "").strip()
    if not flags:
        return
    version = importlib.metadata.version("jaxlib")
    name = hashlib.sha256(f"{version} {flags}".encode()).hexdigest()[:24]
    known = cache_folder() / f"xla_flags_{name}"
    if known.exists():
        return
    said = _failure_of_jax({"JAX_PLATFORMS": "cpu"}, "XLA_FLAGS")
    if said:
        raise checks.UserError(
            f"The environment variable XLA_FLAGS is {flags!r}, with which JAX does not "
            f"start: {said.split('] ', 1)[-1]}. Unset it, or correct it."
        )
    with contextlib.suppress(OSError):  # If this fails, the next start tries again.
        known.parent.mkdir(parents=True, exist_ok=True)
        known.touch()


def check_platforms() -> None:
    """Refuses JAX_PLATFORMS that cannot start, without starting them in this process.

    For programs whose worker processes use the devices.
    """
    names = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
    given = {name: os.environ[name] for name in names if os.environ.get(name)}
    if set(given.values()) <= {"cpu"}:
        return
    said = _failure_of_jax({"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}, "Error")
    if said:
        raise checks.UserError(wrong_devices(given, said))


def wrong_devices(given: Mapping[str, str], said: str) -> str:
    """The error message for variables with which JAX starts no device.

    Args:
        given: The variables that are set, with their values.
        said: JAX's own message.
    """
    texts = " and ".join(f"{name} is {text!r}" for name, text in given.items())
    asked = {
        platform.strip()
        for name in ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
        for platform in given.get(name, "").split(",")
    }
    said = re.split(r" \((?:set|you may need)", said.rpartition("Error: ")[2])[0]
    said = said.strip(". ")
    # For `gpu`, JAX tries the GPUs of all vendors and reports the last failure.
    if asked & {"gpu", "cuda"} and ("rocm" in said or not said):
        said = "it finds no NVIDIA GPU that it can use"
    elif said in ("", "AssertionError"):  # The plugin is not installed.
        said = "it is not installed"
    about_gpus = f"; {drivers.advice()}" if asked - {"", "cpu"} else ""
    return (
        f"The environment variable {texts}, with which JAX cannot start here: {said}. "
        "Unset it for the best device that there is, or set JAX_PLATFORMS to cpu"
        f"{about_gpus}."
    )


def _failure_of_jax(variables: dict[str, str], mark: str) -> str:
    """What a process that failed to start JAX says about `mark`; else nothing."""
    try:
        tried = subprocess.run(
            [sys.executable, "-c", "import jax; jax.devices()"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:  # A timeout says nothing about the flags.
        return ""
    if not tried.returncode:
        return ""
    every = tried.stderr.splitlines() or [f"it ended with {tried.returncode}"]
    return ([line for line in every if mark in line] or every)[-1]


def cache_folder() -> pathlib.Path:
    """The folder for compiled programs, unless a config sets another."""
    given = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    return pathlib.Path(given or DEFAULT_CACHE).expanduser()


@contextlib.contextmanager
def output() -> Iterator[None]:
    """Lets a program print to any output, inside the block.

    Characters that the output lacks are replaced. The program ends quietly if its
    reader goes away, as with `| head`.
    """
    codecs.register_error("samg_jax", _plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and stream.errors == "strict":
            stream.reconfigure(errors="samg_jax")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _is_broken(sys.stdout) and not _is_broken(sys.stderr):
            raise  # The pipe belongs to something else, such as a subprocess.
        # Python flushes once more when it exits, which needs an open file.
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(null, stream.fileno())
        sys.exit(BROKEN_PIPE)


def _is_broken(stream) -> bool:
    """Whether a stream is a pipe without a reader."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # Notebooks, for example, have no file number.
        return False
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    return any(found & select.POLLERR for _, found in poll.poll(0))


def _plain(error: UnicodeError) -> tuple[str, int]:
    """A replacement for characters that an output cannot show."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    shown = (PLAIN.get(sign, "?") for sign in text)
    return "".join(shown), error.end
