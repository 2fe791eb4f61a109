"""Which fields of a config a run does not read, and why: one table of rules.

A field that is set and not read is a misunderstanding: `online.offline_share` without
`online.data=mix`, for example. Sweeps refuse such a field, and so does a run where one
other field decides it; of the rest one warning names all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from samg_jax import algorithms, checks, settings
from samg_jax.experiment import setting_values
from samg_jax.guidance import weights


class Run(NamedTuple):
    """What decides which fields are read.

    Attributes:
        fields: dotted name -> value, of the whole config.
        swept: names of the fields that a sweep varies.
    """

    fields: Mapping[str, Any]
    swept: Collection[str] = ()

    def __getitem__(self, name: str) -> Any:  # type: ignore[override]  # By name.
        return self.fields.get(name)

    def has(self, name: str) -> bool:
        """Whether a field that may be None has a value, or several in a sweep."""
        return self[name] is not None or name in self.swept

    @property
    def weight(self) -> str:
        return self.fields.get("guidance.weight")

    @property
    def built_in(self) -> bool:
        return self.weight in weights.BUILT_IN

    @property
    def cut(self) -> bool:
        weight = weights.REGISTRY.get(self.weight)
        return weight is None or weight.cut

    @property
    def declared(self) -> Mapping[str, settings.Setting]:
        """What is known of the algorithm's fields; empty for an unknown algorithm."""
        own = algorithms.MODULES.get(self.fields.get("algorithm", ""))
        return {} if own is None else settings.settings(own.Config)


class Rule(NamedTuple):
    """When some fields are not read.

    Attributes:
        names: of fields, and of groups, which end in a dot.
        reason: run -> why they are not read; empty where they are.
        refused: whether setting one is refused: its neighbor alone decides.
    """

    names: tuple[str, ...]
    reason: Callable[[Run], str]
    refused: bool = False


def _unless(name: str, *allowed: Any) -> Callable[[Run], str]:
    """The reason of what is read with some values of one other field only."""
    return lambda run: "" if run[name] in allowed else f"config.{name} is {run[name]!r}"


def _where(met: Callable[[Run], Any], text: str) -> Callable[[Run], str]:
    """The reason `text` wherever a condition is met; fields stand in braces."""

    def reason(run: Run) -> str:
        return text.format_map(_Values(run)) if met(run) else ""

    return reason


class _Values(dict):
    """`{GROUP__NAME}` in a text -> the value of `GROUP.NAME`."""

    def __init__(self, run: Run):
        super().__init__()
        self._run = run

    def __missing__(self, key: str) -> str:
        return repr(self._run[key.replace("__", ".")])


_GUIDANCE = "config.guidance.weight is {guidance__weight}"
_NO_ONLINE = _where(lambda run: not run["online.steps"], "config.online.steps is 0")
_FORK = "config.offline.restore forks from a run that was pre-trained"


def _of_weight(*names: str) -> Callable[[Run], str]:
    return _where(lambda run: run.built_in and run.weight not in names, _GUIDANCE)


# The first rule that applies to a field gives the reason.
RULES: tuple[Rule, ...] = (
    Rule(("guidance.",), _where(lambda run: run.weight == "none", _GUIDANCE)),
    Rule(
        (
            *("guidance.cvae.", "guidance.weight_preset", "guidance.kind"),
            *("guidance.fit", "guidance.use_std", "guidance.references"),
        ),
        _of_weight("cvae"),
    ),
    Rule(("guidance.embedding.",), _of_weight("embedding")),
    Rule(("guidance.constant",), _of_weight("constant")),
    Rule(
        (
            *("guidance.cut", "guidance.threshold", "guidance.threshold_quantile"),
            "guidance.temperature",
        ),
        _where(lambda run: not run.cut, "the weight {guidance__weight} is not cut"),
    ),
    Rule(
        ("guidance.threshold",),
        _where(
            lambda run: run.has("guidance.threshold_quantile"),
            "the threshold is a quantile",
        ),
        refused=True,
    ),
    Rule(("guidance.temperature",), _unless("guidance.cut", "soft"), refused=True),
    Rule(
        ("guidance.delta",),
        _where(
            lambda run: run.built_in and run.weight != "cvae",
            "only the C-VAE's probability of kind 'window' has a width",
        ),
    ),
    Rule(
        ("guidance.delta",),
        _where(
            lambda run: run.weight == "cvae" and run["guidance.kind"] != "window",
            "config.guidance.kind is {guidance__kind}, and only the C-VAE's "
            "probability of kind 'window' has a width",
        ),
        refused=True,
    ),
    Rule(
        ("guidance.references",),
        _where(
            lambda run: run.weight == "cvae" and run["guidance.kind"] != "nearest",
            "config.guidance.kind is {guidance__kind}",
        ),
        refused=True,
    ),
    Rule(
        ("guidance.cvae.action_weight",),
        _where(
            lambda run: (
                run.weight == "cvae"
                and run["guidance.cvae.reconstruct"] != "next_state_action"
            ),
            "config.guidance.cvae.reconstruct is {guidance__cvae__reconstruct}",
        ),
        refused=True,
    ),
    Rule(
        ("guidance.penalty",),
        _where(
            lambda run: all(
                known.source != "guidance.penalty" for known in run.declared.values()
            ),
            "config.algorithm is {algorithm}, which has no conservative penalty",
        ),
    ),
    Rule(
        (
            *("guidance.threshold", "guidance.cut", "guidance.temperature"),
            *("guidance.constant", "guidance.strength", "guidance.cutoff_steps"),
            *("guidance.penalty", "guidance.freeze"),
        ),
        _NO_ONLINE,
    ),
    Rule(
        tuple(
            f"online.{name}"
            for name in (
                *("batch_size", "updates_per_step", "data", "offline_share"),
                *("buffer_size", "warmup_steps", "overlap", "eval_every"),
                *("log_every", "checkpoint_every"),
            )
        ),
        _NO_ONLINE,
    ),
    Rule(("online.offline_share",), _unless("online.data", "mix"), refused=True),
    Rule(
        ("offline.batch_size", "offline.eval_every"),
        _where(lambda run: run["offline.restore"], _FORK),
    ),
    Rule(
        ("offline.updates",),
        # The schedule of IQL's policy goes on where it was.
        _where(
            lambda run: (
                run["offline.restore"] and run["agent.actor_schedule"] != "cosine"
            ),
            _FORK,
        ),
    ),
    Rule(
        ("offline.log_every", "offline.checkpoint_every"),
        # A weight's model may still have to be trained.
        _where(
            lambda run: run["offline.restore"] and run.weight == "none",
            _FORK,
        ),
    ),
    *(
        Rule(
            (f"agent.{name}",),
            _where(
                lambda run, name=name: (  # type: ignore[misc]
                    run["offline.restore"] and run.has(f"agent.{name}_online")
                ),
                f"config.agent.{name}_online is what fine-tuning reads",
            ),
        )
        for name in ("inverse_temperature", "cql_weight")
    ),
    Rule(
        (
            *("dataset.reward_transform", "dataset.reward_scale"),
            "dataset.reward_bias",
        ),
        _where(
            lambda run: not algorithms.learns_values(run.fields["algorithm"]),
            "config.algorithm is {algorithm}, which learns from no rewards",
        ),
    ),
    Rule(
        ("dataset.reward_scale", "dataset.reward_bias"),
        _unless("dataset.reward_transform", "range", "affine"),
        refused=True,
    ),
    Rule(
        ("dataset.name",),
        _where(lambda run: run["dataset.path"], "config.dataset.path names the data"),
    ),
    Rule(
        ("compilation_cache",),
        _where(
            lambda run: os.environ.get("JAX_COMPILATION_CACHE_DIR"),
            "the environment variable JAX_COMPILATION_CACHE_DIR is set",
        ),
    ),
)


def of_fields(name: str, fields: Mapping[str, Any], swept: Collection[str] = ()) -> str:
    """Why a run does not read a field; empty where it does.

    Args:
        name: dotted, without `config.`.
        fields: dotted name -> value, of the whole config, complete.
        swept: names of the fields that a sweep varies.
    """
    return _apply(name, Run(fields, swept))[0]


def check(fields: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """One warning of all fields that were set and are not read; empty without one.

    Args:
        fields: A complete config as nested dictionaries.
        given: fields that the user has set -> the values that they would have
            otherwise. A field that is set to that value is never refused.

    Raises:
        checks.UserError: a neighbor of a field decides that it does nothing.
    """
    swept = [text.split("=")[0].strip() for text in fields.get("sweep", ())]
    swept = [name.removeprefix("config.") for name in swept]
    run = Run(setting_values.flatten(fields), swept)
    found = []
    for name in given:
        why, refused = _apply(name, run)
        if not why:
            continue
        if refused and run[name] != given[name]:
            raise checks.UserError(
                f"config.{name} is set to {run[name]!r}, which does nothing: {why}. "
                f"Leave config.{name} out, or change that."
            )
        found.append(f"config.{name} ({why})")
    if not found:
        return ""
    are = "is a field" if len(found) == 1 else "are fields"
    return (
        f"Set, but not read by this run, {are}: {'; '.join(found)}. Leave out what "
        "should not be set, or change what decides."
    )


def _apply(name: str, run: Run) -> tuple[str, bool]:
    """Why a field is not read, and whether that is refused."""
    if name == "guidance.weight":  # It decides the others.
        return "", False
    for rule in RULES:
        if any(_matches(name, pattern) for pattern in rule.names):
            why = rule.reason(run)
            if why:
                return why, rule.refused
    if name.startswith("agent."):
        return _apply_declared(name.removeprefix("agent."), run)
    return "", False


def _apply_declared(name: str, run: Run) -> tuple[str, bool]:
    """The same of a field of the algorithm, by what its declaration says."""
    known = run.declared.get(name)
    if known is None:
        return "", False
    if known.fine_tuning and not run["online.steps"]:
        return "config.online.steps is 0", False
    if known.needs and not any(run[f"agent.{other}"] for other in known.needs):
        first = f"agent.{known.needs[0]}"
        value = run[first]
        shown = f"{value:g}" if type(value) is float else value
        return f"config.{first} is {shown}", known.refused
    return "", False


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern) if pattern.endswith(".") else name == pattern


def for_fine_tuning(
    name: str, fields: Mapping[str, Any], swept: Collection[str]
) -> str:
    """The same of the phase that sweeps vary, where ones of both phases have twins."""
    fields, online = setting_values.flatten(fields), f"{name}_online"
    known = algorithms.hyperparameters(fields["algorithm"])
    if online.removeprefix("agent.") in known and Run(fields, swept).has(online):
        return f"config.{online} is what fine-tuning reads"
    return of_fields(name, fields, swept)
