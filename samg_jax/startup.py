"""The process that a program runs in: what its user's shell hands to it.

Environment variables, folders and output are checked or mended here before a library
meets them, since libraries end in a traceback, or in nothing at all.
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

from samg_jax import checks, drivers

DEFAULT_CACHE = "~/.cache/samg_jax"
# What the tables of our programs have beyond ASCII, for terminals that have no more.
PLAIN = {"±": "+-", "\u2013": "-", "→": "->", "▸": ">", "◂": "<", "✕": "x"}
# Exit status of a program whose reader has gone away, as a shell reports it.
BROKEN_PIPE = 141
PROBE_SECONDS = 120
# What a program says that is stopped while it starts, and its exit status.
_ENDS = {signal.SIGINT: ("Interrupted.", 1), signal.SIGTERM: ("Terminated.", 143)}


def is_program() -> bool:
    """Whether one of our programs is about to start, by `python -m` or as a script.

    Python calls a program `-m` while it imports the package that holds it.
    """
    name = pathlib.PurePath(sys.argv[0] if sys.argv else "").name
    return name == "-m" or name.startswith("samg-")


def open_missing() -> None:
    """Opens what a shell closed by `>&-`: a file would take its number otherwise."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def end_at_signals() -> None:
    """Ends the process at once at Ctrl-C or SIGTERM, for as long as it only starts.

    An exception in the midst of an import is lost in callbacks of the libraries, or
    breaks the import. Nothing has been begun yet, so nothing has to be put in order.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _ENDS:
        # What the parent wants ignored, as nohup does, is.
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, _end)


def _end(number: int, frame: object) -> None:
    del frame
    words, status = _ENDS[number]
    with contextlib.suppress(OSError):
        os.write(2, f"{words} Nothing was begun.\n".encode())
    os._exit(status)


def begin() -> None:
    """Hands signals back to Python: from here on there is something to put in order."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number, handler in {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }.items():
        if signal.getsignal(number) is _end:
            signal.signal(number, handler)


def import_jax() -> None:
    """Imports JAX, which reads its environment variables; refuses wrong ones."""
    given = {name: text for name, text in os.environ.items() if name.startswith("JAX_")}
    if not given:
        return  # Whoever needs it imports it.
    try:
        importlib.import_module("jax")
    except ValueError as error:
        texts = ", ".join(f"{name}={text}" for name, text in sorted(given.items()))
        raise checks.UserError(
            f"JAX refuses an environment variable: {error}. Set here are {texts}. "
            "Unset the one that is named, or correct it."
        ) from error


def import_mujoco() -> None:
    """Imports MuJoCo if `MUJOCO_GL` is set, which it reads; refuses a wrong one.

    Raises:
        ImportError: the library of that backend cannot be loaded.
    """
    backend = os.environ.get("MUJOCO_GL")
    if not backend:
        return  # Whoever needs it imports it.
    try:
        importlib.import_module("mujoco")
    except Exception as error:  # Whatever the library of that backend raises.
        raise ImportError(
            f"MuJoCo cannot be imported with MUJOCO_GL={backend}: {error}. Known are "
            "egl, osmesa and glfw, each with its library installed. Unset MUJOCO_GL: "
            "the first that works is chosen where a video is asked for."
        ) from error


def check_libraries() -> None:
    """Refuses variables that JAX, XLA or MuJoCo cannot start with; takes seconds."""
    check_xla_flags()
    import_jax()
    try:
        import_mujoco()
    except ImportError as error:
        raise checks.UserError(str(error)) from error


def check() -> None:
    """Refuses folders with which no program can work; imports nothing."""
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
    """Makes up a home for a user who has none, as in some containers: for caches."""
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
    """Refuses XLA_FLAGS that XLA does not know: it would abort the process.

    A process of its own tries them, once: those that work are remembered.
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
    with contextlib.suppress(OSError):  # Where it cannot be kept it is tried again.
        known.parent.mkdir(parents=True, exist_ok=True)
        known.touch()


def check_platforms() -> None:
    """Refuses JAX_PLATFORMS that cannot be started, without starting them here.

    For a program whose devices are those of other processes.
    """
    names = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
    given = {name: os.environ[name] for name in names if os.environ.get(name)}
    if set(given.values()) <= {"cpu"}:
        return
    said = _failure_of_jax({"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}, "Error")
    if said:
        raise checks.UserError(wrong_devices(given, said))


def wrong_devices(given: Mapping[str, str], said: str) -> str:
    """The message about variables with which JAX starts no device.

    Args:
        given: those that are set -> their values.
        said: what JAX said of it.
    """
    texts = " and ".join(f"{name} is {text!r}" for name, text in given.items())
    asked = {
        platform.strip()
        for name in ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
        for platform in given.get(name, "").split(",")
    }
    said = re.split(r" \((?:set|you may need)", said.rpartition("Error: ")[2])[0]
    said = said.strip(". ")
    # For `gpu` JAX tries the cards of all makers, and complains of the last one.
    if asked & {"gpu", "cuda"} and ("rocm" in said or not said):
        said = "it finds no NVIDIA GPU that it can use"
    elif said in ("", "AssertionError"):  # A plugin is not installed.
        said = "it is not installed"
    about_gpus = f"; {drivers.advice()}" if asked - {"", "cpu"} else ""
    return (
        f"The environment variable {texts}, with which JAX cannot start here: {said}. "
        "Unset it for the best device that there is, or set JAX_PLATFORMS to cpu"
        f"{about_gpus}."
    )


def _failure_of_jax(variables: dict[str, str], mark: str) -> str:
    """The last line about `mark` of a process that could not start JAX, or nothing."""
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
    except subprocess.TimeoutExpired:  # A busy machine says nothing about flags.
        return ""
    if not tried.returncode:
        return ""
    every = tried.stderr.splitlines() or [f"it ended with {tried.returncode}"]
    return ([line for line in every if mark in line] or every)[-1]


def cache_folder() -> pathlib.Path:
    """Where compiled programs are kept unless a config says otherwise."""
    given = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    return pathlib.Path(given or DEFAULT_CACHE).expanduser()


@contextlib.contextmanager
def output() -> Iterator[None]:
    """Lets a program print whatever its output can show, inside the block.

    The program ends quietly once nobody reads its output any more, as with `| head`.
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
            raise  # It belongs to something else, such as a process of ours.
        # Python flushes once more when it ends, which must find an open file.
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(null, stream.fileno())
        sys.exit(BROKEN_PIPE)


def _is_broken(stream) -> bool:
    """Whether a stream is a pipe that nobody reads any more."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # A notebook has none, for example.
        return False
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    return any(found & select.POLLERR for _, found in poll.poll(0))


def _plain(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an output does not have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    shown = (PLAIN.get(sign, "?") for sign in text)
    return "".join(shown), error.end
