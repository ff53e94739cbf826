"""The control protocol between the experiment and the swarm: JSON lines over a Unix socket.

To the child: ``{"order": "setup", "setup": {...}}`` once, then ``{"order": "cycle", "spec": {...}}``,
``{"order": "cancel"}``, ``{"order": "stop"}``. From it: ``{"hello": PID}``, ``{"ready": true}``,
``{"progress": OUTCOME}``, ``{"outcome": OUTCOME}``, ``{"error": TEXT}``; an OUTCOME is
``{"ledger": {...}, "first_events": [[bucket, count], ...]}``. A master and its workers exchange the same
values in Locust's custom messages. Everything that comes in is validated. Both sides import this; it
imports neither locust nor gevent.
"""

from __future__ import annotations

import base64
import ipaddress
import json
from dataclasses import asdict, fields
from typing import Any

from harness.core.cycle import DISCONNECT_MODES, CycleSpec, Ledger, Phase
from harness.core.errors import ConfigError
from harness.core.expected import statuses
from harness.core.sse.event import LARGEST_LIMIT
from harness.swarm.approach import Approach
from harness.swarm.histogram import Histogram
from harness.swarm.setup import SwarmSetup
from harness.swarm.tally import Outcome

MAX_LINE = 4 << 20
MAX_CONNECTIONS = 10_000_000
MAX_CONCURRENCY = 1_000_000
MAX_SECONDS = 86_400.0
MAX_COUNT = 1 << 53
MAX_PROCESSES = 64
MIN_STALL = 0.001  # seconds


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
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise BadMessage(f"a JSON {type(message).__name__}; expected an object")
    return message


def setup_to_dict(setup: SwarmSetup) -> dict[str, Any]:
    """A setup as plain values."""
    data = asdict(setup)
    body = setup.approach.body
    data["approach"]["body"] = None if body is None else base64.b64encode(body).decode()
    return data


def setup_from_dict(data: Any) -> SwarmSetup:
    """Raises BadMessage naming the field that is wrong."""
    data = _object("setup", data, SwarmSetup)
    bind = _text(data, "bind")
    return SwarmSetup(
        approach=_approach(data.get("approach")),
        seed=_integer(data, "seed", -MAX_COUNT, MAX_COUNT),
        processes=_integer(data, "processes", 0 if data.get("remote_workers") else 1, MAX_PROCESSES),
        remote_workers=_integer(data, "remote_workers", 0, 1000),
        web_port=None if data.get("web_port") is None else _integer(data, "web_port", 0, 65_535),
        bind=bind,
        target_pid=_integer(data, "target_pid", 0, 1 << 31),
        locustfile=_text(data, "locustfile"),
        secret=_text(data, "secret"),
    )


def _approach(data: Any) -> Approach:
    data = _object("approach", data, Approach)
    headers = data.get("headers")
    if not isinstance(headers, dict) or not all(isinstance(v, str) for v in headers.values()):
        raise BadMessage(f"headers is {headers!r}; expected an object of texts")
    sources = data.get("sources")
    if not isinstance(sources, list | tuple) or not all(map(_is_address, sources)):
        raise BadMessage(f"sources is {sources!r}; expected a list of addresses")
    try:
        body = None if data.get("body") is None else base64.b64decode(_text(data, "body"), validate=True)
    except ValueError:
        raise BadMessage("body is not base64") from None
    return Approach(
        host=_text(data, "host"),
        stall_after=_number(data, "stall_after", MIN_STALL, MAX_SECONDS),
        hold=_number(data, "hold", 0.0, MAX_SECONDS),
        method=_text(data, "method"),
        headers=headers,
        body=body,
        sources=tuple(sources),
        insecure=data.get("insecure") is True,
        ca=_text(data, "ca"),
        keep_alive=data.get("keep_alive") is True,
        expect=_expect(data.get("expect")),
        clients=_integer(data, "clients", 0, MAX_COUNT),
        client_start=_integer(data, "client_start", 0, MAX_COUNT),
        client_step=_integer(data, "client_step", 1, MAX_COUNT),
        max_event=_integer(data, "max_event", 1, LARGEST_LIMIT),
    )


def spec_to_dict(spec: CycleSpec) -> dict[str, Any]:
    """A cycle's order as plain values."""
    return asdict(spec)


def spec_from_dict(data: Any) -> CycleSpec:
    """Validate every field; raises BadMessage naming the one that is wrong."""
    data = _object("spec", data, CycleSpec)
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
        dwell=_number(data, "dwell", 0.0, MAX_SECONDS),
        disconnect=disconnect,
        paths=tuple(paths),
        phase=phase,
        mode=mode,
        fault=_text(data, "fault") if "fault" in data else "",
        stalled=_integer(data, "stalled", 0, MAX_CONNECTIONS) if "stalled" in data else 0,
        invalid=_number(data, "invalid", 0.0, 1.0) if "invalid" in data else 0.0,
    )


def outcome_to_dict(outcome: Outcome) -> dict[str, Any]:
    """A ledger and its times as plain values."""
    return {"ledger": asdict(outcome.ledger), "first_events": list(outcome.first_events.counts.items())}


def outcome_from_dict(data: Any) -> Outcome:
    """Raises BadMessage when a field is missing, unknown or of the wrong type."""
    if not isinstance(data, dict):
        raise BadMessage(f"outcome is {type(data).__name__}; expected an object")
    times = data.get("first_events")
    if not isinstance(times, list | tuple) or not all(_is_pair(item) for item in times):
        raise BadMessage("first_events is not a list of pairs of whole numbers")
    return Outcome(_ledger(data.get("ledger")), Histogram(tuple((bucket, count) for bucket, count in times)))


def _ledger(data: Any) -> Ledger:
    data = _object("ledger", data, Ledger)
    values: dict[str, Any] = {}
    for field in fields(Ledger):
        name = field.name
        if name in ("causes", "by_path", "by_mode", "answered_by_mode"):
            counts = data.get(name)
            if not isinstance(counts, dict):
                raise BadMessage(f"{name} is {counts!r}; expected an object of counts")
            values[name] = {str(key): _integer(counts, key, 0, MAX_COUNT) for key in counts}
        elif name == "statuses":
            values[name] = _statuses(data.get(name))
        elif name in ("answered", "opened_before_failure"):
            values[name] = None if data.get(name) is None else _integer(data, name, 0, MAX_COUNT)
        elif name == "details":
            details = data.get(name)
            if not isinstance(details, dict):
                raise BadMessage(f"details is {details!r}; expected an object of texts")
            values[name] = {str(key): str(details[key])[:500] for key in details}
        elif name == "first_failure":
            values[name] = _text(data, name)[:2000]
        elif name in ("first_event_p50", "first_event_p95", "first_event_p99"):
            values[name] = None if data.get(name) is None else _number(data, name, 0.0, 1e12)
        elif name in ("seconds", "stream_seconds"):
            values[name] = _number(data, name, 0.0, 1e12)
        elif name == "saturated":
            values[name] = data.get(name) is True
        elif name == "notes":
            notes = data.get(name)
            if not isinstance(notes, list | tuple):
                raise BadMessage(f"notes is {notes!r}; expected a list of texts")
            values[name] = tuple(str(note)[:500] for note in notes)
        else:
            values[name] = _integer(data, name, 0, MAX_COUNT)
    return Ledger(**values)


def _statuses(data: Any) -> dict[int, int]:
    """Counts by HTTP status; JSON makes texts of the numbers, msgpack does not."""
    if not isinstance(data, dict):
        raise BadMessage(f"statuses is {data!r}; expected an object of counts")
    found = {}
    for key in data:
        text = str(key)
        if not (text.isascii() and text.isdigit() and len(text) <= 3):
            raise BadMessage(f"statuses has {key!r}; expected an HTTP status such as 429")
        found[int(text)] = _integer(data, key, 0, MAX_COUNT)
    return found


def _object(name: str, data: Any, kind: type[Any]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise BadMessage(f"{name} is {type(data).__name__}; expected an object")
    known = {field.name for field in fields(kind)}
    if unknown := set(data) - known:
        raise BadMessage(f"{name} has unknown fields {sorted(unknown)}; expected {sorted(known)}")
    return data


def _expect(data: Any) -> tuple[str, ...]:
    if not isinstance(data, list | tuple) or not all(isinstance(one, str) for one in data):
        raise BadMessage(f"expect is {data!r}; expected a list of statuses")
    try:
        statuses(data)
    except ConfigError as error:
        raise BadMessage(str(error)) from None
    return tuple(data)


def _is_path(value: Any) -> bool:
    """A path that can stand in a request line."""
    return isinstance(value, str) and value[:1] == "/" and not any(char in value for char in "\r\n\0 ")


def _is_address(value: Any) -> bool:
    """A numeric address: a name would be looked up at every bind."""
    try:
        return isinstance(value, str) and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(part, int) and 0 <= part <= MAX_COUNT for part in value)
    )


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise BadMessage(f"{name} is {value!r}; expected a text")
    return value


def _integer(data: dict[Any, Any], name: Any, low: int, high: int) -> int:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadMessage(f"{name} is {value!r}; expected an integer from {low} to {high}")
    return value


def _number(data: dict[str, Any], name: str, low: float, high: float) -> float:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadMessage(f"{name} is {value!r}; expected a number from {low:g} to {high:g}")
    return float(value)
