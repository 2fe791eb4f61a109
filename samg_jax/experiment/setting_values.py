"""Texts of flags and suites as values of a setting's kind, or why they are none."""

from __future__ import annotations

import ast
import decimal
from collections.abc import Iterable, Mapping
from typing import Any

import ml_collections
from ml_collections import config_dict

from samg_jax import checks

TRUE, FALSE = ("true", "t", "1"), ("false", "f", "0")
NONE = ("None", "none", "null")
# More digits are a slip, and would take Python minutes to write out.
DIGITS = 30
INTEGER = "an integer, as in 1000, 1_000 or 1e3"
KINDS = {
    bool: "true or false",
    int: INTEGER,
    float: "a number, as in 0.5 or 3e-4",
    str: "a text",
    tuple: "values in parentheses, as in '(256, 256)'",
    list: "values in brackets, as in '[1, 2]'",
}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names."""
    flat = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


def integer(text: str) -> int:
    """The integer that a text such as `1000`, `1_000`, `1e3` or `0x10` stands for.

    Raises:
        ValueError: it stands for none.
    """
    text = text.strip()
    try:
        return int(text, 0) if text[:2].lower() == "0x" else int(text)
    except ValueError:
        pass
    try:
        number = decimal.Decimal(text)
    except decimal.InvalidOperation as error:
        raise ValueError(text) from error
    whole = number.is_finite() and number.adjusted() < DIGITS
    if not whole or number != number.to_integral_value():
        raise ValueError(text)
    return int(number)


def positive(texts: Iterable[str]) -> list[int]:
    """The positive integers of several texts; see `integer`."""
    found = [integer(text) for text in texts]
    if not found or min(found) < 1:
        raise ValueError(found)
    return found


def are_positive(texts: Iterable[str]) -> bool:
    """Whether there are texts, all of positive integers."""
    try:
        return bool(positive(texts))
    except ValueError:
        return False


def boolean(text: str) -> bool:
    """The truth value of a text; see `integer`."""
    if text.lower() not in TRUE + FALSE:
        raise ValueError(text)
    return text.lower() in TRUE


def convert(text: str, kind: type, before: Any = None) -> Any:
    """A text as a value of a kind.

    Args:
        text: as it was given.
        kind: of the value that it replaces.
        before: that value, whose elements tell what a tuple holds.

    Raises:
        ValueError: it is no such value.
    """
    if kind is bool:
        return boolean(text)
    if kind is int:
        return integer(text)
    if kind is float:
        return float(text)
    if kind is str:
        return text
    if kind in (tuple, list):
        return kind(_elements(text, before))
    try:
        return _literal(text)
    except ValueError:
        if kind is type(None):  # A config file of the user's left the kind open.
            return text
        raise


def set_field(config: ml_collections.ConfigDict, name: str, text: str) -> None:
    """Sets an existing dotted field, in place, to what a text stands for.

    Raises:
        checks.UserError: the text is of another kind than the field.
    """
    level, leaf = _holder(config, name)
    if issubclass(level.get_type(leaf), ml_collections.ConfigDict):
        first = next(iter(level[leaf]), "FIELD")
        raise checks.UserError(
            f"config.{name} is a group of fields; each is set by itself. Write, for "
            f"example, config.{name}.{first}=..."
        )
    before = level[leaf]
    try:
        assign(config, name, text)
    except ValueError as error:
        raise checks.UserError(
            f"config.{name} is {text!r}; it must be {error}. It was {before!r} before. "
            f"Set config.{name} to such a value."
        ) from error


def assign(config: ml_collections.ConfigDict, name: str, text: str) -> None:
    """Does the same for any tree of fields.

    Raises:
        ValueError: with what the value must be.
    """
    level, leaf = _holder(config, name)
    optional = is_optional(level, leaf)
    if optional and text in NONE:
        level[leaf] = None
        return
    kind = level.get_type(leaf)
    try:
        level[leaf] = convert(text, kind, level[leaf])
    except (ValueError, TypeError) as error:
        wanted = KINDS.get(kind, f"a value of the kind {kind.__name__}")
        raise ValueError(wanted + ", or None" * optional) from error


def _holder(
    config: ml_collections.ConfigDict, name: str
) -> tuple[ml_collections.ConfigDict, str]:
    """The group that a dotted field is in, and the last part of its name."""
    *parents, leaf = name.split(".")
    for parent in parents:
        config = config[parent]
    return config, leaf


def is_optional(level: ml_collections.ConfigDict, leaf: str) -> bool:
    """Whether a field may be None: it was made as a placeholder."""
    raw: Mapping[str, Any] = dict(level.items(preserve_field_references=True))
    return isinstance(raw[leaf], config_dict.FieldReference)


def unquoted(text: str) -> str:
    """A text without the quotes that a suite's file may have around it."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, str) else text


def _elements(text: str, before: Any) -> list[Any]:
    """The elements that a text lists; whole numbers become integers among integers."""
    if before and all(isinstance(value, str) for value in before):
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return [part.strip() for part in text.split(",")]
    else:
        found = _literal(text)
    found = list(found) if isinstance(found, (tuple, list)) else [found]
    if before and not all(type(value) is int for value in before):
        return found
    return [
        int(value) if isinstance(value, float) and value.is_integer() else value
        for value in found
    ]


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(text) from error
