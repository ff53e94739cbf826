"""What a fault is: data (its fields) and up to four hooks. The modules of ``fake_broker.faults`` derive from it.

The fields of the dataclass are the parameters a user may set; ``bounds`` gives the range of a number. A fault
sees only what its Match let through, and acts on values: it never touches a socket or a clock. What it wants
of the sockets it asks for with an Order.
"""
# ruff: noqa: ARG002 – the base's hooks do nothing with what they are given

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from random import Random
from typing import Any, ClassVar

from fake_broker.dialects import Dialect
from fake_broker.traffic import COMMANDS, DISCONNECT, FINAL, HEARTBEAT, PARTIAL, REQUEST, Incoming, Outgoing


class Stage(IntEnum):
    """Faults of one stage see what those of the stage before made of a message."""

    MEANING = 1
    """changes what is said"""
    WIRE = 2
    """changes how it is written"""
    TIMING = 3
    """changes when, or whether, it is sent"""


# -- orders: what only the owner of the sockets can do


@dataclass(frozen=True, slots=True)
class Unbind:
    """Stop listening. libzmq ends the connections of that listener with it (measured, 4.3.5)."""


@dataclass(frozen=True, slots=True)
class Bind:
    """Listen again on the same port."""


@dataclass(frozen=True, slots=True)
class Read:
    """Start (True) or stop (False) reading what peers send; they queue it up to the high-water mark."""

    reading: bool


@dataclass(frozen=True, slots=True)
class Restart:
    """End every connection and forget every worker; listen again on the same port at once, or when a Bind comes.
    max_frame: bytes a frame may have from then on (ZMQ_MAXMSGSIZE), None for the broker's own limit."""

    listen: bool = True
    max_frame: int | None = None


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop this worker without a word."""

    worker: bytes


@dataclass(frozen=True, slots=True)
class Beat:
    """Heartbeats every ``interval`` seconds from now on; None for the usual interval."""

    interval: float | None


@dataclass(frozen=True, slots=True)
class Wire:
    """For the proxy in front: fields of its policy to change, how to end every connection, and whether to reset
    those that are mute. by: id of the fault that asks, under which the proxy counts what it saw and did."""

    policy: Mapping[str, Any] = field(default_factory=dict)
    cut: str | None = None
    reset_mute: bool = False
    by: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send this now, past every fault."""

    messages: tuple[Outgoing, ...]


Order = Unbind | Bind | Read | Restart | Wire | Forget | Beat | Deliver


@dataclass(slots=True)
class Around:
    """What a hook may use. id: of the fault in this broker. peers: live connections; workers: identity → service
    of those that the match lets through; both as of the last tick."""

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
    """Base of all faults. commands: which messages the hooks see. also: which ones they see only when the match
    names them. needs_partial: of no use in a dialect without PARTIAL. needs_proxy: of no use without the TCP proxy."""

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

    def unfit(self, dialect: Dialect) -> str:
        """Why this fault can never change anything in that dialect; "" when it can."""
        return ""

    def incoming(self, message: Incoming, around: Around) -> list[Outgoing] | None:
        """None lets the message pass; a list swallows it, and answers with what the list holds."""
        return None

    def outgoing(self, message: Outgoing, around: Around) -> Iterable[Outgoing]:
        """What goes out instead. The message alone: no change. Nothing: it is dropped."""
        return (message,)

    def begin(self, around: Around) -> None:
        """Called once when the fault is switched on; orders go to ``around.orders``."""

    def tick(self, around: Around) -> float | None:
        """Called at the time it gave last (and once after ``begin``); gives the next such time, None for never."""
        return None

    def end(self, around: Around) -> list[Outgoing]:
        """Called once when the fault is switched off; gives what it had kept back."""
        return []

    def kept(self) -> int:
        """Final replies that the fault keeps back and will give later: neither sent nor lost yet."""
        return 0


class ProxyFault(Fault):
    """Base of the faults of the TCP proxy in front: they act on connections, whatever passes on them."""

    needs_proxy = True


REPLIES = frozenset({FINAL, PARTIAL})
FINALS = frozenset({FINAL})
REQUESTS = frozenset({REQUEST})
TO_WORKERS = frozenset({REQUEST, HEARTBEAT, DISCONNECT})


def bounds(default: Any, low: float, high: float, meaning: str) -> Any:
    """A dataclass field that takes a number from low to high, both included. meaning: with its unit."""
    return field(default=default, metadata={"low": low, "high": high, "meaning": meaning})


def choice(default: str, options: tuple[str, ...], meaning: str) -> Any:
    """A dataclass field that takes one of these words."""
    return field(default=default, metadata={"options": options, "meaning": meaning})


def said(default: Any, meaning: str) -> Any:
    """A dataclass field that takes any text or truth value."""
    return field(default=default, metadata={"meaning": meaning})


def hex_digits(default: str, meaning: str) -> Any:
    """A dataclass field that takes hex digits."""
    return field(default=default, metadata={"hex": True, "meaning": meaning})
