"""Packs the probe into one file, for a machine that has only Python."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

ENTRY = "harness.probe.print_readings"

_HEAD = '''#!/usr/bin/env python3
"""harness probe {version}: what a process tree holds, as JSON lines. Python >= 3.8, standard library only.

    python3 this-file --pid N [--interval 0.1] [--count N] [--census]
"""

import sys

if sys.version_info < (3, 8):
    sys.exit("harness-probe: Python %d.%d; expected 3.8 or newer" % sys.version_info[:2])

import importlib.abc
import importlib.machinery

SOURCES = {{
'''

_TAIL = '''}


class Embedded(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the modules above from their text."""

    def find_spec(self, name, path=None, target=None):
        if name not in SOURCES:
            return None
        package = any(other.startswith(name + ".") for other in SOURCES)
        return importlib.machinery.ModuleSpec(name, self, origin=__file__ if "__file__" in globals() else "-",
                                              is_package=package)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        text = SOURCES[module.__name__]
        if sys.version_info < (3, 10):
            text = text.replace(", slots=True)", ")")  # dataclasses know no slots there
        exec(compile(text, "<" + module.__name__ + ">", "exec"), module.__dict__)


sys.meta_path.insert(0, Embedded())

if __name__ == "__main__":
    from harness.probe.print_readings import main

    sys.exit(main())
'''


def emit() -> str:
    """The text of one self-contained file that runs like ``python -m harness.probe``."""
    sources = modules(ENTRY)
    body = "".join(f"    {name!r}: {text!a},\n" for name, text in sorted(sources.items()))
    version = importlib.import_module("harness").__version__
    return _HEAD.format(version=version) + body + _TAIL


def modules(entry: str) -> dict[str, str]:
    """Name → source of ``entry`` and everything of harness that it imports when it is loaded.

    Found by reading the imports: a module added to the probe cannot be forgotten.
    """
    found: dict[str, str] = {}
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        if name in found or name.partition(".")[0] != "harness":
            continue
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue  # `from harness.x import a_function`
        found[name] = Path(spec.origin).read_text(encoding="utf-8")
        # Importing a.b.c imports the packages a and a.b first.
        waiting.extend(name[:at] for at, char in enumerate(name) if char == ".")
        for node in ast.parse(found[name]).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting.append(node.module)
                if spec_is_package(node.module):
                    waiting.extend(f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Import):
                waiting.extend(alias.name for alias in node.names)
    return found


def spec_is_package(name: str) -> bool:
    """Whether ``from name import x`` may name a module."""
    if name.partition(".")[0] != "harness":
        return False
    spec = importlib.util.find_spec(name)
    return bool(spec and spec.submodule_search_locations)
