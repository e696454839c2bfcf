"""The sources as syntax trees, for the tests that read code instead of running it."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
OURS = ("proxy", "policies", "pricing", "loadtests")


@cache
def sources() -> dict[str, ast.Module]:
    """Every source file with something in it, by its path."""
    files = (file for top in OURS for file in sorted((ROOT / top).rglob("*.py")))
    trees = {str(file.relative_to(ROOT)): ast.parse(file.read_text()) for file in files if file.stat().st_size}
    gc.freeze()  # millions of nodes that stay: each later collection would walk through all of them
    return trees


@cache
def modules() -> dict[str, str]:
    named = {path.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): path for path in sources()}
    return named | {
        str(init.parent.relative_to(ROOT)).replace("/", "."): "" for init in _packages() if not init.stat().st_size
    }


def _packages() -> Iterator[Path]:
    for top in OURS:
        yield from (ROOT / top).rglob("__init__.py")


@cache
def nodes(path: str) -> tuple[ast.AST, ...]:
    """All of a file's, walked through once."""
    return tuple(ast.walk(sources()[path]))


@cache
def imports(path: str) -> frozenset[str]:
    """The modules a file imports, those under `TYPE_CHECKING` included; ours by their full name."""
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(path, node)
            inner = {f"{module}.{alias.name}" for alias in node.names}
            found |= (inner & modules().keys()) or {module}
    return frozenset(found)


def _absolute(path: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return str(node.module)
    package = path.split("/")[: -node.level]
    return ".".join([*package, node.module] if node.module else package)


def is_in(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def last_name(node: ast.AST) -> str:
    """`c` of `a.b.c`."""
    if isinstance(node, ast.Name | ast.Attribute):
        return node.id if isinstance(node, ast.Name) else node.attr
    return ast.unparse(node).rpartition(".")[2]


def functions(path: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
