"""The names that users import: each exists and is typed, and no others are public."""

from __future__ import annotations

import ast
import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

import harness
import harness.swarm
import harness.testing

ROOT = Path(__file__).parents[2]
PUBLIC = {
    "harness": set(harness.__all__),
    "harness.testing": set(harness.testing.__all__),
    "harness.swarm": set(harness.swarm.__all__),
    "harness.swarm.web": set[str](),  # imported for its effect: the tab in Locust's web UI
}
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("examples/**/*.md"),
    *ROOT.glob("locustfiles/*.md"),
]
PROGRAMS = [path for path in ROOT.glob("examples/**/*.py") if path.name not in ("__main__.py", "__init__.py")]
PROGRAMS += list(ROOT.glob("locustfiles/*.py"))


def test_every_name_is_there_and_nothing_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, harness, harness.swarm; "
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('harness', 'locust', 'gevent'))); "
        "[getattr(harness, name) for name in harness.__all__]; "
        "print([m for m in sys.modules if m in ('locust', 'gevent', 'harness.experiment')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines() == ["['harness', 'harness.swarm']", "[]"]


def test_the_types_are_those_of_the_stub() -> None:
    tree = ast.parse((ROOT / "harness/__init__.pyi").read_text())
    stubs = {
        each.asname: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    }
    assert stubs == harness._HOMES
    assert {*stubs, "__version__"} == set(harness.__all__)
    assert (ROOT / "harness/py.typed").exists()


@pytest.mark.parametrize("module", ["harness", "harness.testing"])
def test_each_public_name_has_a_docstring_of_its_own(module: str) -> None:
    for name in PUBLIC[module] - {"__version__"}:
        assert (getattr(sys.modules[module], name).__doc__ or "").strip(), name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    for module in (harness, harness.testing, harness.swarm):
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            module.nothing  # noqa: B018


def imported(text: str) -> list[tuple[str, str]]:
    """Imports from the harness: (module, name); an empty name for the module alone."""
    if text.startswith(">>>"):
        text = "".join(example.source for example in doctest.DocTestParser().get_examples(text))
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(each.name, "") for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.module, each.name) for each in node.names]
    return [(module, name) for module, name in found if module.split(".")[0] == "harness"]


def private_imports(text: str) -> list[tuple[str, str]]:
    return [(m, n) for m, n in imported(text) if m not in PUBLIC or (n and n not in PUBLIC[m])]


def test_documents_and_examples_import_public_names_only() -> None:
    texts = {str(path): [path.read_text()] for path in PROGRAMS}
    texts |= {str(path): FENCE.findall(path.read_text()) for path in PAGES}
    assert sum(bool(imported(text)) for each in texts.values() for text in each) >= 5, (
        "the pattern finds them"
    )
    assert {
        path: found for path, each in texts.items() for text in each if (found := private_imports(text))
    } == {}


def test_a_private_import_is_found() -> None:
    assert private_imports("from harness.experiment.guard import Request") == [
        ("harness.experiment.guard", "Request")
    ]
    assert private_imports("from harness import guard_once") == [("harness", "guard_once")]
    assert private_imports("from harness.testing import no_leaks\nimport harness.swarm.web") == []


@pytest.mark.parametrize(
    "path", [path for path in PAGES if path.name != "architecture.md"], ids=lambda p: p.name
)
def test_no_page_for_users_names_the_experiment(path: Path) -> None:
    assert "harness.experiment" not in path.read_text()
