"""The chain of the rooms: imports go one way, from the ground up; names are unique."""

import ast
import collections
import pathlib
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "samg_jax"
# A room imports from the rooms above it here; those of one line do not see each other.
ROOMS = (
    ("ground",),
    ("envs", "algorithms", "guidance"),
    ("data",),
    ("experiment",),
    ("training",),
    ("runs",),
    ("collecting", "results"),
    ("diagnosis",),
    ("benchmarking",),
    ("suites",),
    ("paper",),
    ("programs",),
)
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
PROGRAMS = {
    *("train", "evaluate", "collect", "diagnose", "report", "benchmark", "coverage"),
    *("suite", "api", "__main__"),
}
LOADERS = ("module", "import_module")  # `lazy.module("samg_jax.x")` and the like.
# What breaks the chain today, and why; nothing may be added.
KNOWN = {
    # Starts as the program does, so that its start can be timed.
    ("benchmarking.case_worker", "train"),
}


def room_of(module):
    """The room of a module below samg_jax; nothing for config files and the package."""
    first = module.partition(".")[0]
    if first in ("", "__init__", "configs"):
        return None
    if first in LEVEL and (PACKAGE / first).is_dir():
        return first
    return "programs" if first in PROGRAMS else "ground"


def imports_of(path):
    """Every module of the package that a file imports, wherever it stands in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            constant = node.args and isinstance(node.args[0], ast.Constant)
            if node.func.attr in LOADERS and constant:
                names = [str(node.args[0].value)]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "samg_jax" and rest and not rest.startswith("__"):
                yield rest


def modules():
    """Dotted name below samg_jax -> file, without the config files."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] != "configs"
    }


def test_imports_go_from_the_ground_up():
    found = set()
    for module, path in modules().items():
        room = room_of(module)
        for other in imports_of(path):
            target = room_of(other)
            if None in (room, target) or room == target:
                continue
            if LEVEL[target] >= LEVEL[room]:
                found.add((module, ".".join(other.split(".")[:2])))
    assert found == KNOWN


def test_every_folder_is_a_room():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders - {"configs"} <= set(LEVEL)


def test_a_module_has_a_name_of_its_own():
    names = collections.Counter(name.rpartition(".")[2] for name in modules())
    del names["__init__"]
    assert [name for name, count in names.items() if count > 1] == []
    # `types` holds the types of the package and is imported name by name.
    assert set(names) & set(sys.stdlib_module_names) == {"types"}


@pytest.mark.parametrize("folder", ["samg_jax", "tests", "launch", "examples", "docs"])
def test_no_module_of_ours_needs_another_name(folder):
    aliases = []
    for path in sorted((PACKAGE.parent / folder).rglob("*.py")):
        if "configs" in path.relative_to(PACKAGE.parent).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            ours = isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                ("samg_jax", "tests")
            )
            if ours:
                aliases += [
                    f"{path}: {alias.asname}"
                    for alias in node.names
                    if alias.asname and alias.name != "__main__"
                ]
    assert aliases == []
