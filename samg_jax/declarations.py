"""The declarations in our source code: constants, settings, bounds.

The modules that declare a setting import JAX, which takes seconds. Their source answers
at once, so `--explain` and the documentation read it and import nothing.
"""

from __future__ import annotations

import ast
import functools
import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

PACKAGE = pathlib.Path(__file__).parent
UNKNOWN = object()  # The value of an expression that is not a constant.


class Module:
    """The source of one module of the package."""

    def __init__(self, path: pathlib.Path):
        """Parses the file at `path`."""
        self._tree = ast.parse(path.read_text())
        self._assigned: dict[str, ast.expr] = {}
        self._imported: dict[str, str] = {}
        for node in self._tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self._assigned[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                if node.value is not None:
                    self._assigned[node.target.id] = node.value
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    name = alias.asname or alias.name
                    self._imported[name] = f"{node.module}.{alias.name}"

    def constant(self, name: str) -> Any:
        """The value of a module-level constant.

        Values of a dictionary that are not constants are `UNKNOWN`.

        Raises:
            LookupError: The module has no such constant.
        """
        value = self._value(self._assigned[name], {})
        if value is UNKNOWN:
            raise LookupError(f"{name} is not a constant expression.")
        return value

    def defaults(self, class_name: str) -> dict[str, Any]:
        """The default of each field of a dataclass that has one."""
        return {
            item.target.id: self._value(item.value, {})
            for item in self._class(class_name).body
            if isinstance(item, ast.AnnAssign)
            and isinstance(item.target, ast.Name)
            and item.value is not None
        }

    def _class(self, name: str) -> ast.ClassDef:
        return next(
            node
            for node in self._tree.body
            if isinstance(node, ast.ClassDef) and node.name == name
        )

    def _elements(
        self, parts: Iterable[ast.expr], local: Mapping[str, Any]
    ) -> Iterator[Any]:
        """Yields the elements of a tuple, including those of starred tuples."""
        for part in parts:
            if isinstance(part, ast.Starred):
                yield from self._value(part.value, local)
            else:
                yield self._value(part, local)

    def _value(self, node: ast.expr, local: Mapping[str, Any]) -> Any:
        """The value of an expression of constants; `UNKNOWN` for any other.

        An imported module is represented by its dotted name.
        """
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return tuple(self._elements(parts, local))
            case ast.Dict(keys=keys, values=values):
                names = [self._value(key, local) for key in keys]
                return dict(
                    zip(names, (self._value(v, local) for v in values), strict=True)
                )
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._value(operand, local)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return self._value(left, local) * self._value(right, local)
            case ast.Call(func=ast.Name(id="tuple"), args=[argument]):
                return tuple(self._value(argument, local))
            case ast.Name(id=name) if name in local:
                return local[name]
            case ast.Name(id=name) if name in self._assigned:
                return self._value(self._assigned[name], {})
            case ast.Name(id=name) if name in self._imported:
                return self._imported[name]
            case ast.Attribute(value=ast.Name(), attr="inf"):
                return math.inf
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                path = self._imported.get(owner, "")
                if path.startswith("samg_jax."):
                    return load(path.removeprefix("samg_jax.")).constant(name)
        return UNKNOWN


@functools.cache
def load(name: str) -> Module:
    """The parsed source of a module of the package, such as `guidance.weights`."""
    return Module(PACKAGE.joinpath(*name.split(".")).with_suffix(".py"))
