"""The faults that are switched on, and what they make of each message. No I/O, no clock.

Messages pass the faults stage by stage (meaning, wire, timing), within a stage in the order in which they were
switched on. What one fault gives passes the later ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from fake_broker.dialects import Dialect
from fake_broker.fault import Around, Fault, Order
from fake_broker.match import Match, Matcher
from fake_broker.spec import Spec, SpecError, describe
from fake_broker.traffic import FINAL, Incoming, Outgoing

MAX_FAULTS = 256


@dataclass(slots=True)
class Active:
    """One fault that is switched on. wakes: when its ``tick`` is due, None for never."""

    id: int
    fault: Fault
    match: Match
    matcher: Matcher
    around: Around
    wakes: float | None
    began: bool = False

    def told(self) -> dict[str, Any]:
        """For ``stats``."""
        return {
            "id": self.id,
            **describe(self.fault, self.match),
            "seen": self.matcher.seen,
            "fired": self.matcher.fired,
        }


class Chain:
    """Owns the active faults. ``unanswered`` counts requests that a fault robbed of their final reply."""

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
        """Switch a fault on; gives its id. Raises SpecError when this broker cannot do it."""
        if len(self.active) >= MAX_FAULTS:
            raise SpecError(f"{MAX_FAULTS} faults are on already; clear some first")
        if spec.fault.needs_partial and not self._dialect.has_partial:
            raise SpecError(
                f"fault {spec.fault.name!r} needs PARTIAL, which dialect {self._dialect.name} lacks"
            )
        if why := spec.fault.unfit(self._dialect):
            raise SpecError(f"fault {spec.fault.name!r} has no effect in dialect {self._dialect.name}: {why}")
        if spec.fault.needs_proxy and not self._proxied:
            raise SpecError(f"fault {spec.fault.name!r} needs the TCP proxy; start the broker with --proxy")
        number, self._next = self._next, self._next + 1
        matcher = Matcher(spec.match, spec.fault.commands, self._random, now)
        around = Around(number, self._dialect, self._random, now)
        self.active[number] = Active(number, spec.fault, spec.match, matcher, around, matcher.begins)
        self._sort()
        return number

    def remove(self, number: int, now: float) -> list[Outgoing]:
        """Switch a fault off; gives the replies it had kept back. Raises SpecError for an id that is not on."""
        active = self.active.pop(number, None)
        if active is None:
            raise SpecError(f"no fault with id {number} is on; on are {sorted(self.active) or 'none'}")
        self._sort()
        if not active.began:
            return []
        active.around.now = now
        given = active.fault.end(active.around)
        self._collect(active)
        return given

    def clear(self, now: float) -> list[Outgoing]:
        """Switch every fault off."""
        return [message for number in list(self.active) for message in self.remove(number, now)]

    def named(self, name: str) -> list[int]:
        """Ids of the faults of that name."""
        return [a.id for a in self.active.values() if a.fault.name == name]

    def incoming(self, message: Incoming, now: float) -> list[Outgoing] | None:
        """None: no fault wants it. A list: it is swallowed, and these are the answers."""
        for active in self._incoming:
            if active.matcher.wants(message.command, message.service, message.identity, now):
                active.around.now = now
                answers = active.fault.incoming(message, active.around)
                self._collect(active)
                if answers is not None:
                    if message.from_client and not any(a.command == FINAL for a in answers):
                        self.unanswered += 1
                    return answers
        return None

    def outgoing(self, message: Outgoing, now: float) -> list[Outgoing]:
        """What goes out instead of the message."""
        if not self._outgoing:
            return [message]
        messages = [message]
        owed = message.command == FINAL
        kept = self._kept()
        for active in self._outgoing:
            passed: list[Outgoing] = []
            for one in messages:
                if active.matcher.wants(one.command, one.service, one.to, now):
                    active.around.now = now
                    passed += active.fault.outgoing(one, active.around)
                else:
                    passed.append(one)
            messages = passed
            self._collect(active)
        if owed:
            finals = sum(m.command == FINAL for m in messages) + self._kept() - kept
            self.unanswered += finals < 1
        return messages

    def tick(self, now: float, peers: int, workers: Mapping[bytes, bytes]) -> list[Outgoing]:
        """Begin, wake and end what is due; gives the replies that ending faults had kept back."""
        given: list[Outgoing] = []
        for active in list(self.active.values()):
            ends = active.matcher.ends
            if ends is not None and ends <= now:
                given += self.remove(active.id, now)
            elif active.wakes is not None and active.wakes <= now:
                around = active.around
                fits = active.matcher.fits
                around.now, around.peers = now, peers
                around.workers = {worker: of for worker, of in workers.items() if fits(of, worker)}
                if not active.began:
                    active.began = True
                    active.fault.begin(around)
                active.wakes = active.fault.tick(around)
                self._collect(active)
        return given

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
        if active.around.orders:
            self._orders += [(active.id, order) for order in active.around.orders]
            active.around.orders.clear()

    def _kept(self) -> int:
        return sum(a.fault.kept() for a in self._outgoing)

    def _sort(self) -> None:
        ordered = sorted(self.active.values(), key=lambda a: (a.fault.stage, a.id))
        self._incoming = [a for a in ordered if type(a.fault).incoming is not Fault.incoming]
        self._outgoing = [a for a in ordered if type(a.fault).outgoing is not Fault.outgoing]
