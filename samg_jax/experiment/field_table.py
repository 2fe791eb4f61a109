"""The table of every config field: meaning, defaults, allowed values.

Meanings, allowed values and whether a sweep may vary a field are those of the dataclass
that declares it; see `settings`. Defaults are those that the config files return.
Nothing here imports JAX.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pathlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from samg_jax import declarations, settings
from samg_jax.experiment import spec, suite_spec
from samg_jax.guidance import presets

# Algorithm -> its module.
ALGORITHMS = declarations.load("algorithms.__init__").constant("MODULES")
SUITE = "suite."  # Before the names of a suite's fields.
DEMO = "hopper-demo"  # The dataset of a config that is given none.
# Fields whose value follows from the config file or the name of the dataset.
BY_NAME = {
    "algorithm": "the config file's",
    "dataset.name": "the name after the colon",
    "dataset.family": "the family of the name",
}
# The page of docs/ that says more, by the beginning of the name; the first one counts.
PAGES = {
    "guidance": "guidance",
    "dataset": "data",
    "env_id": "data",
    "physics": "data",
    "offline.restore": "resume",
    "evaluation": "evaluate",
    "logging": "files",
    "devices": "performance",
    "matmul_precision": "performance",
    "online.overlap": "performance",
    SUITE: "suites",
    "": "configuration",
}
GROUPS = {
    "": "Run",
    "dataset": "Dataset",
    "offline": "Offline phase",
    "online": "Online phase",
    "evaluation": "Evaluation",
    "guidance": "Guidance",
    "guidance.cvae": "The C-VAE of the guidance",
    "guidance.embedding": "The embedding network of the guidance",
    "logging": "Logging",
    "agent": "Hyperparameters of the algorithm",
}


class Field(NamedTuple):
    """What is known of one field.

    Attributes:
        name: The dotted name, without `config.`.
        meanings: The meaning and the configs that have it, for every meaning.
        defaults: The default in words and the configs that have it, for every default.
        allowed: The allowed values in words.
        sweepable: Whether `--sweep` takes it.
    """

    name: str
    meanings: tuple[tuple[str, tuple[str, ...]], ...]
    defaults: tuple[tuple[str, tuple[str, ...]], ...]
    allowed: str
    sweepable: bool

    @property
    def group(self) -> str:
        """The part of the name before the last dot."""
        return self.name.rpartition(".")[0]

    @property
    def configs(self) -> tuple[str, ...]:
        """The configs that have the field."""
        return tuple(sorted({name for _, names in self.defaults for name in names}))

    @property
    def page(self) -> str:
        """The page of the documentation that says more."""
        return next(PAGES[start] for start in PAGES if self.name.startswith(start))


@functools.cache
def table() -> dict[str, Field]:
    """Every field of every config, by its dotted name."""
    values = {config: _values(config) for config in config_names()}
    names = {name for config in values for name in values[config][DEMO]}
    rows = {}
    for name in sorted(names, key=_order):
        columns = {
            config: {data: flat[name] for data, flat in by_dataset.items()}
            for config, by_dataset in values.items()
            if name in by_dataset[DEMO]
        }
        algorithms = {config: values[config][DEMO]["algorithm"] for config in columns}
        rows[name] = Field(
            name,
            _merged((meaning(name, algorithms[c]), c) for c in columns),
            _merged((_default(name, columns[c]), c) for c in columns),
            *_known(name, next(iter(algorithms.values()))),
        )
    return rows


@functools.cache
def suite_table() -> dict[str, Field]:
    """Every field of a suite, by its name after `suite.`."""
    rows = {}
    for prefix, cls in (("", suite_spec.Suite), ("budgets.", suite_spec.Budgets)):
        meanings = settings.meanings(cls)
        defaults = settings.to_config(cls).to_dict()
        for name in settings.settings(cls):
            full, of_suites = f"{SUITE}{prefix}{name}", ("suites",)
            rows[full] = Field(
                full,
                meanings=((meanings[name], of_suites),),
                defaults=((f"`{defaults[name]!r}`", of_suites),),
                allowed=_in_words(cls, name),
                sweepable=False,
            )
    return rows


def config_names() -> list[str]:
    """The names of the config files, such as `cql_samg`."""
    names = (path.stem for path in folder().glob("*.py"))
    return sorted(name for name in names if name not in ("__init__", "base"))


@functools.cache
def datasets() -> dict[str, tuple[str, ...]]:
    """Family -> names of its datasets."""
    return dict(_import("base").FAMILIES)


def folder() -> pathlib.Path:
    """The folder of the config files: beside the package, or inside it."""
    inside = declarations.PACKAGE / "configs"
    return inside if inside.is_dir() else declarations.PACKAGE.parent / "configs"


def _import(name: str) -> Any:
    """A module of the config files, wherever they are installed."""
    parent = str(folder().parent)
    if parent not in sys.path:
        sys.path.append(parent)
    return importlib.import_module(f"configs.{name}")


def _values(config: str) -> dict[str, dict[str, Any]]:
    """Dataset -> field -> value of one config file."""
    get_config = _import(config).get_config
    names = [name for family in datasets().values() for name in family]
    return {name: _flatten(get_config(name).to_dict()) for name in names}


def _flatten(
    tree: Mapping[str, Any], prefix: str = "", leaves: Any = None
) -> dict[str, Any]:
    """Nested fields as one dictionary; an empty group counts if `leaves` is given."""
    flat = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and (value or leaves is None):
            flat.update(_flatten(value, f"{prefix}{name}.", leaves))
        else:
            flat[prefix + name] = value
    return flat


def _order(name: str) -> tuple[int, int]:
    """Sorts groups as `GROUPS` does, and their fields as they are declared."""
    group, _, last = name.rpartition(".")
    declared = [
        field
        for algorithm in ALGORITHMS
        for field in settings.settings(declaration(group, algorithm))
    ]
    return [*GROUPS, group].index(group), [*declared, last].index(last)


def declaration(group: str, algorithm: str) -> type:
    """The dataclass that declares a group of fields."""
    if group == "agent":
        return settings.declared(ALGORITHMS[algorithm])
    if group == "guidance":
        return settings.declared("samg_jax.guidance.weights", "GuidanceConfig")
    cls = declaration("guidance", "") if group.startswith("guidance.") else spec.Run
    for one in dataclasses.fields(cls):
        if settings.is_group(one) and one.name == group.removeprefix("guidance."):
            return settings.of_group(one)
    return spec.Run


def meaning(name: str, algorithm: str) -> str:
    """What a config field means with an algorithm; empty if nobody says it."""
    group, _, last = name.rpartition(".")
    return settings.meanings(declaration(group, algorithm)).get(last, "")


def _known(name: str, algorithm: str) -> tuple[str, bool]:
    """The allowed values of a field in words, and whether a sweep may vary it."""
    group, _, last = name.rpartition(".")
    cls = declaration(group, algorithm)
    return _in_words(cls, last), settings.settings(cls)[last].sweepable


def _in_words(cls: type, name: str) -> str:
    """The allowed values of a field of a dataclass."""
    known = settings.settings(cls)[name]
    kind, optional = settings.kind(cls, name)
    text = str(known)
    if not text:
        words: dict[type, str] = {bool: "`True`, `False`", float: "any number"}
        text = words.get(kind, "")
    if (optional or known.filled) and "None" not in text:
        text += ", or None"
    return text


def _default(name: str, by_dataset: Mapping[str, Any]) -> str:
    """The default in words: the demo's value, then what other datasets have."""
    if name in BY_NAME:
        return BY_NAME[name]
    field = name.removeprefix("guidance.")
    if name.startswith("guidance.") and field in presets.PRESETS["paper"]:
        by_preset = {key: _value(row[field]) for key, row in presets.PRESETS.items()}
        if len(set(by_preset.values())) == 1:
            return f"`{by_preset['paper']}` in every preset"
        own = (f"`{value}` ({key})" for key, value in by_preset.items())
        return f"by `weight_preset`: {', '.join(own)}"
    by_value: dict[str, list[str]] = {}
    for dataset, value in by_dataset.items():
        by_value.setdefault(_value(value), []).append(dataset)
    first = _value(by_dataset[DEMO])
    parts = [f"`{first}`"]
    parts += [
        f"`{value}` on {_where(datasets)}"
        for value, datasets in by_value.items()
        if value != first
    ]
    return "; ".join(parts)


def _where(chosen: list[str]) -> str:
    """Datasets in words: families where all of one are among them."""
    left, words = list(chosen), []
    for family, members in datasets().items():
        if len(members) > 1 and set(members) <= set(left):
            words.append("AntMaze" if family == "antmaze" else family)
            left = [name for name in left if name not in members]
    return ", ".join(words + left)


def _value(value: Any) -> str:
    """A value as a flag takes it."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value:_}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _merged(
    pairs: Iterable[tuple[str, str]],
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Texts with the configs that share them."""
    found: dict[str, list[str]] = {}
    for text, config in pairs:
        found.setdefault(text, []).append(config)
    return tuple((text, tuple(configs)) for text, configs in found.items())
