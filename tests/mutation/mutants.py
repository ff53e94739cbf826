"""The mutants of one module: one small change of its source each, made by mutmut's operators.

mutmut itself mutates the bodies of functions only. Half of the faults that once went unnoticed here were changed
constants of modules, so its operators are applied to the whole module.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import libcst as cst
import libcst.matchers as m
from libcst.metadata import MetadataWrapper
from mutmut.mutation.mutators import mutation_operators, operator_dict_arguments, operator_string

# Texts are for people: their wording is not pinned by tests, and neither is a sentence that is taken away.
LEFT_OUT = (operator_string, operator_dict_arguments)
TEXTS = (cst.SimpleString, cst.FormattedString, cst.ConcatenatedString)


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


class Module:
    """The changes of one module. Making a mutant of a change costs far more than finding it."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._wrapper = MetadataWrapper(cst.parse_module(source))
        visitor = _Visitor()
        self._wrapper.visit(visitor)
        self._found = visitor.found

    def __len__(self) -> int:
        return len(self._found)

    def mutant(self, number: int) -> Mutant | None:
        """The mutant of one change; None where it changes nothing, or does not compile."""
        old, new = self._found[number]
        changed = self._wrapper.module.deep_replace(old, new)
        text = changed.code if isinstance(changed, cst.Module) else self._source
        if text == self._source or not _compiles(text):
            return None
        return Mutant(*_difference(self._source, text), text)


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module that compiles, in the order of its lines."""
    module = Module(source)
    seen = set()
    for number in range(len(module)):
        mutant = module.mutant(number)
        if mutant is not None and mutant.source not in seen:
            seen.add(mutant.source)
            yield mutant


def sample(sources: Mapping[str, str], size: int, seed: int) -> tuple[list[tuple[str, Mutant]], int]:
    """At most ``size`` mutants of all modules (path → source), each with its path, in order; and how many changes
    there are. The same ones for the same seed; each has the same chance."""
    modules = {path: Module(source) for path, source in sorted(sources.items())}
    every = [(path, number) for path, module in modules.items() for number in range(len(module))]
    chosen: dict[tuple[str, int], tuple[str, Mutant]] = {}
    seen = set()
    for path, number in random.Random(seed).sample(every, len(every)):
        if len(chosen) >= size:
            break
        mutant = modules[path].mutant(number)
        if mutant is not None and (path, mutant.source) not in seen:
            seen.add((path, mutant.source))
            chosen[path, number] = path, mutant
    return [chosen[key] for key in sorted(chosen)], len(every)


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
        if m.matches(node, m.Call(func=m.Name("TypeVar"))):
            return False
        for kind, operator in mutation_operators:
            if isinstance(node, kind) and operator not in LEFT_OUT:
                self.found += [(node, new) for new in operator(node) if not _takes_a_sentence(node, new)]
        return True


def _takes_a_sentence(node: cst.CSTNode, new: cst.CSTNode) -> bool:
    """Whether an argument that is a text of several words is removed, or None instead."""
    if not isinstance(node, cst.Call) or not isinstance(new, cst.Call):
        return False
    left = [cst.Module([]).code_for_node(each.value) for each in new.args]
    gone = [
        each.value
        for at, each in enumerate(node.args)
        if at >= len(left) or cst.Module([]).code_for_node(each.value) != left[at]
    ]
    return bool(gone) and isinstance(gone[0], TEXTS) and " " in cst.Module([]).code_for_node(gone[0])


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
