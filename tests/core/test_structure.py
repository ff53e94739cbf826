"""How the modules hang together: no cycle of imports, and no class that reaches into another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Modules that the service under test loads: flat, and not importable here.
AGENT = ROOT / "harness" / "runtime" / "agent"
# Of Locust and the standard library, where they offer no other way; each use says why.
FOREIGN = {"_handlers", "_cache_response_times", "_percentile_fields", "_exit"}


def sources(*packages: str) -> Iterator[Path]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            if AGENT not in path.parents:
                yield path


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(source: str) -> set[str]:
    """Every dotted name that a module imports or may import from, in functions and below TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def graph(modules: dict[str, str]) -> dict[str, set[str]]:
    """Module name → modules that it imports. A package that only gives a submodule its name is not an import of it."""
    found: dict[str, set[str]] = {}
    for name, source in modules.items():
        named = imports(source) & modules.keys()
        found[name] = {
            each
            for each in named
            if each != name and not any(other.startswith(f"{each}.") for other in named)
        }
    return found


def cycle(modules: dict[str, str]) -> list[str]:
    """The names of a cycle of imports; empty without one."""
    try:
        TopologicalSorter(graph(modules)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other() -> None:
    modules = {module_name(path): path.read_text() for path in sources("harness", "fake_broker")}
    assert len(modules) > 300
    assert cycle(modules) == []


def test_a_cycle_is_found_wherever_it_hides() -> None:
    hidden = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import A\n"
    assert set(cycle({"p": "", "p.a": "def f():\n    import p.b\n", "p.b": hidden})) == {"p.a", "p.b"}
    assert cycle({"p": "", "p.a": "from p import b\n", "p.b": ""}) == []


def private_uses(source: str) -> list[str]:
    """Private attributes of anything but the object itself, its class and its parent."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.endswith("__"):
            continue
        whose = node.value
        own = isinstance(whose, ast.Name) and whose.id in ("self", "cls")
        parent = isinstance(whose, ast.Call) and isinstance(whose.func, ast.Name) and whose.func.id == "super"
        if not own and not parent and node.attr not in FOREIGN:
            found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("package", ["harness/http", "harness/swarm", "harness/core", "fake_broker"])
def test_no_class_uses_private_attributes_of_another(package: str) -> None:
    found = {str(path.relative_to(ROOT)): private_uses(path.read_text()) for path in sources(package)}
    assert found
    assert {path: uses for path, uses in found.items() if uses} == {}


def test_a_private_attribute_of_another_object_is_found() -> None:
    assert private_uses("class A:\n    def f(self, other):\n        return self._x + other._x\n") == [
        "3: other._x"
    ]
    assert private_uses("class A:\n    def f(self):\n        return super()._x, self.link._x\n") == [
        "3: self.link._x"
    ]
