"""``make figures``: how large the code that ships is. Lines by kind of file, modules, functions, and comments.

``ARGS=FOLDER`` names another checkout, to compare with.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

PACKAGES = ("harness", "fake_broker")
PLUGIN = "sse_leak_harness_plugin.py"
TEXT = (".py", ".pyi", ".j2", ".html", ".js", ".css")
LIMIT = 300  # lines, about which a module should stay: CONTRIBUTING.md


@dataclass(frozen=True, slots=True)
class Function:
    """A function with its length in lines, and its parameters without ``self`` and ``cls``."""

    name: str
    lines: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Module:
    """lines: all of them. comments: lines that are nothing else."""

    path: str
    lines: int
    comments: int
    functions: tuple[Function, ...]


def measured(path: str, source: str) -> Module:
    """The figures of one module."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = sum(one.type == tokenize.COMMENT and one.line.lstrip().startswith("#") for one in tokens)
    return Module(path, len(source.splitlines()), comments, tuple(_functions(ast.parse(source))))


def _functions(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            more = (given.vararg is not None) + (given.kwarg is not None)
            parameters = len(names) - (names[:1] in (["self"], ["cls"])) + more
            yield Function(node.name, (node.end_lineno or node.lineno) - node.lineno + 1, parameters)


def files(root: Path) -> list[Path]:
    """The files that ship and are text."""
    found = [path for package in PACKAGES for path in (root / package).rglob("*") if path.suffix in TEXT]
    return sorted([*found, *(path for path in [root / PLUGIN] if path.exists())])


def report(root: Path) -> str:
    """The figures of a checkout, one a line."""
    lines = Counter[str]()
    modules = []
    for path in files(root):
        text = path.read_text(encoding="utf-8")
        lines[path.suffix] += len(text.splitlines())
        if path.suffix == ".py":
            modules.append(measured(str(path.relative_to(root)), text))
    functions = [(one, module.path) for module in modules for one in module.functions]
    largest = max(modules, key=lambda module: module.lines)
    longest, where = max(functions, key=lambda one: one[0].lines)
    most, whose = max(functions, key=lambda one: one[0].parameters)
    python = lines[".py"]
    return "\n".join(
        (
            f"lines that ship: {lines.total():,} "
            f"({', '.join(f'{suffix} {count:,}' for suffix, count in lines.most_common())})",
            f"modules: {len(modules)}; median {median(module.lines for module in modules):g} lines, largest "
            f"{largest.lines} ({largest.path}), above {LIMIT}: {sum(one.lines > LIMIT for one in modules)}",
            f"functions: {len(functions):,}; longest {longest.lines} lines ({longest.name} in {where}), most "
            f"parameters {most.parameters} ({most.name} in {whose})",
            f"lines that are comments: {100 * sum(module.comments for module in modules) / python:.1f} % of {python:,}",
        )
    )


if __name__ == "__main__":
    print(report(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
