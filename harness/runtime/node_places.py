"""Finds the places where the objects of a Node service grow: containers, the lines that add to them, and lines found in
a function's source.

V8's sampling heap profiler knows only the first line of a function. The agent records which lines add to a growing
container. If it saw none, the source of the function is searched for the expression. Pure, except for reading that
source.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.frames import NODE, Frame, own_first, written
from harness.core.record import Container
from harness.process.read import check_regular
from harness.runtime.counters import MIN_PER_CONNECTION, Growth

MIN_SHARE_OF_LARGEST = 0.1  # share of the largest growth below which a container is left out
SOURCE_LIMIT = 4 << 20  # bytes of one source file
MAX_LINE = 2000  # characters: a bundle in one line has no lines to name
WORDS = {"Array": "array", "Map": "Map", "Set": "Set", "Object": "object"}
BUILTIN = frozenset(
    {
        "", "undefined", "string", "number", "bigint", "boolean", "symbol", "object", "Object", "Array", "Function",
        "Map", "Set", "Buffer", "Promise", "Date", "RegExp", "Error", "WeakRef", "Proxy",
    }
)  # fmt: skip
STACK_LINE = re.compile(r"^\s+at (?:(.*?) \()?(?:file://)?(.*?):(\d+):\d+\)?$")
_SITE = re.compile(r"(?P<file>.+):(?P<line>\d+)(?: in (?P<function>.+))?")
# Literals and comments of JavaScript, in which braces do not count.
_LITERAL = re.compile(
    r"//[^\n]*|/\*.*?\*/|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"|`(?:\\.|[^`\\])*`", re.DOTALL
)
_ADDING = r"\s*\??\.\s*(?:push|unshift|splice|set|add|on|once|addListener|addEventListener|subscribe)\s*\("
_LISTENING = r"\s*\??\.\s*(?:on|once|addListener|addEventListener|prependListener|prependOnceListener)\s*"


def stack_frames(stack: str) -> tuple[Frame, ...]:
    """Frames of ``Error.stack``, innermost first."""
    matches = (STACK_LINE.match(line) for line in stack.splitlines())
    return tuple((m[2], int(m[3]), m[1] or "") for m in matches if m)


def container_growth(
    grown: Iterable[Mapping[str, Any]], units: float, recorded: float
) -> tuple[list[Growth], list[Growth]]:
    """Containers by what holds them, and the lines that added to them.

    grown: the agent's answer. units: connections over all cycles. recorded: in the cycles in which additions were
    recorded.
    """
    containers: list[Growth] = []
    lines: list[Growth] = []
    for each in grown:
        rate = int(each["gain"]) / max(1.0, units)
        if rate < MIN_PER_CONNECTION:
            continue
        item, name, file = str(each["item"]), str(each["name"]), str(each["file"])
        kind = WORDS.get(str(each["type"]), "object")
        added = [(own_first("node", stack_frames(str(stack))), int(count)) for stack, count in each["added"]]
        by_service = [(frames, count) for frames, count in added if frames and not NODE.search(frames[0][0])]
        named = file == "globalThis" or (bool(file) and not NODE.search(file.removeprefix("file://")))
        # A container that neither code nor a name of the service leads to counts only if it holds instances of a class.
        if not (by_service or (named and name)) and (item in BUILTIN or name):
            continue
        frames = tuple(map(written, by_service[0][0])) if by_service else ()
        containers.append(
            Growth.of_container(Container(name, kind, item), rate, frames, own=bool(by_service or named))
        )
        sums: dict[Frame, int] = {}
        stacks: dict[Frame, tuple[Frame, ...]] = {}
        for stack, count in by_service:
            sums[stack[0]] = sums.get(stack[0], 0) + count
            stacks.setdefault(stack[0], stack)
        lines += [
            Growth(
                written(site_),
                count / recorded,
                "elements",
                "line",
                None,
                tuple(map(written, stacks[site_])),
            )
            for site_, count in sums.items()
            if recorded and count / recorded >= MIN_PER_CONNECTION
        ]
    # A container that was made during the cycles also counts as grown. It is small beside one that retains something of
    # each connection.
    least = MIN_SHARE_OF_LARGEST * max((growth.per_connection for growth in containers), default=0.0)
    return (
        sorted(
            (one for one in containers if one.per_connection >= least),
            key=lambda growth: (not growth.own, -growth.per_connection),
        ),
        sorted(lines, key=lambda growth: -growth.per_connection),
    )


def refined(allocations: Sequence[Growth], containers: Sequence[Growth]) -> list[Growth]:
    """Sampled allocations, each at the line of its function that allocates what grew, or with the function's lines.

    A constructor allocates on behalf of the function that calls it, which is the place to look at. Lines that make what
    a growing container holds, or that name the container, come first.
    """
    known = [growth.container for growth in containers if growth.container]
    kinds = [container.item for container in known if container.item]
    held = [container.name for container in known if container.name]
    found = [_refined(growth, kinds, held) for growth in allocations]
    return [growth for growth, _ in sorted(found, key=lambda one: not one[1])]


def _refined(growth: Growth, kinds: Sequence[str], held: Sequence[str]) -> tuple[Growth, bool]:
    frames = [frame for text in growth.frames if (frame := _frame(text))]
    own = [frame for frame in frames if not NODE.search(frame[0])]
    for file, line, function in own:
        source = _source(file)
        if source is None:
            break
        # Its class is then among the kinds that are searched for, with ``new``, in the function that called it.
        if _is_constructor(source, line, function):
            kinds = [*kinds, function.rpartition(".")[2]]
            continue
        first, last = lines_of(source, line)
        found, named = search(source, first, last, kinds, held)
        at = found[0] if len(found) == 1 else first
        site = written((file, at, function))
        if len(found) != 1 and last > first:
            site += f" (lines {first}-{last})"
        return replace(growth, site=site), named
    return growth, False


def _frame(text: str) -> Frame | None:
    match = _SITE.fullmatch(text)
    return (match["file"], int(match["line"]), match["function"] or "") if match else None


def _source(file: str) -> str | None:
    """The text of a source file of the service; None where it cannot be read here."""
    path = Path(file)
    if not path.is_absolute():
        return None
    try:
        check_regular(path, SOURCE_LIMIT, expected="a source file")
        text = path.read_text(errors="replace")
    except (OSError, HarnessError):
        return None
    return None if any(len(line) > MAX_LINE for line in text.splitlines()) else text


def _is_constructor(source: str, line: int, function: str) -> bool:
    """V8 names the constructor of a class after the class, and places it at ``constructor`` or ``class``."""
    lines = source.splitlines()
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    name = re.escape(function.rpartition(".")[2])
    return bool(name) and bool(re.search(rf"\bconstructor\s*\(|\bclass\s+{name}\b", text))


def lines_of(source: str, line: int) -> tuple[int, int]:
    """First and last line of the function that begins in ``line``: by its braces."""
    # Replaced by spaces, so that the numbers of the lines stay the same.
    blank = _LITERAL.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), source)
    lines = blank.splitlines()
    depth = 0
    opened = False
    for number in range(line, min(len(lines), line + 2000) + 1):
        for sign in lines[number - 1]:
            if sign in "{(":
                depth, opened = depth + 1, opened or sign == "{"
            elif sign in "})":
                depth -= 1
        if depth <= 0 and (opened or number > line):
            return line, number
    return line, line


def search(
    source: str, first: int, last: int, kinds: Sequence[str], held: Sequence[str]
) -> tuple[list[int], bool]:
    """Lines from ``first`` to ``last`` that make one of ``kinds`` or add to one of ``held``, and True; else those that
    add to anything, and False. held: names of containers, such as ``Hub.orders``."""
    lines = source.splitlines()
    wanted = [rf"\bnew\s+(?:[\w$]+\.)*{re.escape(kind)}\b" for kind in kinds if re.fullmatch(r"[\w$]+", kind)]
    wanted += [pattern for name in held for pattern in _additions(name)]
    for patterns in (wanted, [_ADDING]):
        found = [
            number
            for number in range(first, last + 1)
            if any(re.search(pattern, lines[number - 1]) for pattern in patterns)
        ]
        if found:
            return found, patterns is wanted
    return [], False


def _additions(holder: str) -> list[str]:
    """Patterns of code that adds to a container. The listeners of an EventEmitter are in its ``_events``, to which only
    ``on`` adds them: ``bus.on('news', …)`` adds to ``Hub.bus._events.news``."""
    emitter, inner, event = holder.partition("._events")
    if not inner:
        text = re.escape(holder.rpartition(".")[2].lstrip("#"))
        return [rf"\b{text}{_ADDING}", rf"\b{text}\s*\[[^\]]*\]\s*=(?!=)", rf"\b{text}\s*=(?!=)"]
    name, owner = re.escape(event.lstrip(".")), emitter.rpartition(".")[2].lstrip("#")
    patterns = [rf"\b{re.escape(owner)}{_LISTENING}\("]
    if name:
        patterns.append(rf"{_LISTENING}\(\s*['\"`]{name}['\"`]")
    return patterns
