"""The control protocol between the experiment and the swarm: JSON lines over a Unix socket.

To the child: ``{"order": "setup", "setup": {...}}`` once, then ``{"order": "cycle", "spec": {...}}``, ``{"order":
"cancel"}``, ``{"order": "stop"}``. From it: ``{"hello": PID}``, ``{"ready": true}``, ``{"progress": OUTCOME}``,
``{"outcome": OUTCOME}``, ``{"error": TEXT}``; an OUTCOME is ``{"ledger": {...}, "first_events": [[bucket, count],
...]}``. A master and its workers exchange the same values in Locust's custom messages. cattrs reads and writes the
values, and every field is checked: its type, and its range or length. Both sides import this; it imports neither
locust nor gevent.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cattrs import ClassValidationError, Converter, transform_error
from cattrs.gen import make_dict_structure_fn, override

from harness.core.cycle import DISCONNECT_MODES, CycleSpec, Ledger, Phase
from harness.core.errors import ConfigError, HarnessError, OptionError, SwarmError
from harness.core.expected import statuses
from harness.core.note import Note, NoteKind
from harness.swarm.histogram import Histogram
from harness.swarm.load import (
    MAX_CONCURRENCY,
    MAX_CONNECTIONS,
    MAX_COUNT,
    MAX_SECONDS,
    LoadOptions,
)
from harness.swarm.setup import SwarmSetup
from harness.swarm.tally import Outcome

MAX_LINE = 4 << 20
MAX_TEXT = 500  # characters of a note or a detail; longer ones are cut
MAX_FAILURE = 2000  # characters of the first failure
LONGEST_TIME = 1e12  # seconds of one figure in a ledger

Value = TypeVar("Value")
Hook = Callable[[Any, Any], Any]
"""Called with a value of the message and the type of its field: returns the value, or raises ValueError."""


class BadMessage(ValueError):
    """A message that does not fit the protocol; the text names the field and what was expected."""


def encode(message: dict[str, Any]) -> bytes:
    """One line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """One line back; raises BadMessage for anything but a JSON object of at most MAX_LINE bytes."""
    if len(line) > MAX_LINE:
        raise BadMessage(f"a line of {len(line)} bytes; expected at most {MAX_LINE}")
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise BadMessage(f"a JSON {type(message).__name__}; expected an object")
    return message


def setup_to_dict(setup: SwarmSetup) -> dict[str, Any]:
    """A setup as plain values."""
    return _plain(setup)


def setup_from_dict(data: Any) -> SwarmSetup:
    """Raises BadMessage naming the field that is wrong."""
    setup = _value("setup", data, SwarmSetup)
    if not setup.load.processes and not setup.load.remote_workers:
        raise BadMessage("processes is 0; expected at least 1 without remote workers")
    return setup


def spec_to_dict(spec: CycleSpec) -> dict[str, Any]:
    """A cycle's order as plain values."""
    return _plain(spec)


def spec_from_dict(data: Any) -> CycleSpec:
    """Validate every field; raises BadMessage naming the one that is wrong."""
    return _value("spec", data, CycleSpec)


def outcome_to_dict(outcome: Outcome) -> dict[str, Any]:
    """A ledger and its times as plain values."""
    return _plain(outcome)


def outcome_from_dict(data: Any) -> Outcome:
    """Raises BadMessage when a field is missing, unknown or of the wrong type."""
    return _value("outcome", data, Outcome)


def error_to_dict(error: Exception) -> dict[str, Any]:
    """An error as a message."""
    found: dict[str, Any] = {"error": str(error), "usage": isinstance(error, ConfigError)}
    if isinstance(error, OptionError) and isinstance(error.value, str | int | float | None):
        found["option"] = [error.option, error.value, error.text]
    return found


def error_from_dict(message: dict[str, Any]) -> HarnessError:
    """The error of a message: a mistake in the request, which may name an option, or a failure of the swarm."""
    if message.get("usage") is not True:
        return SwarmError(f"the swarm refused: {message['error']}")
    match message.get("option"):
        case [str(name), str() | int() | float() | None as value, str(text)]:
            return OptionError(name, value, text)
    return ConfigError(str(message["error"]))


def _plain(value: object) -> dict[str, Any]:
    plain: dict[str, Any] = _CONVERTER.unstructure(value)
    return plain


def _value(name: str, data: Any, kind: type[Value]) -> Value:
    try:
        return _CONVERTER.structure(data, kind)
    except ClassValidationError as error:
        raise BadMessage(transform_error(error, path=name, format_exception=_say)[0]) from None
    except ValueError as error:  # the whole of it
        raise BadMessage(f"{name} is {error}") from None


def _say(error: BaseException, _: type | None) -> str:
    """What is wrong with one field; ``transform_error`` adds which."""
    return str(error)


def _refuse(value: object, expected: str) -> ValueError:
    # A message may be megabytes long, so errors show only the beginning of a value.
    return ValueError(f"{reprlib.repr(value)}; expected {expected}")


def _whole(low: int, high: int) -> Hook:
    def read(value: Any, _: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _refuse(value, f"an integer from {low} to {high}")
        return value

    return read


def _number(low: float, high: float) -> Hook:
    def read(value: Any, _: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise _refuse(value, f"a number from {low:g} to {high:g}")
        return float(value)

    return read


def _optional(read: Hook) -> Hook:
    return lambda value, kind: None if value is None else read(value, kind)


def _strictly(kind: type[Any], expected: str) -> Hook:
    def read(value: Any, _: Any) -> Any:
        if not isinstance(value, kind):
            raise _refuse(value, expected)
        return value

    return read


def _texts(read: Hook, expected: str) -> Hook:
    """A list, each part read by ``read``: JSON and msgpack have no tuples."""

    def read_all(value: Any, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise _refuse(value, expected)
        return tuple(read(part, str) for part in value)

    return read_all


def _table(read_name: Hook, read: Hook, expected: str) -> Hook:
    def read_all(value: Any, _: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise _refuse(value, expected)
        return {read_name(name, str): read(part, str) for name, part in value.items()}

    return read_all


def _one_of(names: tuple[str, ...]) -> Hook:
    def read(value: Any, _: Any) -> Any:
        if value not in names:
            raise _refuse(value, f"one of {', '.join(names)}")
        return value

    return read


def _path(value: Any, _: Any) -> str:
    """A path that can stand in a request line."""
    if not isinstance(value, str) or value[:1] != "/" or any(char in value for char in "\r\n\0 "):
        raise _refuse(value, "a path that begins with /")
    return value


def _paths(value: Any, kind: Any) -> tuple[str, ...]:
    paths = _texts(_path, "a list of paths that begin with /")(value, kind)
    if not paths:
        raise _refuse(value, "at least one path")
    return paths  # type: ignore[no-any-return]


def _address(value: Any, _: Any) -> str:
    """A numeric address, because a name would be looked up at every bind."""
    try:
        if isinstance(value, str) and ipaddress.ip_address(value):
            return value
    except ValueError:
        pass
    raise _refuse(value, "an address")


def _expect(value: Any, kind: Any) -> tuple[str, ...]:
    texts: tuple[str, ...] = _texts(TEXT, "a list of statuses")(value, kind)
    try:
        statuses(texts)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return texts


def _status(value: Any, _: Any) -> int:
    """An HTTP status. As a key it is a text in JSON, and a number in msgpack."""
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 3):
        raise _refuse(value, "an HTTP status such as 429")
    return int(text)


def _body(value: Any, kind: Any) -> bytes:
    try:
        return base64.b64decode(TEXT(value, kind), validate=True)
    except ValueError:
        raise _refuse(value, "base64") from None


def _cut(length: int) -> Hook:
    return lambda value, _: str(value)[:length]


def _histogram(value: Any, _: Any) -> Histogram:
    count = _whole(0, MAX_COUNT)
    if not isinstance(value, list | tuple) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in value
    ):
        raise _refuse(value, "a list of pairs of whole numbers")
    return Histogram([(count(bucket, int), count(number, int)) for bucket, number in value])


TEXT = _strictly(str, "a text")
COUNT = _whole(0, MAX_COUNT)
SECONDS = _number(0.0, LONGEST_TIME)
COUNTS = _table(_cut(MAX_TEXT), COUNT, "an object of counts")

BY_TYPE: dict[Any, Hook] = {
    bool: _strictly(bool, "true or false"),
    str: TEXT,
    bytes: _body,
    Histogram: _histogram,
    Path: lambda value, kind: Path(TEXT(value, kind)),
    Mapping[str, str]: _table(TEXT, TEXT, "an object of texts"),
    Mapping[str, int]: COUNTS,
    Mapping[int, int]: _table(_status, COUNT, "an object of counts"),
    int: COUNT,
    int | None: _optional(COUNT),
    float: SECONDS,
    float | None: _optional(SECONDS),
    tuple[str, ...]: _texts(TEXT, "a list of texts"),
}
"""How the values of a type are read if their field has no entry in BY_FIELD."""

DISCONNECT = _one_of(("mixed", *DISCONNECT_MODES))
MODE = _one_of(("stream", "request"))
SHARE = _number(0.0, 1.0)
BY_FIELD: dict[type[Any], dict[str, Hook]] = {
    CycleSpec: {
        "index": _whole(0, MAX_CONNECTIONS),
        "connections": _whole(0, MAX_CONNECTIONS),
        "concurrency": _whole(1, MAX_CONCURRENCY),
        "events": _whole(0, MAX_CONNECTIONS),
        "dwell": _number(0.0, MAX_SECONDS),
        "disconnect": DISCONNECT,
        "paths": _paths,
        "phase": lambda value, kind: Phase(_one_of(tuple(Phase))(value, kind)),
        "mode": MODE,
        "stalled": _whole(0, MAX_CONNECTIONS),
        "invalid": SHARE,
    },
    Note: {
        "kind": lambda value, kind: NoteKind(_one_of(tuple(NoteKind))(value, kind)),
        "text": _cut(MAX_TEXT),
        "data": _table(_cut(MAX_TEXT), _cut(MAX_TEXT), "an object of texts"),
    },
    Ledger: {
        "details": _table(_cut(MAX_TEXT), _cut(MAX_TEXT), "an object of texts"),
        "first_failure": lambda value, kind: TEXT(value, kind)[:MAX_FAILURE],
    },
    LoadOptions: {
        "disconnect": DISCONNECT,
        "mode": MODE,
        "expect": _expect,
        "invalid_share": SHARE,
        "source_addresses": _texts(_address, "a list of addresses"),
    },
    SwarmSetup: {
        "linger": _number(0.0, MAX_SECONDS),
        "client_step": _whole(1, MAX_COUNT),
        "web_port": _optional(_whole(0, 65_535)),
        "target_pid": _whole(0, 1 << 31),
    },
    Outcome: {},
}
"""How fields with a range or a format of their own are read."""


def _ranged(kind: type[Any]) -> dict[str, Hook]:
    """The ranges that the fields themselves have: those of a load option."""
    found: dict[str, Hook] = {}
    for one in fields(kind):
        if one.metadata:
            low, high = one.metadata["low"], one.metadata["high"]
            read = _number(low, high) if one.metadata["unit"] == "seconds" else _whole(low, high)
            found[one.name] = _optional(read) if one.default is None else read
    return found


def _object(kind: type[Any], converter: Converter) -> Hook:
    """An object with exactly the fields of ``kind``."""
    hooks = {name: override(struct_hook=hook) for name, hook in (_ranged(kind) | BY_FIELD[kind]).items()}
    read = make_dict_structure_fn(kind, converter, **hooks)  # type: ignore[arg-type]
    names = {one.name for one in fields(kind)}

    def read_checked(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"{type(value).__name__}; expected an object")
        if unknown := set(value) - names:
            raise ValueError(f"an object with unknown fields {sorted(unknown)}; expected {sorted(names)}")
        if missing := names - set(value):
            raise ValueError(f"an object without {sorted(missing)}; expected {sorted(names)}")
        return read(value, kind)

    return read_checked


def _converter() -> Converter:
    converter = Converter()
    for kind, hook in BY_TYPE.items():
        if isinstance(kind, type):
            converter.register_structure_hook(kind, hook)  # else cattrs would convert: 1 to True, 7 to "7"
        else:
            converter.register_structure_hook_func(partial(_same, kind), hook)
    for kind in BY_FIELD:
        converter.register_structure_hook_func(partial(_same, kind), _object(kind, converter))
    converter.register_unstructure_hook(bytes, lambda body: base64.b64encode(body).decode())
    converter.register_unstructure_hook(Path, lambda path: str(path.resolve()))
    converter.register_unstructure_hook(Histogram, lambda times: list(times.counts.items()))
    return converter


def _same(kind: Any, other: Any) -> bool:
    return bool(kind == other)


_CONVERTER = _converter()
