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
import json
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cattrs import ClassValidationError, Converter, transform_error
from cattrs.gen import make_dict_structure_fn, override

from harness.core.cycle import DISCONNECT_MODES, CycleSpec, Ledger, Phase
from harness.core.errors import ConfigError, HarnessError, OptionError, SwarmError
from harness.core.note import Note, NoteKind
from harness.swarm.fields import (
    COUNT,
    SECONDS,
    TEXT,
    Hook,
    address,
    body,
    expect,
    histogram,
    instance_of,
    list_of,
    number,
    one_of,
    optional,
    paths,
    status,
    table,
    truncated,
    whole,
)
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

MAX_LINE = 4 << 20  # bytes
MAX_TEXT = 500  # characters of a note or a detail; longer ones are truncated
MAX_FAILURE = 2000  # characters of the first failure

Value = TypeVar("Value")


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
        raise BadMessage(transform_error(error, path=name, format_exception=_describe)[0]) from None
    except ValueError as error:  # the whole of it
        raise BadMessage(f"{name} is {error}") from None


def _describe(error: BaseException, _: type | None) -> str:
    """What is wrong with one field; ``transform_error`` adds which."""
    return str(error)


COUNTS = table(truncated(MAX_TEXT), COUNT, "an object of counts")

BY_TYPE: dict[Any, Hook] = {
    bool: instance_of(bool, "true or false"),
    str: TEXT,
    bytes: body,
    Histogram: histogram,
    Path: lambda value, kind: Path(TEXT(value, kind)),
    Mapping[str, str]: table(TEXT, TEXT, "an object of strings"),
    Mapping[str, int]: COUNTS,
    Mapping[int, int]: table(status, COUNT, "an object of counts"),
    int: COUNT,
    int | None: optional(COUNT),
    float: SECONDS,
    float | None: optional(SECONDS),
    tuple[str, ...]: list_of(TEXT, "a list of strings"),
}
"""How the values of a type are read if their field has no entry in BY_FIELD."""

DISCONNECT = one_of(("mixed", *DISCONNECT_MODES))
MODE = one_of(("stream", "request"))
SHARE = number(0.0, 1.0)
BY_FIELD: dict[type[Any], dict[str, Hook]] = {
    CycleSpec: {
        "index": whole(0, MAX_CONNECTIONS),
        "connections": whole(0, MAX_CONNECTIONS),
        "concurrency": whole(1, MAX_CONCURRENCY),
        "events": whole(0, MAX_CONNECTIONS),
        "dwell": number(0.0, MAX_SECONDS),
        "disconnect": DISCONNECT,
        "paths": paths,
        "phase": lambda value, kind: Phase(one_of(tuple(Phase))(value, kind)),
        "mode": MODE,
        "stalled": whole(0, MAX_CONNECTIONS),
        "invalid": SHARE,
    },
    Note: {
        "kind": lambda value, kind: NoteKind(one_of(tuple(NoteKind))(value, kind)),
        "text": truncated(MAX_TEXT),
        "data": table(truncated(MAX_TEXT), truncated(MAX_TEXT), "an object of strings"),
    },
    Ledger: {
        "details": table(truncated(MAX_TEXT), truncated(MAX_TEXT), "an object of strings"),
        "first_failure": lambda value, kind: TEXT(value, kind)[:MAX_FAILURE],
    },
    LoadOptions: {
        "disconnect": DISCONNECT,
        "mode": MODE,
        "expect": expect,
        "invalid_share": SHARE,
        "source_addresses": list_of(address, "a list of addresses"),
    },
    SwarmSetup: {
        "linger": number(0.0, MAX_SECONDS),
        "client_step": whole(1, MAX_COUNT),
        "web_port": optional(whole(0, 65_535)),
        "target_pid": whole(0, 1 << 31),
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
            read = number(low, high) if one.metadata["unit"] == "seconds" else whole(low, high)
            found[one.name] = optional(read) if one.default is None else read
    return found


def _object(kind: type[Any], converter: Converter) -> Hook:
    """An object with exactly the fields of ``kind``."""
    hooks = {name: override(struct_hook=hook) for name, hook in (_ranged(kind) | BY_FIELD[kind]).items()}
    read = make_dict_structure_fn(kind, converter, **hooks)  # type: ignore[arg-type]
    names = {one.name for one in fields(kind)}

    def read_checked(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"{type(value).__name__}; expected an object")
        # cattrs ignores unknown fields and fills missing ones with their defaults, so two versions could misunderstand
        # each other without an error.
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
    # JSON has no bytes.
    converter.register_unstructure_hook(bytes, lambda body: base64.b64encode(body).decode())
    converter.register_unstructure_hook(Path, lambda path: str(path.resolve()))
    converter.register_unstructure_hook(Histogram, lambda times: list(times.counts.items()))
    return converter


def _same(kind: Any, other: Any) -> bool:
    # Generic types such as ``tuple[str, ...]`` are no classes, so isinstance and issubclass cannot compare them.
    return bool(kind == other)


_CONVERTER = _converter()
