"""Events of one shape, many at a time.

A service sends the same fields in the same order, event after event. One regular expression per order finds
all events of a chunk in a single call; that they cover the chunk, and nothing was skipped, is proved by
counting line ends: each match holds exactly one per field and one for the blank line, and starts at a line's
start, so an event of another form, or a comment between two, leaves a line end over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from harness.core.sse_event import Event

_FIELDS = {  # what a value may hold: an empty type means "message", an id with NUL is ignored
    "event": r"event: ?+(.++)\n",
    "id": r"id: ?+([^\n\0]*+)\n",
    "data": r"data: ?+(.*+)\n",
}


class Shape:
    """Events made of these fields in this order, each once, and a blank line.

    findall: a tuple of values per event, or just the value for one field. ends: line ends per event.
    """

    __slots__ = ("build", "ends", "fields", "findall")

    def __init__(self, fields: tuple[str, ...]) -> None:
        self.fields = fields
        self.findall = re.compile("(?m)^" + "".join(_FIELDS[name] for name in fields) + r"\n").findall
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
    places = [fields.index(name) for name in in_order]

    def sorted_first(found: list[tuple[str, ...]], last: str) -> list[Event]:
        ordered: list[Event] = plain([tuple([values[place] for place in places]) for values in found], last)
        return ordered

    return sorted_first


@cache
def shape(fields: tuple[str, ...]) -> Shape | None:
    """The shape with these fields; None when they are not fields that an event has once."""
    if len(set(fields)) < len(fields) or "data" not in fields or not set(fields) <= set(_FIELDS):
        return None
    return Shape(fields)


def shape_of(text: str) -> Shape | None:
    """The shape that the first event of a text seems to have; None when it has no simple one."""
    lines = text[: text.find("\n\n")].split("\n")
    if len(lines) > len(_FIELDS):
        return None
    return shape(tuple([line[: line.find(":")] for line in lines]))
