"""Where the jobs of a suite run: one small protocol, what implements it by name."""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from samg_jax import checks
from samg_jax.suites import definition
from samg_jax.suites.job_list import Job
from samg_jax.suites.job_runner import Status


class Work(NamedTuple):
    """What an executor is given.

    Attributes:
        out: folder of the suite, the only thing that jobs share.
        jobs: that are not complete, each behind the one that it forks from.
        retries: how often a job is started again whose process was killed.
        paths: folders where jobs look for modules, besides this package's.
        memory: returns the bytes on the host that a job needs.
        ended: to be called in this process when a job has ended.
    """

    out: pathlib.Path
    jobs: Sequence[Job]
    retries: int
    paths: Sequence[str]
    memory: Callable[[Job], float]
    ended: Callable[[Job, Status], None]


class Executor(Protocol):
    """Runs jobs somewhere, through `job_runner.run`, and returns when all have ended.

    A job is begun when its source is complete; where that has failed, `ended` is called
    with `Status.WAITING`.
    """

    def run(self, work: Work) -> None: ...


class Kind(NamedTuple):
    """An executor by name.

    Attributes:
        module: of this package, with a class `Executor`.
        needs: module that it imports, and the extra of the same name as the executor.
    """

    module: str
    needs: str | None = None


KINDS = {
    "local": Kind("local"),
    "ray": Kind("ray_cluster", "ray"),
    "slurm": Kind("slurm", "submitit"),
}


def make(name: str, texts: Sequence[str]) -> Executor:
    """Returns an executor.

    Args:
        name: one of `KINDS`.
        texts: of its options, such as `parallel=2`.

    Raises:
        checks.UserError: where the name or an option is not known, or an extra is
            missing.
    """
    if name not in KINDS:
        raise checks.UserError(
            f"executor is {name!r}. Allowed are {', '.join(KINDS)}. Write, for "
            "example, executor=local."
        )
    kind = KINDS[name]
    if kind.needs and importlib.util.find_spec(kind.needs) is None:
        raise checks.UserError(
            f"executor={name} needs the package {kind.needs}, which is not "
            f'installed. Install the extra: pip install -e ".[{name}]".'
        )
    module = importlib.import_module(f"{__package__}.{kind.module}")
    return module.Executor(**options(name, texts, module.OPTIONS))


def options(
    name: str, texts: Sequence[str], allowed: Mapping[str, str]
) -> dict[str, Any]:
    """Returns option -> value.

    Args:
        name: of the executor.
        texts: such as `parallel=2`.
        allowed: option -> what it means; a key that ends in `*` allows all of that
            beginning.
    """
    result = {}
    for text in texts:
        key, sign, value = text.partition("=")
        prefixes = tuple(k[:-1] for k in allowed if k.endswith("*"))
        if not sign or not (key in allowed or (prefixes and key.startswith(prefixes))):
            hint = checks.hint(key, allowed)
            listed = "; ".join(f"{key}: {about}" for key, about in allowed.items())
            raise checks.UserError(
                f"option={text} is not known to executor={name}. {hint}Allowed are "
                f"{listed}. Write, for example, option={next(iter(allowed))}=1."
            )
        result[key] = definition.read_value(value)
    return result


def positive(name: str, value: Any, least: float = 1) -> Any:
    """Returns the value of an option; raises UserError where it is too small."""
    if not isinstance(value, (int, float)) or value < least:
        raise checks.UserError(
            f"option={name}={value} must be a number of at least {least}. Change it."
        )
    return value
