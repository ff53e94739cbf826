"""How the modules hang together: no cycle of imports, and no class that reaches into another."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Modules that the service under test loads: flat, and not importable here.
AGENT = ROOT / "harness" / "runtime" / "agent"
# Packages whose classes use no private attribute of another.
ENCAPSULATED = ("harness/http", "harness/swarm", "harness/core", "fake_broker")
# Of Locust and the standard library, where they offer no other way; each use says why.
FOREIGN = {"_handlers", "_cache_response_times", "_percentile_fields", "_exit"}


def sources(*packages: str) -> Iterator[Path]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            if AGENT not in path.parents:
                yield path


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


# Parsing every module takes a second, so facts() makes every check of one file before it parses the next.
@lru_cache(maxsize=1)
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Every statement, at any depth. Expressions, nine of ten nodes, cannot contain one."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield node
            yield from statements(node)


def imports(source: str) -> set[str]:
    """Every dotted name that a module imports or may import from, in functions and below TYPE_CHECKING too."""
    found = set()
    for node in statements(parsed(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def graph(imported: dict[str, set[str]]) -> dict[str, set[str]]:
    """Module name → modules that it imports. A package that only gives a submodule its name is not an import of it."""
    found: dict[str, set[str]] = {}
    for name, names in imported.items():
        named = names & imported.keys()
        found[name] = {
            each
            for each in named
            if each != name and not any(other.startswith(f"{each}.") for other in named)
        }
    return found


def cycle(imported: dict[str, set[str]]) -> list[str]:
    """The names of a cycle of imports; empty without one. imported: the names that each module imports."""
    try:
        TopologicalSorter(graph(imported)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other() -> None:
    imported = {module_name(path): found.imports for path, found in facts().items()}
    assert len(imported) > 300
    assert cycle(imported) == []


def test_a_cycle_is_found_wherever_it_hides() -> None:
    def found(**modules: str) -> set[str]:
        named = {name.replace("_", "."): imports(source) for name, source in modules.items()}
        return set(cycle(named))

    hidden = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import A\n"
    assert found(p="", p_a="def f():\n    import p.b\n", p_b=hidden) == {"p.a", "p.b"}
    for around in (
        "try:\n    {}\nexcept E:\n    pass",
        "try:\n    f()\nexcept E:\n    {}",
        "match x:\n  case 1:\n    {}",
        "with a:\n    {}",
        "for x in y:\n    pass\nelse:\n    {}",
    ):
        assert found(p="", p_a=around.format("import p.b"), p_b=hidden) == {"p.a", "p.b"}
    assert found(p="", p_a="from p import b\n", p_b="") == set()


# A private attribute of anything that is not written out as the object itself, its class or its parent.
PRIVATE = re.compile(r"(?<!\bself)(?<!\bcls)(?<!\bsuper\(\))\s*\.\s*_")


def private_uses(source: str) -> list[str]:
    """Private attributes of anything but the object itself, its class and its parent."""
    if not PRIVATE.search(source):
        return []
    found = []
    for node in ast.walk(parsed(source)):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.endswith("__"):
            continue
        whose = node.value
        own = isinstance(whose, ast.Name) and whose.id in ("self", "cls")
        parent = isinstance(whose, ast.Call) and isinstance(whose.func, ast.Name) and whose.func.id == "super"
        if not own and not parent and node.attr not in FOREIGN:
            found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("package", ENCAPSULATED)
def test_no_class_uses_private_attributes_of_another(package: str) -> None:
    found = {str(path.relative_to(ROOT)): facts()[path].private for path in sources(package)}
    assert found
    assert {path: uses for path, uses in found.items() if uses} == {}


def test_a_private_attribute_of_another_object_is_found() -> None:
    assert private_uses("class A:\n    def f(self, other):\n        return self._x + other._x\n") == [
        "3: other._x"
    ]
    assert private_uses("class A:\n    def f(self):\n        return super()._x, self.link._x\n") == [
        "3: self.link._x"
    ]
    assert private_uses("(other\n  ._x)\nmyself._y") == ["1: other._x", "3: myself._y"]


def incomplete_objects(source: str) -> list[str]:
    """Places where an object checks whether it has an attribute yet: it was not complete when it was constructed."""
    if "hasattr" not in source and "getattr" not in source:
        return []
    found = []
    for node in ast.walk(parsed(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
            continue
        asks = node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) == 3)
        owner = node.args[0]
        if asks and isinstance(owner, ast.Name) and owner.id in ("self", "cls"):
            found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


def test_every_object_is_complete_when_it_is_constructed() -> None:
    found = {str(path.relative_to(ROOT)): one.incomplete for path, one in facts().items()}
    assert {path: uses for path, uses in found.items() if uses} == {}


def test_an_object_that_asks_for_its_own_attributes_is_found() -> None:
    asks = "class A:\n    def f(self):\n        return hasattr(self, 'x') and getattr(self, 'y', None)\n"
    assert incomplete_objects(asks) == ["3: hasattr(self, 'x')", "3: getattr(self, 'y', None)"]
    assert incomplete_objects("hasattr(other, 'x'); getattr(self, name)") == []


# What reads a text instead of showing it.
TEXT_METHODS = {
    "startswith", "endswith", "removeprefix", "removesuffix", "partition", "rpartition", "split", "rsplit", "find",
    "index", "count", "replace", "match", "fullmatch", "search", "findall", "finditer", "sub",
}  # fmt: skip


def notes_read_by_text(source: str) -> list[str]:
    """Where a note is selected or parsed by its wording: its text is compared, searched or taken apart."""
    if "note" not in source or not (".text" in source or "str(" in source):
        return []
    tree = parsed(source)
    named = {"note"}
    for node in ast.walk(tree):
        if isinstance(node, ast.comprehension | ast.For) and "notes" in ast.unparse(node.iter):
            named |= {each.id for each in ast.walk(node.target) if isinstance(each, ast.Name)}

    def is_text(node: ast.AST) -> bool:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "str":
            return any(isinstance(one, ast.Name) and one.id in named for one in node.args)
        if not (isinstance(node, ast.Attribute) and node.attr == "text"):
            return False
        owner = node.value
        return (isinstance(owner, ast.Name) and owner.id in named) or "notes" in ast.unparse(owner)

    found = []
    for node in ast.walk(tree):
        parts: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            parts = [node.func.value, *node.args] if node.func.attr in TEXT_METHODS else []
        if any(map(is_text, parts)):
            found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


def test_no_note_is_selected_by_its_wording() -> None:
    """``harness.core.earlier_records`` alone gives the notes of earlier versions a kind; it never sees a Note."""
    found = {str(path.relative_to(ROOT)): facts()[path].by_text for path in sources("harness")}
    assert {path: uses for path, uses in found.items() if uses} == {}


@pytest.mark.parametrize(
    "source",
    [
        "[note for note in trial.notes if note.text.startswith('stopped: ')]",
        "[one for one in trial.notes if 'x' in one.text]",
        "[one for one in of_kind(trial.notes, A) if PATTERN.search(one.text)]",
        "for one in ledger.notes:\n    print(one.text.split()[1])",
        "trial.notes[0].text == 'x'",
        "any(str(note).startswith('x') for note in trial.notes)",
    ],
)
def test_a_note_that_is_selected_by_its_wording_is_found(source: str) -> None:
    assert len(notes_read_by_text(source)) == 1


def test_showing_a_note_and_selecting_it_by_kind_are_fine() -> None:
    shown = "[plain(note.text) for note in trial.notes if note.kind in KINDS and note.data.get('x') == 'y']"
    assert notes_read_by_text(shown) == []


@dataclass(frozen=True, slots=True)
class Facts:
    """What the checks found in one module."""

    imports: set[str]
    private: list[str]
    incomplete: list[str]
    by_text: list[str]


@cache
def facts() -> dict[Path, Facts]:
    """Every module of the harness and the broker, with what was found in it."""
    encapsulated = set(sources(*ENCAPSULATED))
    found = {}
    for path in sources("harness", "fake_broker"):
        source = path.read_text()
        found[path] = Facts(
            imports(source),
            private_uses(source) if path in encapsulated else [],
            incomplete_objects(source),
            notes_read_by_text(source),
        )
    return found
