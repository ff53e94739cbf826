"""Read the single values of a message, and check each: its type, and its range or length.

Each hook is called by cattrs, with a value and the type of its field; it returns the value or raises ValueError.
"""

from __future__ import annotations

import base64
import ipaddress
import reprlib
from collections.abc import Callable
from typing import Any

from harness.core.errors import ConfigError
from harness.core.expected import statuses
from harness.swarm.histogram import Histogram
from harness.swarm.load import MAX_COUNT

MAX_TIME = 1e12  # seconds of one figure in a ledger

Hook = Callable[[Any, Any], Any]
"""Called with a value of the message and the type of its field: returns the value, or raises ValueError."""


def refuse(value: object, expected: str) -> ValueError:
    """The error for a value that does not fit."""
    # A message may be megabytes long, so errors show only the beginning of a value.
    return ValueError(f"{reprlib.repr(value)}; expected {expected}")


def whole(low: int, high: int) -> Hook:
    """An integer in a range."""

    def read(value: Any, _: Any) -> int:
        # In Python true and false are integers.
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise refuse(value, f"an integer from {low} to {high}")
        return value

    return read


def number(low: float, high: float) -> Hook:
    """A number in a range."""

    def read(value: Any, _: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise refuse(value, f"a number from {low:g} to {high:g}")
        return float(value)

    return read


def optional(read: Hook) -> Hook:
    """``None``, or what ``read`` reads."""
    return lambda value, kind: None if value is None else read(value, kind)


def instance_of(kind: type[Any], expected: str) -> Hook:
    """A value of exactly this type, which is not converted."""

    def read(value: Any, _: Any) -> Any:
        if not isinstance(value, kind):
            raise refuse(value, expected)
        return value

    return read


def list_of(read: Hook, expected: str) -> Hook:
    """A list, each part read by ``read``: JSON and msgpack have no tuples."""

    def read_all(value: Any, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise refuse(value, expected)
        return tuple(read(part, str) for part in value)

    return read_all


def table(read_name: Hook, read: Hook, expected: str) -> Hook:
    """An object, its names and values read by the two hooks."""

    def read_all(value: Any, _: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise refuse(value, expected)
        return {read_name(name, str): read(part, str) for name, part in value.items()}

    return read_all


def one_of(names: tuple[str, ...]) -> Hook:
    """One of these texts."""

    def read(value: Any, _: Any) -> Any:
        if value not in names:
            raise refuse(value, f"one of {', '.join(names)}")
        return value

    return read


def path(value: Any, _: Any) -> str:
    """A path that can stand in a request line."""
    if not isinstance(value, str) or value[:1] != "/" or any(char in value for char in "\r\n\0 "):
        raise refuse(value, "a path that begins with /")
    return value


def paths(value: Any, kind: Any) -> tuple[str, ...]:
    """At least one path."""
    found: tuple[str, ...] = list_of(path, "a list of paths that begin with /")(value, kind)
    if not found:
        raise refuse(value, "at least one path")
    return found


def address(value: Any, _: Any) -> str:
    """A numeric address, because a name would be looked up at every bind."""
    try:
        if isinstance(value, str) and ipaddress.ip_address(value):
            return value
    except ValueError:
        pass
    raise refuse(value, "an address")


def expect(value: Any, kind: Any) -> tuple[str, ...]:
    """Statuses that the load accepts, such as ``2xx``."""
    expected: tuple[str, ...] = list_of(TEXT, "a list of statuses")(value, kind)
    try:
        statuses(expected)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return expected


def status(value: Any, _: Any) -> int:
    """An HTTP status. As a key it is a text in JSON, and a number in msgpack."""
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 3):
        raise refuse(value, "an HTTP status such as 429")
    return int(text)


def body(value: Any, kind: Any) -> bytes:
    """Bytes, as base64."""
    try:
        return base64.b64decode(TEXT(value, kind), validate=True)
    except ValueError:
        raise refuse(value, "base64") from None


def truncated(length: int) -> Hook:
    """A text, cut to a length in characters: a note that is too long must not lose a whole ledger."""
    return lambda value, _: str(value)[:length]


def histogram(value: Any, _: Any) -> Histogram:
    """Pairs of a bucket and its count."""
    count = whole(0, MAX_COUNT)
    if not isinstance(value, list | tuple) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in value
    ):
        raise refuse(value, "a list of pairs of whole numbers")
    return Histogram([(count(bucket, int), count(number, int)) for bucket, number in value])


TEXT = instance_of(str, "a string")
COUNT = whole(0, MAX_COUNT)
SECONDS = number(0.0, MAX_TIME)
