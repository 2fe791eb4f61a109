"""Config files: found from any folder, and run with the `configs` that they mean.

Config files import one another as `configs`. Which folder that is must not depend on
where a program is started: a project may have a folder `configs` of its own.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import inspect
import pathlib
import runpy
import sys
import types
from collections.abc import Iterator
from typing import Any

import ml_collections

import samg_jax
from samg_jax import checks, foreign

PACKAGE = "configs"
SUITES = "suites"  # The folder of suites in it.
# The package's own; in a checkout a link to the folder `configs` at its root.
HOME = pathlib.Path(samg_jax.__file__).parent / PACKAGE
EXAMPLE = "config=configs/awac_samg.py:hopper-demo"

# Search path of `configs` -> its modules, so that each is run once.
_LOADED: dict[tuple[str, ...], dict[str, types.ModuleType]] = {}


def load(file: str, *dataset: str) -> ml_collections.ConfigDict:
    """The locked config of a file, for a dataset or for the file's own default."""
    path = find(file)
    if dataset and not dataset[0]:
        raise checks.UserError(
            f"config={file}: has no dataset after the colon. Name one, as in "
            f"{EXAMPLE}, or leave the colon out for the file's default."
        )
    config = call(path, *dataset)
    if not isinstance(config, ml_collections.ConfigDict):
        raise checks.UserError(
            f"get_config() of {str(path)!r} returned {type(config).__name__}; it must "
            "return a ConfigDict. End it with `return config`."
        )
    config.lock()
    return config


def find(file: str) -> pathlib.Path:
    """The path of a config file: as given, else the package's.

    Args:
        file: a path, or the name of one of the package's files, such as `awac_samg`.
            The path `configs/awac_samg.py` means the package's file too, unless the
            current folder has one.

    Raises:
        checks.UserError: there is no such file, or it is not a Python file.
    """
    named = {path.stem: path for path in HOME.glob("*.py")}
    del named["__init__"], named["base"]
    if file in named:
        return named[file]
    path = pathlib.Path(file).expanduser()
    beside = HOME.parent / path
    if not path.exists() and beside.is_file():
        path = beside
    if path.is_file() and path.suffix == ".py":
        return path
    if file and path.name == file and not path.suffix and not path.exists():
        raise checks.UserError(
            f"There is no config {file!r}. {checks.hint(file, named)}Known are "
            f"{', '.join(sorted(named))}. Write one of these, or the path of your own "
            f"Python file, and a dataset, as in {EXAMPLE}."
        )
    folder = path if path.is_dir() else path.parent
    known = [str(other) for other in sorted(folder.glob("*.py"))]
    known += [f"{PACKAGE}/{other.name}" for other in sorted(HOME.glob("*.py"))]
    if not file:
        given = "config is empty. "
    elif path.is_dir():
        given = f"config={file} is a folder. "
    elif path.is_file():
        given = f"config={file} is not a Python file. "
    else:
        given = f"There is no config file {file!r}. {checks.hint(file, known)}"
    raise checks.UserError(
        f"{given}It must be a Python file with a function get_config, such as "
        "configs/cql_samg.py of this package. Give its path, from the current folder "
        f"or absolute, and a dataset, as in {EXAMPLE}."
    )


def folder(given: str | None) -> pathlib.Path:
    """The folder of config files of a name: the package's if the other has none."""
    if given is None:
        return HOME
    path = pathlib.Path(given)
    beside = HOME.parent / path
    if not (path / "base.py").is_file() and (beside / "base.py").is_file():
        return beside
    return path


def call(
    path: pathlib.Path, *arguments: str, configs: pathlib.Path | None = None
) -> Any:
    """What `get_config(*arguments)` of a file returns.

    Args:
        path: of the file.
        *arguments: of its function.
        configs: see `importing`.

    Raises:
        checks.UserError: the file has no such function.
    """
    # What else the file imports may lie beside its folder.
    beside = str(path.absolute().parent.parent)
    if beside not in sys.path:
        sys.path.append(beside)
    aloud = foreign.ending_aloud(
        f"The config file {str(path)!r}",
        "It must only define get_config, which returns a ConfigDict. Correct the file.",
    )
    with importing(path, configs), aloud:
        function = runpy.run_path(str(path)).get("get_config")
        if not callable(function):
            raise checks.UserError(
                f"The config file {str(path)!r} has no function get_config. It must "
                "have one that takes a dataset's name and returns a ConfigDict, as "
                "configs/awac.py of this package."
            )
        try:
            inspect.signature(function).bind(*arguments)
        except TypeError as error:
            raise checks.UserError(
                f"get_config of {str(path)!r} was given {list(arguments)}, but: "
                f"{error}. A dataset after the colon of "
                "config=FILE is its one argument."
            ) from error
        return function(*arguments)


@contextlib.contextmanager
def importing(
    path: pathlib.Path, configs: pathlib.Path | None = None
) -> Iterator[None]:
    """Makes `configs` mean the folder that a file belongs to, inside the block.

    Modules are looked for in the folder `configs` that holds the file, if there is
    one, then beside the file, then in the package's; last in the current folder's.

    Args:
        path: of the file.
        configs: a folder of config files that goes before the package's.
    """
    holders = [one for one in path.absolute().parents if one.name == PACKAGE]
    candidates = [
        *holders[:1],
        path.absolute().parent / PACKAGE,
        *([] if configs is None else [configs.absolute()]),
        HOME,
        pathlib.Path.cwd() / PACKAGE,
    ]
    folders = list(dict.fromkeys(one.resolve() for one in candidates if one.is_dir()))
    outside, key = _taken_out(), tuple(map(str, folders))
    # As imported already, by a notebook for example.
    same = _path(outside) == [folders[0]]
    try:
        if same:
            sys.modules.update(outside)
        elif key in _LOADED:
            sys.modules.update(_LOADED[key])
        else:
            _import_packages(folders)
        yield
    finally:
        inside = _taken_out()
        if same:
            outside |= inside
        else:
            _LOADED[key] = inside
        sys.modules.update(outside)


def _taken_out() -> dict[str, types.ModuleType]:
    """`configs` and its modules, which Python then no longer has imported."""
    names = [name for name in sys.modules if f"{name}.".startswith(f"{PACKAGE}.")]
    return {name: sys.modules.pop(name) for name in names}


def _path(modules: dict[str, types.ModuleType]) -> list[pathlib.Path]:
    found = getattr(modules.get(PACKAGE), "__path__", [])
    return [pathlib.Path(folder).resolve() for folder in found]


def _import_packages(folders: list[pathlib.Path]) -> None:
    """Imports `configs` and `configs.suites`, each of several folders.

    The first folder's `__init__.py` is run, and what it has wins.
    """
    for name in (PACKAGE, f"{PACKAGE}.{SUITES}"):
        places = folders if name == PACKAGE else [one / SUITES for one in folders]
        first = places[0] / "__init__.py"
        if first.is_file():
            spec = importlib.util.spec_from_file_location(name, first)
        else:
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(one) for one in places if one.is_dir()]
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        if first.is_file():
            spec.loader.exec_module(module)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
