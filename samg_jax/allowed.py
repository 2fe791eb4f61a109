"""The allowed values of every config field and suite field, in words.

Bounds and choices are those that the checks of a config declare; the others stand here.
Nothing here imports JAX.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from samg_jax import declarations
from samg_jax.guidance import presets

# Choices that no table of the checks has.
CHOICES = {
    "agent.initialization": ("offline", "finetune"),
    "agent.actor_schedule": ("cosine", "constant"),
    "guidance.weight_preset": tuple(presets.PRESETS),
    "physics": ("d4rl", "stock"),
}
# Bounds that no table of the checks has.
BOUNDS = {"online.offline_share": declarations.Bounds(0, 1, open=True)}
WIDTHS = "one width or more, each 1 or more"
DATASETS = "a dataset that `samg_jax.train --help` lists"
# Allowed values that are neither a number nor one of a few words.
WORDS = {
    "env_id": "an id that gymnasium knows, or `module:Id-v0`",
    "compilation_cache": "a path, or nothing",
    "dataset.name": f"{DATASETS}, or `minari:ID`",
    "dataset.family": "`locomotion`, `demo`, `antmaze`, `other`",
    "dataset.path": "the path of an HDF5 file",
    "offline.restore": "the path of a folder",
    "guidance.module": "a name that Python can import, such as `my_weights`",
}
WORDS_OF_SUITES = {
    "datasets": f"one or more, each once: {DATASETS}, or `minari:ID`",
    "dataset_path": "a path; with `{dataset}` in it if there are several datasets",
    "sweep": "FIELD=VALUE,VALUE of fields that `--sweep` takes",
    "overrides": "FIELD=VALUE of fields of a config",
    "by_algorithm": "rows NAME: (FIELD=VALUE, ...), in the file of the suite",
    "by_variant": "rows NAME: (FIELD=VALUE, ...), in the file of the suite",
}
OWN = ", or one of your own"


def limits() -> tuple[dict[str, declarations.Bounds], dict[str, tuple[str, ...]]]:
    """Field -> bounds, and field -> choices, as the checks of a config have them."""
    bounds, choices = dict(BOUNDS), dict(CHOICES)
    validation = declarations.load("training.validation")
    for name, (low, high) in validation.constant("OPEN_INTERVALS").items():
        bounds[f"agent.{name}"] = declarations.Bounds(low, high, open=True)
    for name, (low, high) in validation.constant("CLOSED_INTERVALS").items():
        bounds[f"agent.{name}"] = declarations.Bounds(low, high)
    for name, least in validation.constant("COUNTS").items():
        bounds[name] = _count(least)
    choices.update(validation.constant("CHOICES"))
    modules = declarations.load("algorithms.__init__").constant("MODULES")
    choices["algorithm"] = tuple(modules)
    for group, module, class_name in (
        ("guidance", "guidance.weights", "GuidanceConfig"),
        ("guidance.cvae", "guidance.cvae", "Config"),
        ("guidance.embedding", "guidance.embedding", "Config"),
    ):
        numbers, words = declarations.load(module).limits(class_name)
        bounds.update({f"{group}.{name}": value for name, value in numbers.items()})
        choices.update({f"{group}.{name}": value for name, value in words.items()})
    return bounds, choices


def words(
    name: str,
    kind: type,
    bounds: Mapping[str, declarations.Bounds],
    choices: Mapping[str, tuple[str, ...]],
) -> str:
    """The allowed values of a field, whose value has the type `kind`."""
    if name in choices:
        own = OWN if name in ("algorithm", "guidance.weight") else ""
        return _quoted(choices[name]) + own
    if name in bounds:
        return str(bounds[name])
    if name in WORDS:
        return WORDS[name]
    return {tuple: WIDTHS, bool: "`True`, `False`", float: "any number"}.get(kind, "")


def in_suites(algorithms: Iterable[str]) -> dict[str, str]:
    """Field of a suite -> its allowed values in words."""
    least = dict(declarations.load("suites.definition").constant("COUNTS"))
    counts = declarations.load("training.validation").constant("COUNTS")
    for name in ("offline.updates", "online.steps"):
        least[f"budgets.{name.replace('.', '_')}"] = counts[name]
    jobs = declarations.load("suites.jobs")
    variants = (jobs.constant("VANILLA"), *jobs.constant("GUIDED"))
    return WORDS_OF_SUITES | {
        **{name: str(_count(low)) for name, low in least.items()},
        "algorithms": f"one or more, each once: {_quoted(algorithms)}",
        "variants": f"one or more, each once: {_quoted(variants)}{OWN}",
    }


def _count(least: int) -> declarations.Bounds:
    return declarations.Bounds(least, math.inf, whole=True)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
