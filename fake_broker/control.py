"""The protocol of the control endpoint: one JSON object in, one out. Pure: an OrderTarget carries the orders out.

Over TCP, which every local user can reach, an order must carry the broker's ``token``.

Every answer has ``ok``. The answer to an invalid order is ``{"ok": false, "error": "…"}``, and nothing changes.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from fake_broker.spec import Spec, SpecError, catalogue, nearest, parse

MAX_REQUEST = 1 << 20
"""Bytes of one order."""


class OrderTarget(Protocol):
    """Carries orders out. Every method may raise SpecError, whose text is the answer."""

    def stats(self) -> dict[str, Any]:
        """Counters."""

    def add_fault(self, spec: Spec) -> int:
        """Switch a fault on; its id."""

    def remove_fault(self, number: int) -> None:
        """Switch one fault off."""

    def clear(self) -> None:
        """Switch every fault off."""

    def silence(self, silent: bool) -> None:
        """Stop answering, or answer again; other faults stay."""

    def release(self) -> int:
        """Send every held reply; how many."""

    def stop(self) -> None:
        """End the broker after this answer."""


def answer(raw: bytes, target: OrderTarget, token: str = "") -> bytes:
    """Carry out one order and return the answer. Never raises for an invalid order. token: the token that the order
    must contain; "" for none."""
    try:
        result = _execute(raw, target, token)
    except SpecError as error:
        return _json({"ok": False, "error": str(error)})
    return _json({"ok": True, **result})


def _execute(raw: bytes, target: OrderTarget, token: str) -> dict[str, Any]:
    try:
        order = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise SpecError(
            f'this is not JSON ({error}); expected an object like {{"command": "stats"}}'
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
        # An unknown key is an error: a misspelled one would otherwise be ignored.
        for key in order:
            if key not in keys:
                able = f"expected only {', '.join(keys)}" if keys else "it takes none"
                raise SpecError(f"command {name!r} has no key {key[:60]!r}: {able}")
    return command(target, order)


def _stats(target: OrderTarget, _order: Mapping[str, Any]) -> dict[str, Any]:
    return target.stats()


def _fault(target: OrderTarget, order: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": target.add_fault(parse(order))}


def _clear(target: OrderTarget, order: Mapping[str, Any]) -> dict[str, Any]:
    number = order.get("id")
    if number is None:
        target.clear()
    elif isinstance(number, int) and not isinstance(number, bool):
        target.remove_fault(number)
    else:
        raise SpecError(f"'id' is {repr(number)[:60]}; expected the number that 'fault' answered")
    return {}


def _silence(target: OrderTarget, _order: Mapping[str, Any]) -> dict[str, Any]:
    target.silence(True)
    return {}


def _resume(target: OrderTarget, _order: Mapping[str, Any]) -> dict[str, Any]:
    target.silence(False)
    return {}


def _release(target: OrderTarget, _order: Mapping[str, Any]) -> dict[str, Any]:
    return {"released": target.release()}


def _faults(_target: OrderTarget, _order: Mapping[str, Any]) -> dict[str, Any]:
    return {"faults": catalogue()}


def _ping(_target: OrderTarget, _order: Mapping[str, Any]) -> dict[str, Any]:
    return {}


def _stop(target: OrderTarget, _order: Mapping[str, Any]) -> dict[str, Any]:
    target.stop()
    return {}


_Command = Callable[[OrderTarget, dict[str, Any]], dict[str, Any]]
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
"""Name → function and the keys that the order may have; None: the function checks them itself."""


def _json(result: Mapping[str, Any]) -> bytes:
    return json.dumps(result).encode()
