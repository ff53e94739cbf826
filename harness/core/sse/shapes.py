"""Events of one shape, many at a time.

A service sends the same fields in the same order, event after event. One regular expression per order finds
all events of a chunk in a single call; that they cover the chunk, and nothing was skipped, is proved by
counting line ends: each match holds exactly one per field and one for the blank line, and starts at a line's
start, so an event of another form, or a comment between two, leaves a line end over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import permutations
from typing import Any

from harness.core.sse.event import Event

_FIELDS = {  # what a value may hold: an empty type means "message", an id with NUL is ignored
    "event": r"event: ?+(.++)\n",
    "id": r"id: ?+([^\n\0]*+)\n",
    "data": r"data: ?+(.*+)\n",
}


class Shape:
    """Events made of these fields in this order, each once, and a blank line.

    findall: of a text, a tuple of values per event, or just the value for one field. one: of a text that is one event
    and nothing else, a match with the groups event, id and data, "" for those that it lacks. ends: line ends per event.
    """

    __slots__ = ("build", "ends", "fields", "findall", "numbered", "one")

    def __init__(self, fields: tuple[str, ...]) -> None:
        self.fields = fields
        self.numbered = "id" in fields
        self.findall = re.compile("(?m)^" + "".join(_FIELDS[name] for name in fields) + r"\n").findall
        named = [_FIELDS[name].replace("(", f"(?P<{name}>") for name in fields]
        missing = [f"(?P<{name}>)" for name in _FIELDS if name not in fields]
        self.one = re.compile("".join([*named, *missing, r"\n"])).fullmatch
        self.ends = len(fields) + 1
        self.build = _builder(fields)


def _builder(fields: tuple[str, ...]) -> Callable[[list[Any], str], list[Event]]:
    """(what findall found, the last event id before it) → events."""
    new = tuple.__new__  # a third of the time of Event(...), which is a Python function

    def bare(found: list[str], last: str) -> list[Event]:
        return [new(Event, ("message", last, data)) for data in found]

    def typed(found: list[tuple[str, str]], last: str) -> list[Event]:
        return [new(Event, (kind, last, data)) for kind, data in found]

    def numbered(found: list[tuple[str, str]], last: str) -> list[Event]:
        return [new(Event, ("message", own, data)) for own, data in found]

    def whole(found: list[tuple[str, str, str]], last: str) -> list[Event]:
        return [new(Event, values) for values in found]

    in_order = tuple(name for name in ("event", "id", "data") if name in fields)
    plain: Any = {
        ("data",): bare,
        ("event", "data"): typed,
        ("id", "data"): numbered,
        ("event", "id", "data"): whole,
    }[in_order]
    if fields == in_order:
        return plain  # type: ignore[no-any-return]
    if len(fields) == 2:

        def swapped(found: list[tuple[str, str]], last: str) -> list[Event]:
            return plain([(second, first) for first, second in found], last)  # type: ignore[no-any-return]

        return swapped
    kind, own, data = [fields.index(name) for name in in_order]

    def sorted_first(found: list[tuple[str, str, str]], last: str) -> list[Event]:
        return [new(Event, (values[kind], values[own], values[data])) for values in found]

    return sorted_first


SHAPES = {
    order: Shape(order)
    for fields in (("data",), ("event", "data"), ("id", "data"), ("event", "id", "data"))
    for order in permutations(fields)
}
"""By their fields. All of them, made once: a cache would grow by what a peer sends."""

BARE = SHAPES["data",]


def shape_of(block: bytes) -> Shape | None:
    """The shape that the first event of a block seems to have; None when it has no simple one."""
    lines = block[: min(block.find(b"\n\n"), 4096)].split(b"\n", len(_FIELDS))
    return SHAPES.get(tuple([str(line.partition(b":")[0][:6], "latin-1") for line in lines]))
