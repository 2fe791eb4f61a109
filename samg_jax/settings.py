"""The fields of a config, each declared once, with all that is known of it.

A group of settings is a frozen dataclass. A field's declaration holds its default, the
values that are allowed, whether a sweep may vary it, and whether a fork must have the
value of the run that it forks from:

    @dataclasses.dataclass(frozen=True)
    class Config:
        tau: float = settings.number(0.005, 0, 1, sweepable=True)

Config files start from the defaults, `check` refuses what is not allowed, and the
documentation prints the rest. This module imports nothing that takes long.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import math
import pathlib
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections
from ml_collections import config_dict

from samg_jax import checks

KEY = "setting"  # Of a field's metadata.
LEAST = 2.0**-126  # Of float32; what is smaller counts as 0 on the devices.
ANYTHING = -math.inf, math.inf
# What a class statement of settings may need of its module; see `declared`.
LIGHT = ("__future__", "dataclasses", "math")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is known of a field beside its default and its meaning.

    Attributes:
        low: The lower bound of a number.
        high: The upper bound of a number.
        open: Whether the bounds themselves are excluded.
        whole: Whether only integers are allowed.
        finite: Whether infinity is refused.
        choices: The allowed values; empty where they are not listed.
        widths: Whether the value is a tuple of the widths of hidden layers.
        allowed: The allowed values in words, where nothing above says them.
        example: A value that a refusal proposes; None for one that is allowed.
        sweepable: Whether `--sweep` may vary it: it is then a leaf of the state.
        filled: Whether a config leaves it at None, to be filled by a preset or by the
            dataset.
        agrees: Whether a fork needs the value of the run that it forks from; a
            function decides that by the other settings of the group.
        follows: `(run, guidance) -> value` of a field that follows from the rest of the
            config, and so is not set.
        source: The field that `follows` reads, for messages.
        needs: The fields of the group of which one must be on, which is neither 0 nor
            False nor None, for this one to be read; the first is named in messages.
        refused: Whether setting the field is refused while those are off, instead of
            warned of.
        fine_tuning: Whether only fine-tuning reads the field.
    """

    low: float = -math.inf
    high: float = math.inf
    open: bool = False
    whole: bool = False
    finite: bool = False
    choices: tuple[Any, ...] = ()
    widths: bool = False
    allowed: str = ""
    example: Any = None
    sweepable: bool = False
    filled: bool = False
    agrees: bool | Callable[[Any], bool] = False
    follows: Callable[[Any, Any], Any] | None = None
    source: str = ""
    needs: tuple[str, ...] = ()
    refused: bool = False
    fine_tuning: bool = False

    @property
    def bounded(self) -> bool:
        """Whether the value is a number of an interval."""
        return (self.low, self.high) != ANYTHING

    def __str__(self):
        """The allowed values in words, as documentation."""
        if self.allowed:
            return self.allowed
        if self.choices:
            return ", ".join(f"`{choice}`" for choice in self.choices)
        if self.widths:
            return "one width or more, each 1 or more"
        if self.whole:
            return f"integer, {self.low:g} or more"
        if not self.bounded:
            return ""
        if math.isinf(self.high):
            return f"above {self.low:g}" if self.open else f"{self.low:g} or more"
        edges = "both excluded" if self.open else "both included"
        return f"{self.low:g} to {self.high:g}, {edges}"


def number(
    default: float | None,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open: bool = False,
    **known: Any,
) -> Any:
    """Declares a number of an interval; see `Setting`."""
    known.setdefault("finite", (low, high) != ANYTHING)
    return field(default, low=low, high=high, open=open, **known)


def count(default: int | None, least: int, **known: Any) -> Any:
    """Declares an integer of at least `least`; see `Setting`."""
    return field(default, low=least, whole=True, **known)


def choice(default: str | None, *choices: str, **known: Any) -> Any:
    """Declares a name of several; see `Setting`."""
    return field(default, choices=choices, **known)


def widths(default: tuple[int, ...] | None) -> Any:
    """Declares the widths of hidden layers, which a fork must share."""
    return field(default, widths=True, agrees=True)


def follows(
    default: Any, source: str, value: Callable[[Any, Any], Any], **known: Any
) -> Any:
    """Declares a field that is not set: it follows from the rest of the config.

    Args:
        default: where there is no config.
        source: the field that it follows from.
        value: `(run, guidance) -> value`, of `experiment.spec.Run` and
            `weights.GuidanceConfig`.
        **known: see `Setting`.
    """
    return field(default, source=source, follows=value, **known)


def field(default: Any, *, compare: bool = True, **known: Any) -> Any:
    """Declares a field with what is known of it; see `Setting`.

    Args:
        default: of the field.
        compare: whether settings that differ in the field differ.
        **known: see `Setting`.
    """
    return dataclasses.field(
        default=default, compare=compare, metadata=metadata(**known)
    )


def metadata(**known: Any) -> dict[str, Setting]:
    """What is known of a field, as a dataclass keeps it; see `Setting`."""
    return {KEY: Setting(**known)}


@dataclasses.dataclass(frozen=True)
class Group:
    """The default factory of a group of settings in another module; see `declared`."""

    module: str

    def __call__(self):
        return self.declaration()()

    def declaration(self) -> type:
        """The dataclass that declares the group."""
        return declared(self.module)


def settings(cls: type) -> dict[str, Setting]:
    """Name -> what is known, of every field of a dataclass that is not a group."""
    return {
        one.name: one.metadata.get(KEY, Setting())
        for one in dataclasses.fields(cls)
        if not is_group(one)
    }


def is_group(one: dataclasses.Field) -> bool:
    """Whether a field of a dataclass is itself a group of settings."""
    return one.default is dataclasses.MISSING and one.default_factory is not dict


def of_group(one: dataclasses.Field) -> type:
    """The dataclass of a field that is a group."""
    factory: Any = one.default_factory
    return factory.declaration() if isinstance(factory, Group) else factory


def to_config(cls: type) -> ml_collections.ConfigDict:
    """The defaults of a dataclass as a config, without what follows from others.

    A field that may be None stays so typed that a flag can set it.
    """
    config = ml_collections.ConfigDict()
    for one in dataclasses.fields(cls):
        if is_group(one):
            config[one.name] = to_config(of_group(one))
            continue
        known = settings(cls)[one.name]
        if known.follows is not None:
            continue
        if one.default_factory is dict:
            config[one.name] = ml_collections.ConfigDict()
            continue
        of_kind, optional = kind(cls, one.name)
        if optional or known.filled:
            config[one.name] = config_dict.placeholder(of_kind)
        if one.default is not None and not known.filled:
            config[one.name] = one.default
    return config


def build(cls: type, values: Mapping[str, Any]) -> Any:
    """The dataclass with the values of a config; what it does not declare is ignored.

    Args:
        cls: the dataclass that declares the fields.
        values: name -> value, with a mapping for every group.
    """
    chosen = {}
    for one in dataclasses.fields(cls):
        if one.name in values:
            value = values[one.name]
            chosen[one.name] = build(of_group(one), value) if is_group(one) else value
    return cls(**chosen)


def kind(cls: type, name: str) -> tuple[type, bool]:
    """The type of a field, without None; and whether it may be None."""
    one = next(one for one in dataclasses.fields(cls) if one.name == name)
    # Without `from __future__ import annotations` this is the type, not its name.
    text = one.type.__name__ if isinstance(one.type, type) else str(one.type)
    parts = [part.strip() for part in text.split("|")]
    names = (bool, int, float, str, tuple, dict)
    known = {name.__name__: name for name in names}
    return known[parts[0].split("[")[0]], "None" in parts


def check(cls: type, values: Mapping[str, Any], prefix: str) -> None:
    """Refuses the first value that is not allowed.

    Args:
        cls: the dataclass that declares the fields.
        values: name -> value; a field that is not there is not checked.
        prefix: of the names in messages, such as `config.agent.`.

    Raises:
        checks.UserError: says what is allowed.
    """
    for one in dataclasses.fields(cls):
        if one.name in values and not is_group(one):
            check_value(cls, one.name, values[one.name], prefix)


def check_value(cls: type, name: str, value: Any, prefix: str) -> None:
    """Refuses a value that one field may not have; see `check`."""
    one = next(one for one in dataclasses.fields(cls) if one.name == name)
    known: Setting = settings(cls)[name]
    name = prefix + name
    if value is None and kind(cls, one.name)[1]:
        return
    if known.choices:
        checks.choice(name, value, known.choices, known.example or "")
    elif known.widths and not _is_widths(value):
        raise checks.UserError(
            f"{name} is {value}; it must name at least one layer, each of width 1 or "
            f"more. Set {name}='(256, 256)', for example."
        )
    elif known.whole:
        checks.integer(name, value, int(known.low))
    elif isinstance(value, float) and 0 < abs(value) < LEAST:
        raise checks.UserError(
            f"{name} is {value!r}, which is 0 in float32, whose least number is "
            f"{LEAST:.3g}. Set {name} to a larger number, or to 0 if that is allowed."
        )
    elif known.bounded or known.finite:
        example: Any = one.default if known.example is None else known.example
        if math.isinf(value) and not known.finite:
            return
        checks.number(name, value, known.low, known.high, example, strict=known.open)


def _is_widths(value: Any) -> bool:
    return bool(value) and all(type(width) is int and width >= 1 for width in value)


def sweepable(cls: type) -> list[str]:
    """The fields that a sweep may vary."""
    return [name for name, known in settings(cls).items() if known.sweepable]


def agreeing(values: Any, prefix: str = "") -> list[str]:
    """The dotted fields in which a fork must agree with the run that it forks from.

    Args:
        values: the dataclass with the fork's values.
        prefix: of the names.
    """
    names = []
    for one in dataclasses.fields(values):
        value = getattr(values, one.name)
        if is_group(one):
            names += agreeing(value, f"{prefix}{one.name}.")
            continue
        known = settings(type(values))[one.name]
        if known.agrees(values) if callable(known.agrees) else known.agrees:
            names.append(known.source or prefix + one.name)
    return names


def meanings(cls: type) -> dict[str, str]:
    """Field -> meaning, from the section `Attributes:` of the docstring."""
    found: dict[str, str] = {}
    section = inspect.getdoc(cls).partition("Attributes:\n")[2].split("\n\n")[0]
    for line in section.splitlines():
        if line.startswith("    ") and not line.startswith("     "):
            name, _, text = line.strip().partition(": ")
            found[name] = text
        elif found:
            found[name] += f" {line.strip()}"
    return found


@functools.cache
def declared(module: str, name: str = "Config") -> type:
    """The dataclass of settings in a module that takes long to import.

    If the module is not imported yet, only the class statement is run, with the light
    imports of the module. So a config file has the defaults of an algorithm, and
    `--explain` its bounds, without JAX.

    Args:
        module: dotted, such as `samg_jax.algorithms.awac`.
        name: of the class in it.
    """
    if module in sys.modules:
        return getattr(sys.modules[module], name)
    path = pathlib.Path(__file__).parent.parent.joinpath(*module.split("."))
    tree = ast.parse(path.with_suffix(".py").read_text())
    wanted = [node for node in tree.body if _is_needed(node, name)]
    place = types.ModuleType(f"{module} (settings)")
    place.__dict__["settings"] = sys.modules[__name__]
    sys.modules[place.__name__] = place  # `dataclasses` looks it up there.
    code = compile(ast.Module(wanted, type_ignores=[]), str(path), "exec")
    exec(code, place.__dict__)
    return place.__dict__[name]


def _is_needed(node: ast.stmt, name: str) -> bool:
    """Whether a statement is the class, or an import that it may use."""
    match node:
        case ast.ClassDef():
            return node.name == name
        case ast.ImportFrom():
            return node.module in LIGHT
        case ast.Import():
            return all(alias.name in LIGHT for alias in node.names)
    return False
