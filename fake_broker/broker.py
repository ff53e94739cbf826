"""The whole broker without its sockets: frames and time in, frames to send out.

decode → faults on incoming messages → state machine → faults on outgoing messages → schedule → encode.
No I/O and no clock, so a test can simulate an hour in a millisecond; ``fake_broker.server`` has the sockets.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any, NamedTuple

from fake_broker import mdp
from fake_broker.chain import Chain
from fake_broker.dialects import DIALECTS, Dialect
from fake_broker.fault import Bind, Deliver, Forget, Read, Restart, SetHeartbeat, Unbind, Wire
from fake_broker.spec import Spec
from fake_broker.state import State
from fake_broker.traffic import FINAL, PARTIAL, Incoming, Outgoing, frames_of

MAX_SCHEDULED = 100_000
"""Replies held or delayed at once; beyond it new ones are dropped, and counted as unanswered."""
MAX_NAMES = 1_000
"""Service names counted separately; the rest is counted as OTHER."""
OTHER = "(other)"

SocketOrder = Unbind | Bind | Read | Restart | Wire


class Send(NamedTuple):
    """One message for the ROUTER: identity, then frames. outgoing: the message of which these are the frames."""

    to: bytes
    frames: Sequence[bytes]
    outgoing: Outgoing


class Broker:
    """Sans-I/O broker. Every method that can cause traffic returns what to send, in order.

    held: replies that wait for the order ``release``. unreachable: messages whose peer has disconnected or does not
    read. invalid: messages of no dialect by reason. foreign: messages of other dialects by name. notices: lines for the
    user that are not shown yet. socket_orders: for the owner of the sockets, which takes them from here.
    """

    def __init__(self, dialect: Dialect, state: State, random: Random, *, proxied: bool = False) -> None:
        self.dialect = dialect
        self.state = state
        self.chain = Chain(dialect, random, proxied)
        self.held: list[Outgoing] = []
        self.replies = 0
        self.partials = 0
        self.unreachable = 0
        self.dropped_frames = 0
        self.invalid: Counter[str] = Counter()
        self.foreign: Counter[str] = Counter()
        self.notices: list[str] = []
        self._reported: set[str] = set()
        self.per_service: Counter[str] = Counter()
        self.socket_orders: list[SocketOrder] = []
        self._usual_interval = state.interval
        # Final replies that were dropped here: by a restart, or because too many were held.
        self._abandoned = 0
        self._due: list[tuple[float, int, Outgoing]] = []  # a heap: when to send, in which order, what
        self._order = itertools.count()

    # -- input

    def receive(self, identity: bytes, frames: list[bytes], now: float) -> list[Send]:
        """Process one multipart message, without its identity frame. Never raises for what a peer may send."""
        sent = frames
        # plantd's broker removes the first frame without looking at it, so any content works as a delimiter there.
        if self.state.quirks.blind_delimiter and frames:
            frames = [b"", *frames[1:]]
        try:
            message = mdp.decode_inbound(self.dialect, frames)
        except mdp.ProtocolError as error:
            self.reject(error.reason, len(frames))
            self._suspect(identity, sent, error)
            return []
        if isinstance(message, mdp.ClientRequest):
            service = message.service
            self._count(service)
        elif isinstance(message, mdp.WorkerReady):
            service = message.service
        else:
            service = self.state.service_of(identity)
        if self.chain.active:
            answers = self.chain.incoming(Incoming(identity, message, service), now)
            if answers is not None:
                # The state machine, which counts requests, does not see this one.
                if isinstance(message, mdp.ClientRequest):
                    self.state.requests += 1
                sends = [s for answer in answers for s in self._schedule(answer, now)]
                return sends + self._follow_orders(now)
        sends = []
        for out in self.state.receive(identity, message, now):
            sends += self._through_faults(out, now)
        # Only a fault gives orders. Without one, the usual case, a message costs no look for them.
        return sends + self._follow_orders(now) if self.chain.active else sends

    def reject(self, reason: str, frames: int) -> None:
        """Count a message that is none of the dialect. reason: see ``mdp.ProtocolError``. frames: how many it had."""
        self.invalid[reason] += 1
        self.dropped_frames += frames

    def _suspect(self, identity: bytes, frames: list[bytes], error: mdp.ProtocolError) -> None:
        """Note each other dialect that a peer uses, and each reason that no dialect explains, once."""
        dialect_name = next(
            (
                name
                for name, other in DIALECTS.items()
                if other is not self.dialect and _decodes(other, frames)
            ),
            "",
        )
        if dialect_name:
            self.foreign[dialect_name] += 1
        about = dialect_name or error.reason
        if about in self._reported:
            return
        self._reported.add(about)
        what = (
            f"sends dialect {dialect_name}; this broker uses {self.dialect.name}: "
            f"start it with --dialect {dialect_name}"
            if dialect_name
            else f"sends a message of no known dialect ({error}); this broker uses {self.dialect.name}"
        )
        self.notices.append(
            f"peer {identity.hex()[:16]} {what}. Further ones are only counted (stats: invalid)"
        )

    def tick(self, now: float, peers: int = 0) -> list[Send]:
        """Everything that is due: heartbeats, delayed replies, faults that begin or end."""
        sends: list[Send] = []
        for out in self.state.tick(now):
            sends += self._through_faults(out, now)
        if self.chain.active:
            workers = {identity: worker.service for identity, worker in self.state.workers.items()}
            for out in self.chain.tick(now, peers, workers):
                sends += self._schedule(out, now)
            sends += self._follow_orders(now)
        while self._due and self._due[0][0] <= now:
            out = heapq.heappop(self._due)[2]
            # The fault that made this repetition may have been switched off since.
            if out.cause is None or out.cause in self.chain.active:
                sends += self._schedule(replace(out, delay=0.0), now)
        return sends

    def due(self) -> float:
        """When ``tick`` has something to do."""
        times = [self.state.due()]
        if self._due:
            times.append(self._due[0][0])
        wakes = self.chain.due()
        if wakes is not None:
            times.append(wakes)
        return min(times)

    # -- orders of the control endpoint

    def add_fault(self, spec: Spec, now: float, peers: int = 0) -> tuple[int, list[Send]]:
        """Switch a fault on; returns its id, and what it sends at once. Raises SpecError."""
        number = self.chain.add(spec, now)
        return number, self.tick(now, peers)

    def remove_fault(self, number: int, now: float) -> list[Send]:
        """Switch a fault off. Raises SpecError for an unknown id."""
        sends = [s for out in self.chain.remove(number, now) for s in self._schedule(out, now)]
        return sends + self._follow_orders(now)

    def clear(self, now: float) -> list[Send]:
        """Switch every fault off; the replies that they withheld or held are sent."""
        sends = [s for out in self.chain.clear(now) for s in self._schedule(out, now)]
        return sends + self._follow_orders(now) + self.release(now)

    def release(self, now: float) -> list[Send]:
        """Send every held reply, in the order of the requests."""
        held, self.held = self.held, []
        return [s for out in held for s in self._schedule(replace(out, held=False), now)]

    def restart(self, now: float) -> None:
        """Drop every worker and every request, like a broker that is restarted. Faults stay active."""
        old = self.state
        lost = old.pending + sum(w.client is not None for w in old.workers.values())
        self.state = State(
            now, services=old.internal, quirks=old.quirks, interval=old.interval, liveness=old.liveness
        )
        self.state.requests = old.requests
        self.state.unanswered = old.unanswered + lost
        self._abandoned += sum(o.command == FINAL for o in self.held)
        self._abandoned += sum(o.command == FINAL for _, _, o in self._due)
        self.held.clear()
        self._due.clear()

    # -- after sending

    def delivered(self, send: Send) -> None:
        """Count a message that the ROUTER accepted."""
        if send.outgoing.to_client:
            if send.outgoing.command == FINAL:
                self.replies += 1
            elif send.outgoing.command == PARTIAL:
                self.partials += 1

    def undeliverable(self, send: Send) -> None:
        """Count a message whose peer is disconnected or whose queue is full, and cancel its repetitions."""
        self.unreachable += 1
        if send.outgoing.interval is not None:
            # The peer has disconnected, so a repeated message would be repeated for ever.
            self._due = [entry for entry in self._due if entry[2].to != send.to or entry[2].interval is None]
            heapq.heapify(self._due)

    # -- numbers

    def stats(self) -> dict[str, Any]:
        """Counters by name; all but ``per_service``, ``invalid``, ``foreign`` and ``faults`` are whole numbers."""
        state = self.state
        return {
            "requests": state.requests,
            "replies": self.replies,
            "partials": self.partials,
            "unanswered": state.unanswered + self.chain.unanswered + self._abandoned,
            "pending": state.pending,
            "working": sum(w.client is not None for w in state.workers.values()),
            "held": len(self.held),
            "delayed": len(self._due),
            "unreachable": self.unreachable,
            "dropped_frames": self.dropped_frames,
            "workers": len(state.workers),
            "services": [
                name.decode("utf-8", "backslashreplace") for name in state.service_names()[:MAX_NAMES]
            ],
            "per_service": dict(self.per_service),
            "invalid": dict(self.invalid),
            "foreign": dict(self.foreign),
            "faults": [a.as_dict() for a in self.chain.active.values()],
        }

    # -- scheduling and counting

    def _count(self, service: bytes) -> None:
        name = service.decode("utf-8", "backslashreplace")
        if name not in self.per_service and len(self.per_service) >= MAX_NAMES:
            name = OTHER
        self.per_service[name] += 1

    def _through_faults(self, out: Outgoing, now: float) -> list[Send]:
        if not self.chain.active:
            return [self._encoded(out)]
        return [send for one in self.chain.outgoing(out, now) for send in self._schedule(one, now)]

    def _schedule(self, out: Outgoing, now: float) -> list[Send]:
        """Send now, later, or at the order ``release``."""
        if out.held or out.delay > 0:
            if self._is_full():
                self._abandoned += out.command == FINAL
            elif out.held:
                self.held.append(out)
            else:
                # The counter keeps messages that are due at the same time in their order; two messages cannot be
                # compared.
                heapq.heappush(self._due, (now + out.delay, next(self._order), out))
            return []
        if out.interval is not None and not self._is_full():
            heapq.heappush(self._due, (now + out.interval, next(self._order), out))
        return [self._encoded(out)]

    def _is_full(self) -> bool:
        return len(self.held) + len(self._due) >= MAX_SCHEDULED

    def _encoded(self, out: Outgoing) -> Send:
        return Send(out.to, frames_of(out, self.dialect), out)

    def _follow_orders(self, now: float) -> list[Send]:
        sends: list[Send] = []
        for number, order in self.chain.take_orders():
            if isinstance(order, Forget):
                self.state.forget(order.worker)
            elif isinstance(order, SetHeartbeat):
                self.state.set_interval(order.interval or self._usual_interval, now)
            elif isinstance(order, Deliver):
                sends += [s for out in order.messages for s in self._schedule(out, now)]
            else:
                self.socket_orders.append(replace(order, by=number) if isinstance(order, Wire) else order)
        return sends


def _decodes(dialect: Dialect, frames: list[bytes]) -> bool:
    try:
        mdp.decode_inbound(dialect, frames)
    except mdp.ProtocolError:
        return False
    return True
