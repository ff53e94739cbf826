"""Comments stand above the step that they explain, and a docstring says more than that there is one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A comment behind a bracket that closes a wrapped expression: the reader meets it after the step, and the formatter
# put it there because the line was too long. Marks of tools are no prose.
BEHIND_BRACKET = re.compile(r"^[ \t]*[\])}]+[^#\"'\n]*  # (?!noqa|type: |fmt: )", re.MULTILINE)
# Docstrings that would fit any function.
EMPTY = re.compile(r"(?:Entry point|Raises \w+|Idempotent|The same|See above)\.?")
QUOTED = re.compile(rf"[\"']\s*{EMPTY.pattern}\s*[\"']")


def sources() -> Iterator[Path]:
    """Every module of the harness and of the fake broker."""
    for package in ("harness", "fake_broker"):
        yield from sorted((ROOT / package).rglob("*.py"))


def empty_docstrings(source: str) -> list[str]:
    """Names of functions and classes whose docstring describes nothing."""
    if not QUOTED.search(source):
        return []  # parsing every module takes a second
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and node.name not in ("__init__", "close")
        and EMPTY.fullmatch(ast.get_docstring(node) or "-")
    ]


def test_no_comment_stands_behind_a_closing_bracket() -> None:
    found = {
        path.relative_to(ROOT).as_posix() for path in sources() if BEHIND_BRACKET.search(path.read_text())
    }
    assert not found


def test_every_docstring_describes_something() -> None:
    found = {path.relative_to(ROOT).as_posix(): empty_docstrings(path.read_text()) for path in sources()}
    assert not {path: names for path, names in found.items() if names}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("if (\n    left < 3\n):  # too few of them\n    pass\n", True),
        ("LIMITS = (\n    3,\n)  # seconds\n", True),
        ("for one in (\n    1,\n):  # type: ignore[misc]\n    pass\n", False),
        ("# Too few of them.\nif left < 3:  # seconds\n    pass\n", False),
    ],
)
def test_such_a_comment_is_found(source: str, found: bool) -> None:
    assert bool(BEHIND_BRACKET.search(source)) is found


def test_such_a_docstring_is_found() -> None:
    assert empty_docstrings('def main() -> None:\n    """Entry point."""\n') == ["main"]
    assert empty_docstrings('class A:\n    """\n    See above\n    """\n') == ["A"]
    assert empty_docstrings("def main() -> None:\n    'The same.'\n") == ["main"]
    assert not empty_docstrings('def main() -> None:\n    """Serve until SIGTERM."""\n')
