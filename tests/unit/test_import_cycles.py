"""Imports that only type checkers or functions make count as well: a module is understood with what it names."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pycloudlib

ROOT = Path(pycloudlib.__file__).parent

EXEMPT = {
    "pycloudlib.errors": {"pycloudlib.result"},
}
"""CommandError has the Result whose check() raises it."""


def modules() -> dict[str, ast.Module]:
    """Return the syntax trees of all modules, by their names."""
    trees = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    # The package's own names are imported on first use, from everywhere.
    trees["pycloudlib"].body = [node for node in trees["pycloudlib"].body if not isinstance(node, ast.If)]
    return trees


def imported(tree: ast.Module, known: Container[str]) -> Iterator[str]:
    """Yield the modules that a module imports, among those that are known."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                module = submodule if submodule in known else str(node.module)
                if module in known:
                    yield module


def test_no_module_imports_itself_through_others() -> None:
    trees = modules()
    graph = {name: {*imported(tree, trees)} - EXEMPT.get(name, set()) for name, tree in trees.items()}
    TopologicalSorter(graph).prepare()
