"""Code of others that runs in our process: where it raised, how it ended the process.

A user's module, constructor or config file may end the process by `sys.exit` or by a
`KeyboardInterrupt` of its own. The program would then stop without a message.
"""

from __future__ import annotations

import contextlib
import dis
import pathlib
import traceback
from collections.abc import Iterator

from samg_jax import checks

LONGEST = 500  # The number of characters of a foreign message that we repeat.
_OWN = str(pathlib.Path(__file__).parent)
_RAISE = dis.opmap["RAISE_VARARGS"]


class Raised(checks.UserError):
    """A mistake in the user's code; the run's log gets the traceback of its cause."""


def printable(text: object) -> str:
    """A text of others on one line, what a terminal would obey escaped."""
    words = " ".join(str(text).split())
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in words)


def line(error: BaseException) -> str:
    """The message of an error on one line, without its last full stop."""
    shown = printable(error).rstrip(".")
    if len(shown) > LONGEST:
        shown = f"{shown[:LONGEST]}..."
    return shown or "no message"


def named(error: BaseException) -> str:
    """The type of an error and its message, if it has one, on one line."""
    kind = type(error).__name__
    return f"{kind}: {line(error)}" if str(error) else kind


def place(error: BaseException, file: str | None = None) -> str:
    """The file and line that raised an error.

    Args:
        error: The error.
        file: The user's file; its last line in the traceback is preferred, if any.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    if not frames:
        return "an unknown place"
    frame = (own or frames)[-1]
    return f"{frame.filename}, line {frame.lineno}"


@contextlib.contextmanager
def ending_aloud(what: str, advice: str) -> Iterator[None]:
    """Turns an exit of the process by foreign code into a one-line error.

    Ctrl-C and SIGTERM pass through.

    Args:
        what: The code that runs in the block, as the start of a sentence.
        advice: What to do.

    Raises:
        Raised: The code called `sys.exit`, or raised another non-`Exception`.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception | GeneratorExit) or _is_signal(error):
            raise
        words = f" ({line(error)})" if str(error) else ""
        raise Raised(
            f"{what} ends the program: {type(error).__name__}{words} at "
            f"{place(error)}. {advice}"
        ) from error


def _is_signal(error: BaseException) -> bool:
    """Whether this is Ctrl-C or SIGTERM, rather than a `raise` in foreign code."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return True
    code = last.tb_frame.f_code
    by_hand = code.co_code[last.tb_lasti] == _RAISE
    return not by_hand or code.co_filename.startswith(_OWN)
