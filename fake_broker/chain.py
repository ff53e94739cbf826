"""Applies the active faults to each message. No I/O, no clock.

Messages pass the faults stage by stage (meaning, wire, timing), and within a stage in the order in which the faults
were switched on. Each fault processes what the one before returned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from fake_broker.dialects import Dialect
from fake_broker.fault import Fault, HookContext, Order
from fake_broker.match import Match, Matcher
from fake_broker.spec import Spec, SpecError, describe
from fake_broker.traffic import FINAL, Incoming, Outgoing

MAX_FAULTS = 256
"""Faults that are active at once: each of them may look at every message."""


@dataclass(slots=True)
class Active:
    """One fault that is switched on. wakes: when its ``tick`` is due, None for never."""

    id: int
    fault: Fault
    match: Match
    matcher: Matcher
    context: HookContext
    wakes: float | None
    began: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The entry of this fault in ``stats``."""
        return {
            "id": self.id,
            **describe(self.fault, self.match),
            "seen": self.matcher.seen,
            "fired": self.matcher.fired,
        }


class Chain:
    """Owns the active faults. ``unanswered`` counts requests whose final reply a fault dropped."""

    def __init__(self, dialect: Dialect, random: Random, proxied: bool = False) -> None:
        self.unanswered = 0
        self.active: dict[int, Active] = {}
        self._dialect = dialect
        self._random = random
        self._proxied = proxied
        self._incoming: list[Active] = []
        self._outgoing: list[Active] = []
        self._next = 1
        self._orders: list[tuple[int, Order]] = []

    def add(self, spec: Spec, now: float) -> int:
        """Switch a fault on and return its id. Raises SpecError when this broker cannot apply it."""
        if len(self.active) >= MAX_FAULTS:
            raise SpecError(f"{MAX_FAULTS} faults are active already; clear some first")
        if spec.fault.needs_partial and not self._dialect.has_partial:
            raise SpecError(
                f"fault {spec.fault.name!r} needs PARTIAL, which dialect {self._dialect.name} lacks"
            )
        if why := spec.fault.why_no_effect(self._dialect):
            raise SpecError(f"fault {spec.fault.name!r} has no effect in dialect {self._dialect.name}: {why}")
        if spec.fault.needs_proxy and not self._proxied:
            raise SpecError(f"fault {spec.fault.name!r} needs the TCP proxy; start the broker with --proxy")
        number, self._next = self._next, self._next + 1
        matcher = Matcher(spec.match, spec.fault.commands, self._random, now)
        context = HookContext(number, self._dialect, self._random, now)
        self.active[number] = Active(number, spec.fault, spec.match, matcher, context, matcher.begins)
        self._sort()
        return number

    def remove(self, number: int, now: float) -> list[Outgoing]:
        """Switch a fault off and return the replies that it withheld. Raises SpecError for an unknown id."""
        active = self.active.pop(number, None)
        if active is None:
            raise SpecError(
                f"no fault with id {number} is active; active are {sorted(self.active) or 'none'}"
            )
        self._sort()
        # A fault whose time window never opened has nothing to end.
        if not active.began:
            return []
        active.context.now = now
        released = active.fault.end(active.context)
        self._collect(active)
        return released

    def clear(self, now: float) -> list[Outgoing]:
        """Switch every fault off."""
        return [message for number in list(self.active) for message in self.remove(number, now)]

    def named(self, name: str) -> list[int]:
        """Ids of the faults of that name."""
        return [a.id for a in self.active.values() if a.fault.name == name]

    def incoming(self, message: Incoming, now: float) -> list[Outgoing] | None:
        """None: no fault replaces the message. A list: the messages to send instead of processing it."""
        for active in self._incoming:
            if active.matcher.applies_to(message.command, message.service, message.identity, now):
                active.context.now = now
                answers = active.fault.incoming(message, active.context)
                self._collect(active)
                if answers is not None:
                    if message.from_client and not any(a.command == FINAL for a in answers):
                        self.unanswered += 1
                    return answers
        return None

    def outgoing(self, message: Outgoing, now: float) -> list[Outgoing]:
        """The messages to send instead."""
        if not self._outgoing:
            return [message]
        messages = [message]
        # A final reply that no fault passes on or withholds leaves its request unanswered.
        owed = message.command == FINAL
        withheld = self._withheld()
        for active in self._outgoing:
            passed: list[Outgoing] = []
            for one in messages:
                if active.matcher.applies_to(one.command, one.service, one.to, now):
                    active.context.now = now
                    passed += active.fault.outgoing(one, active.context)
                else:
                    passed.append(one)
            messages = passed
            self._collect(active)
        if owed:
            finals = sum(m.command == FINAL for m in messages) + self._withheld() - withheld
            self.unanswered += finals < 1
        return messages

    def tick(self, now: float, peers: int, workers: Mapping[bytes, bytes]) -> list[Outgoing]:
        """Begin, wake and end the faults that are due. Returns the replies that ending faults withheld."""
        released: list[Outgoing] = []
        # A copy, because a fault whose time is over is removed in the loop.
        for active in list(self.active.values()):
            ends = active.matcher.ends
            if ends is not None and ends <= now:
                released += self.remove(active.id, now)
            elif active.wakes is not None and active.wakes <= now:
                context = active.context
                fits = active.matcher.fits
                context.now, context.peers = now, peers
                context.workers = {worker: of for worker, of in workers.items() if fits(of, worker)}
                if not active.began:
                    active.began = True
                    active.fault.begin(context)
                active.wakes = active.fault.tick(context)
                self._collect(active)
        return released

    def due(self) -> float | None:
        """When ``tick`` has something to do; None for never."""
        if not self.active:
            return None
        times = [t for a in self.active.values() for t in (a.wakes, a.matcher.ends) if t is not None]
        return min(times, default=None)

    def take_orders(self) -> list[tuple[int, Order]]:
        """Orders since the last call, each with the id of the fault that gave it."""
        taken, self._orders = self._orders, []
        return taken

    def _collect(self, active: Active) -> None:
        if active.context.orders:
            self._orders += [(active.id, order) for order in active.context.orders]
            active.context.orders.clear()

    def _withheld(self) -> int:
        return sum(a.fault.withheld() for a in self._outgoing)

    def _sort(self) -> None:
        ordered = sorted(self.active.values(), key=lambda a: (a.fault.stage, a.id))
        # Only faults that override a hook are called, because a call for every fault and message would slow the broker
        # down.
        self._incoming = [a for a in ordered if type(a.fault).incoming is not Fault.incoming]
        self._outgoing = [a for a in ordered if type(a.fault).outgoing is not Fault.outgoing]
