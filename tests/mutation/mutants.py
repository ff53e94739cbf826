"""The mutants of one module: one small change of its source each, made by mutmut's operators.

mutmut itself mutates the bodies of functions only. Half of the faults that once went unnoticed here were changed
constants of modules, so its operators are applied to the whole module.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst
from libcst.metadata import MetadataWrapper
from mutmut.mutation.mutators import mutation_operators, operator_dict_arguments, operator_string

# Texts are for people: their wording is not pinned by tests.
LEFT_OUT = (operator_string, operator_dict_arguments)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed source. line: where. before, after: the changed line. source: the whole module."""

    line: int
    before: str
    after: str
    source: str

    @property
    def name(self) -> str:
        """What is changed, for people and for the list of reasons."""
        return f"{self.before} → {self.after}"


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module that compiles, in the order of its lines."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = _Visitor()
    wrapper.visit(visitor)
    seen = {source}
    for old, new in visitor.found:
        changed = wrapper.module.deep_replace(old, new)
        text = changed.code if isinstance(changed, cst.Module) else source
        if text in seen or not _compiles(text):
            continue
        seen.add(text)
        number, before, after = _difference(source, text)
        yield Mutant(number, before, after, text)


def sample(found: list[Mutant], size: int, seed: str) -> list[Mutant]:
    """At most ``size`` of them, the same ones for the same seed, in their order."""
    if len(found) <= size:
        return found
    chosen = random.Random(seed).sample(range(len(found)), size)
    return [found[index] for index in sorted(chosen)]


class _Visitor(cst.CSTVisitor):
    """Collects (node, replacement), without what no test can see."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[cst.CSTNode, cst.CSTNode]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Annotations and imports do not run; decorators and asserts are for readers and type checkers."""
        if isinstance(node, cst.Annotation | cst.Import | cst.ImportFrom | cst.Decorator | cst.Assert):
            return False
        if (
            isinstance(node, cst.If)
            and isinstance(node.test, cst.Name)
            and node.test.value == "TYPE_CHECKING"
        ):
            return False
        for kind, operator in mutation_operators:
            if isinstance(node, kind) and operator not in LEFT_OUT:
                self.found += [(node, new) for new in operator(node)]
        return True


def _compiles(text: str) -> bool:
    try:
        compile(text, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def _difference(source: str, text: str) -> tuple[int, str, str]:
    """The first line that differs."""
    old, new = source.splitlines(), text.splitlines()
    for number, (before, after) in enumerate(zip(old, new, strict=False), 1):
        if before != after:
            return number, before.strip(), after.strip()
    return len(old), "", ""
