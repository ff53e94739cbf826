"""The base of all faults: data (its fields) and up to five hooks. The modules of ``fake_broker.faults`` derive from it.

The fields of the dataclass are the parameters a user may set; ``bounds`` gives the range of a number. A fault sees
only the messages that its Match lets through, and acts on values: it never touches a socket or a clock. To change a
socket it returns an Order.
"""
# ruff: noqa: ARG002 – the hooks of the base ignore their arguments

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from random import Random
from typing import Any, ClassVar

from fake_broker.dialects import Dialect
from fake_broker.traffic import COMMANDS, DISCONNECT, FINAL, HEARTBEAT, PARTIAL, REQUEST, Incoming, Outgoing


class Stage(IntEnum):
    """Faults of one stage process the result of the stage before."""

    MEANING = 1
    """changes the content"""
    WIRE = 2
    """changes the encoding"""
    TIMING = 3
    """changes when, or whether, the message is sent"""


# -- orders, which the owner of the sockets carries out


@dataclass(frozen=True, slots=True)
class Unbind:
    """Stop listening. libzmq then closes the connections of that listener (measured, 4.3.5)."""


@dataclass(frozen=True, slots=True)
class Bind:
    """Listen again on the same port."""


@dataclass(frozen=True, slots=True)
class Read:
    """Start (True) or stop (False) reading what peers send; they queue it up to the high-water mark."""

    reading: bool


@dataclass(frozen=True, slots=True)
class Restart:
    """Close every connection and drop every worker. listen: whether to listen again at once, or at the next Bind.
    max_frame: bytes that a frame may have from then on (ZMQ_MAXMSGSIZE); None: the broker's own limit."""

    listen: bool = True
    max_frame: int | None = None


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop this worker without sending DISCONNECT."""

    worker: bytes


@dataclass(frozen=True, slots=True)
class SetHeartbeat:
    """Send heartbeats every ``interval`` seconds from now on; None: the usual interval."""

    interval: float | None


@dataclass(frozen=True, slots=True)
class Wire:
    """For the TCP proxy. policy: fields of its policy to change. cut: how to close every connection; None: not at all.
    reset_silenced: whether to reset the half-open ones. by: id of the fault, under which the proxy counts
    connections."""

    policy: Mapping[str, Any] = field(default_factory=dict)
    cut: str | None = None
    reset_silenced: bool = False
    by: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send these messages now; no fault changes them."""

    messages: tuple[Outgoing, ...]


Order = Unbind | Bind | Read | Restart | Wire | Forget | SetHeartbeat | Deliver


@dataclass(slots=True)
class HookContext:
    """What the hooks of a fault can read. id: of the fault in this broker. peers: open connections. workers: identity →
    service of the workers that match. Both are as of the last tick. orders: a hook appends its orders here."""

    id: int
    dialect: Dialect
    random: Random
    now: float = 0.0
    peers: int = 0
    workers: dict[bytes, bytes] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)


FAULTS: dict[str, type[Fault]] = {}
"""Every fault by its name; filled as the modules are imported."""


class Fault:
    """Base of all faults. commands: messages that the hooks see. also: messages that they see only when the match
    names them. needs_partial: has no effect in a dialect without PARTIAL. needs_proxy: has no effect without the TCP
    proxy."""

    name: ClassVar[str] = ""
    group: ClassVar[str] = ""
    stage: ClassVar[Stage] = Stage.MEANING
    commands: ClassVar[frozenset[str]] = frozenset()
    also: ClassVar[frozenset[str]] = frozenset()
    needs_partial: ClassVar[bool] = False
    needs_proxy: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.name:
            assert cls.commands | cls.also <= set(COMMANDS)
            FAULTS[cls.name] = cls

    def why_no_effect(self, dialect: Dialect) -> str:
        """Why this fault has no effect in that dialect; "" when it has one."""
        return ""

    def incoming(self, message: Incoming, context: HookContext) -> list[Outgoing] | None:
        """None passes the message on. A list replaces it: the broker does not process it, and sends what the list
        holds."""
        return None

    def outgoing(self, message: Outgoing, context: HookContext) -> Iterable[Outgoing]:
        """The messages to send instead; the message alone changes nothing, an empty result drops it."""
        return (message,)

    def begin(self, context: HookContext) -> None:
        """Called once when the fault is switched on; orders go to ``context.orders``."""

    def tick(self, context: HookContext) -> float | None:
        """Called once after ``begin``, then at each time that it returned before. Returns the next time, None for
        never."""
        return None

    def end(self, context: HookContext) -> list[Outgoing]:
        """Called once when the fault is switched off; returns the messages that it withheld."""
        return []

    def withheld(self) -> int:
        """The number of final replies that the fault will send later: neither sent nor lost yet."""
        return 0


class ProxyFault(Fault):
    """Base of the faults of the TCP proxy: they act on connections, not on messages."""

    needs_proxy = True


REPLIES = frozenset({FINAL, PARTIAL})
FINALS = frozenset({FINAL})
REQUESTS = frozenset({REQUEST})
TO_WORKERS = frozenset({REQUEST, HEARTBEAT, DISCONNECT})


def bounds(default: Any, low: float, high: float, meaning: str) -> Any:
    """A dataclass field that takes a number from low to high, both included. meaning: with its unit."""
    return field(default=default, metadata={"low": low, "high": high, "meaning": meaning})


def choice(default: str, options: tuple[str, ...], meaning: str) -> Any:
    """A dataclass field that takes one of these texts."""
    return field(default=default, metadata={"options": options, "meaning": meaning})


def text_or_flag(default: Any, meaning: str) -> Any:
    """A dataclass field that takes any text or truth value."""
    return field(default=default, metadata={"meaning": meaning})


def hex_digits(default: str, meaning: str) -> Any:
    """A dataclass field that takes hex digits."""
    return field(default=default, metadata={"hex": True, "meaning": meaning})
