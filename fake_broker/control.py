"""The control endpoint's language: one JSON object in, one out. Pure: the server lends a Desk.

Over TCP, which every local user can reach, an order must carry the broker's ``token``.

Every answer has ``ok``. A mistake is answered ``{"ok": false, "error": "…"}`` and changes nothing.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from fake_broker.spec import Spec, SpecError, catalogue, nearest, parse

MAX_REQUEST = 1 << 20
"""Bytes of one order."""


class Desk(Protocol):
    """What the orders work on. Every method may raise SpecError, whose text goes back to the asker."""

    def stats(self) -> dict[str, Any]:
        """Counters."""

    def add_fault(self, spec: Spec) -> int:
        """Switch a fault on; its id."""

    def remove_fault(self, number: int) -> None:
        """Switch one fault off."""

    def clear(self) -> None:
        """Switch every fault off."""

    def silence(self, silent: bool) -> None:
        """Fall silent, or answer again; other faults stay."""

    def release(self) -> int:
        """Send every held reply; how many."""

    def stop(self) -> None:
        """End the broker after this answer."""


def answer(raw: bytes, desk: Desk, token: str = "") -> bytes:
    """Obey one order. Never raises for what the order holds. token: what the order must carry; "" for nothing."""
    try:
        told = _obey(raw, desk, token)
    except SpecError as error:
        return _json({"ok": False, "error": str(error)})
    return _json({"ok": True, **told})


def _obey(raw: bytes, desk: Desk, token: str) -> dict[str, Any]:
    try:
        order = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise SpecError(
            f'this is no JSON ({error}); expected an object like {{"command": "stats"}}'
        ) from None
    if not isinstance(order, dict):
        raise SpecError(f'a JSON {type(order).__name__}; expected an object like {{"command": "stats"}}')
    given = order.pop("token", "")
    if token and not (
        isinstance(given, str) and hmac.compare_digest(given.encode(errors="replace"), token.encode())
    ):
        raise SpecError("'token' is missing or wrong; expected the one that the broker printed at its start")
    name = order.pop("command", None)
    if not isinstance(name, str) or name not in COMMANDS:
        shown = repr(name)[:60]
        hint = nearest(name, COMMANDS) if isinstance(name, str) else f"expected one of {', '.join(COMMANDS)}"
        raise SpecError(f"unknown command {shown}: {hint}")
    command, keys = COMMANDS[name]
    if keys is not None:
        for key in order:
            if key not in keys:
                able = f"expected only {', '.join(keys)}" if keys else "it takes none"
                raise SpecError(f"command {name!r} has no key {key[:60]!r}: {able}")
    return command(desk, order)


def _stats(desk: Desk, _order: Mapping[str, Any]) -> dict[str, Any]:
    return desk.stats()


def _fault(desk: Desk, order: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": desk.add_fault(parse(order))}


def _clear(desk: Desk, order: Mapping[str, Any]) -> dict[str, Any]:
    number = order.get("id")
    if number is None:
        desk.clear()
    elif isinstance(number, int) and not isinstance(number, bool):
        desk.remove_fault(number)
    else:
        raise SpecError(f"'id' is {repr(number)[:60]}; expected the number that 'fault' answered")
    return {}


def _silence(desk: Desk, _order: Mapping[str, Any]) -> dict[str, Any]:
    desk.silence(True)
    return {}


def _resume(desk: Desk, _order: Mapping[str, Any]) -> dict[str, Any]:
    desk.silence(False)
    return {}


def _release(desk: Desk, _order: Mapping[str, Any]) -> dict[str, Any]:
    return {"released": desk.release()}


def _faults(_desk: Desk, _order: Mapping[str, Any]) -> dict[str, Any]:
    return {"faults": catalogue()}


def _ping(_desk: Desk, _order: Mapping[str, Any]) -> dict[str, Any]:
    return {}


def _stop(desk: Desk, _order: Mapping[str, Any]) -> dict[str, Any]:
    desk.stop()
    return {}


_Command = Callable[[Desk, dict[str, Any]], dict[str, Any]]
COMMANDS: Mapping[str, tuple[_Command, tuple[str, ...] | None]] = {
    "stats": (_stats, ()),
    "fault": (_fault, None),
    "clear": (_clear, ("id",)),
    "silence": (_silence, ()),
    "resume": (_resume, ()),
    "release": (_release, ()),
    "faults": (_faults, ()),
    "ping": (_ping, ()),
    "stop": (_stop, ()),
}
"""Name → what obeys it and the keys it takes; None: it checks its keys itself."""


def _json(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told).encode()
