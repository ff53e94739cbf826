"""The control protocol between the experiment and the swarm child: JSON lines over a Unix socket.

To the child: ``{"order": "cycle", "spec": {...}}``, ``{"order": "cancel"}``, ``{"order": "stop"}``.
From it: ``{"ready": true}``, ``{"progress": {...}}``, ``{"ledger": {...}}``, ``{"error": TEXT}``.
Imports nothing but the core: both sides use it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from harness.core.cycle import DISCONNECT_MODES, CycleSpec, Ledger, Phase

MAX_LINE = 1 << 20
MAX_CONNECTIONS = 10_000_000
MAX_CONCURRENCY = 20_000


class BadMessage(ValueError):
    """A message that does not fit the protocol; the text names the field and what was expected."""


def encode(message: dict[str, Any]) -> bytes:
    """One line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """One line back; raises BadMessage for anything but a JSON object of a sane size."""
    if len(line) > MAX_LINE:
        raise BadMessage(f"a line of {len(line)} bytes; expected at most {MAX_LINE}")
    try:
        message = json.loads(line)
    except ValueError as error:
        raise BadMessage(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise BadMessage(f"a JSON {type(message).__name__}; expected an object")
    return message


def spec_to_dict(spec: CycleSpec) -> dict[str, Any]:
    """A cycle's order as plain values."""
    return asdict(spec)


def spec_from_dict(data: Any) -> CycleSpec:
    """Validate every field; raises BadMessage naming the one that is wrong."""
    if not isinstance(data, dict):
        raise BadMessage(f"spec is {type(data).__name__}; expected an object")
    known = {field.name for field in fields(CycleSpec)}
    unknown = set(data) - known
    if unknown:
        raise BadMessage(f"spec has unknown fields {sorted(unknown)}; expected {sorted(known)}")
    disconnect = data.get("disconnect")
    if disconnect not in (*DISCONNECT_MODES, "mixed"):
        raise BadMessage(
            f"disconnect is {disconnect!r}; expected mixed or one of {', '.join(DISCONNECT_MODES)}"
        )
    mode = data.get("mode", "stream")
    if mode not in ("stream", "request"):
        raise BadMessage(f"mode is {mode!r}; expected stream or request")
    paths = data.get("paths")
    if not isinstance(paths, list | tuple) or not paths or not all(map(_is_path, paths)):
        raise BadMessage(f"paths is {paths!r}; expected a list of paths that begin with /")
    try:
        phase = Phase(data.get("phase", "load"))
    except ValueError:
        raise BadMessage(f"phase is {data.get('phase')!r}; expected one of {', '.join(Phase)}") from None
    return CycleSpec(
        index=_integer(data, "index", 0, MAX_CONNECTIONS),
        connections=_integer(data, "connections", 0, MAX_CONNECTIONS),
        concurrency=_integer(data, "concurrency", 1, MAX_CONCURRENCY),
        events=_integer(data, "events", 0, MAX_CONNECTIONS),
        dwell=_number(data, "dwell", 0.0, 86_400.0),
        disconnect=disconnect,
        paths=tuple(paths),
        phase=phase,
        mode=mode,
    )


def _is_path(value: Any) -> bool:
    """A path that can stand in a request line."""
    return isinstance(value, str) and value[:1] == "/" and not any(char in value for char in "\r\n\0 ")


def _integer(data: dict[str, Any], name: str, low: int, high: int) -> int:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadMessage(f"{name} is {value!r}; expected an integer from {low} to {high}")
    return value


def _number(data: dict[str, Any], name: str, low: float, high: float) -> float:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadMessage(f"{name} is {value!r}; expected a number from {low:g} to {high:g}")
    return float(value)


def ledger_to_dict(ledger: Ledger) -> dict[str, Any]:
    """A ledger as plain values."""
    return asdict(ledger)


def ledger_from_dict(data: Any) -> Ledger:
    """The ledger of a cycle; raises BadMessage when a field is missing or of the wrong type."""
    if not isinstance(data, dict):
        raise BadMessage(f"ledger is {type(data).__name__}; expected an object")
    unknown = set(data) - {field.name for field in fields(Ledger)}
    if unknown:
        raise BadMessage(f"ledger has unknown fields {sorted(unknown)}")
    return Ledger(**{**data, "notes": tuple(data.get("notes", ()))})
