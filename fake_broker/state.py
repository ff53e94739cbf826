"""The Majordomo broker's state machine: (message, now) → messages to send. No I/O, no clock.

It keeps the state of a real broker: services, workers, their liveness, waiting requests. Deliberate misbehaviour is not
here but in ``fake_broker.faults``.

Times are seconds of one monotonic clock. Memory is bounded: beyond MAX_PENDING waiting requests a new one is dropped
(and counted as unanswered), beyond MAX_WORKERS a new worker is disconnected.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fake_broker import internal, mmi
from fake_broker.mdp import (
    ClientReply,
    ClientRequest,
    Disconnect,
    Heartbeat,
    Inbound,
    ToWorker,
    WorkerReady,
    WorkerReply,
    WorkerRequest,
)
from fake_broker.quirks import Quirks
from fake_broker.traffic import Outgoing

HEARTBEAT_INTERVAL = 2.5
"""Seconds between heartbeats to each worker (RFC 7's example, and plantd's setting)."""
LIVENESS = 3
"""Intervals without a message after which the broker drops a worker: 7.5 s."""
MAX_PENDING = 10_000
"""Requests that wait for a worker, of all services together."""
MAX_WORKERS = 10_000
"""Workers at once."""


@dataclass(slots=True)
class Worker:
    """One worker. expires: when it is dropped without a further message. client: identity of the client whose request
    it processes, None when idle."""

    identity: bytes
    service: bytes
    expires: float
    client: bytes | None = None


@dataclass(slots=True)
class Service:
    """Idle workers (longest idle first) and requests that wait for one (oldest first)."""

    name: bytes
    workers: int = 0
    idle: deque[Worker] = field(default_factory=deque)
    waiting: deque[tuple[bytes, tuple[bytes, ...]]] = field(default_factory=deque)


class State:
    """The state machine. ``receive`` and ``tick`` return the messages to send, in order."""

    def __init__(
        self,
        now: float,
        *,
        services: Iterable[bytes] = (),
        quirks: Quirks | None = None,
        interval: float = HEARTBEAT_INTERVAL,
        liveness: int = LIVENESS,
    ) -> None:
        self.internal = frozenset(services)
        self.quirks = quirks or Quirks()
        self.interval = interval
        self.liveness = liveness
        self.services: dict[bytes, Service] = {}
        self.workers: dict[bytes, Worker] = {}
        self.pending = 0
        self.unanswered = 0
        self.requests = 0
        self.next_beat = now + interval

    # -- mmi.Directory

    def service_names(self) -> list[bytes]:
        """Every service that has a worker or is internal, sorted."""
        return sorted(self.internal | {s.name for s in self.services.values() if s.workers})

    def available(self, service: bytes) -> bool:
        """Whether the service is internal or has an idle worker."""
        known = self.services.get(service)
        return service in self.internal or (known is not None and bool(known.idle))

    def metrics(self) -> Mapping[str, int]:
        """Counters under the names that plantd's App expects."""
        return {
            "messages_processed": self.requests,
            "error_count": self.unanswered,
            "active_connections": len(self.workers),
            "pending": self.pending,
        }

    def service_of(self, identity: bytes) -> bytes:
        """The service of that worker; b"" when the identity is not a worker's."""
        worker = self.workers.get(identity)
        return worker.service if worker else b""

    # -- input

    def receive(self, identity: bytes, message: Inbound, now: float) -> list[Outgoing]:
        """Process one message of a peer."""
        if isinstance(message, ClientRequest):
            return self._request(identity, message, now)
        if isinstance(message, WorkerReady):
            return self._ready(identity, message.service, now)
        worker = self.workers.get(identity)
        if isinstance(message, Disconnect):
            self.forget(identity)
            return []
        if worker is None:
            # RFC 7: DISCONNECT makes a worker that the broker does not know start again with READY.
            return [_to_worker(identity, b"", Disconnect())]
        worker.expires = now + self.interval * self.liveness
        if isinstance(message, Heartbeat):
            return []
        return self._reply(worker, message, now)

    def tick(self, now: float) -> list[Outgoing]:
        """Drop workers that have sent nothing for too long, and send the others a heartbeat when it is due."""
        if now < self.next_beat:
            return []
        self.next_beat = now + self.interval
        # A list, because ``forget`` removes workers from the table.
        for worker in [w for w in self.workers.values() if w.expires <= now]:
            if worker.client is None or not self.quirks.keep_dead_busy:
                self.forget(worker.identity)
        return [_to_worker(w.identity, w.service, Heartbeat()) for w in self.workers.values()]

    def due(self) -> float:
        """When the next ``tick`` has something to do."""
        return self.next_beat

    def set_interval(self, interval: float, now: float) -> None:
        """Send heartbeats every ``interval`` seconds from now on."""
        self.interval = interval
        self.next_beat = now + interval

    def forget(self, identity: bytes) -> None:
        """Drop that worker; a request that it processes stays unanswered."""
        worker = self.workers.pop(identity, None)
        if worker is None:
            return
        service = self.services[worker.service]
        service.workers -= 1
        if worker.client is None:
            service.idle.remove(worker)
        else:
            self.unanswered += 1
        self._drop_if_unused(service)

    def disconnect(self, identity: bytes) -> list[Outgoing]:
        """Drop that worker and send it DISCONNECT."""
        service = self.service_of(identity)
        self.forget(identity)
        return [_to_worker(identity, service, Disconnect())]

    # -- one method per kind of message

    def _request(self, client: bytes, request: ClientRequest, now: float) -> list[Outgoing]:
        self.requests += 1
        name, body = request.service, request.body
        if not body and self.quirks.mute_without_body:
            self.unanswered += 1
            return []
        if mmi.is_management(name):
            return [_to_client(client, name, mmi.answer(name, body, self, self.quirks))]
        if name in self.internal:
            return [_to_client(client, name, internal.answer(name, body))]
        if self.pending >= MAX_PENDING:
            self.unanswered += 1
            return []
        service = self._service(name)
        service.waiting.append((client, body))
        self.pending += 1
        return self._dispatch(service, now)

    def _ready(self, identity: bytes, name: bytes, now: float) -> list[Outgoing]:
        if identity in self.workers or mmi.is_management(name) or len(self.workers) >= MAX_WORKERS:
            # RFC 7: READY is only valid as the first command; RFC 8: mmi.* belongs to the broker.
            return self.disconnect(identity)
        service = self._service(name)
        worker = Worker(identity, name, now + self.interval * self.liveness)
        self.workers[identity] = worker
        service.workers += 1
        service.idle.append(worker)
        return self._dispatch(service, now)

    def _reply(self, worker: Worker, reply: WorkerReply, now: float) -> list[Outgoing]:
        # No request asked for this reply, so worker and broker disagree about their state: the worker starts again.
        if worker.client is None:
            return self.disconnect(worker.identity)
        service = self.services[worker.service]
        sent = [
            Outgoing(reply.client, ClientReply(worker.service, reply.body, reply.final), worker.service),
        ]
        if reply.final:
            worker.client = None
            service.idle.append(worker)
            sent += self._dispatch(service, now)
        return sent

    def _service(self, name: bytes) -> Service:
        service = self.services.get(name)
        if service is None:
            service = self.services[name] = Service(name)
        return service

    def _dispatch(self, service: Service, now: float) -> list[Outgoing]:
        sent = []
        while service.idle and service.waiting:
            # The longest idle worker may have exited since the last tick, and must not get the request.
            worker = service.idle[0]
            if worker.expires <= now:
                self.forget(worker.identity)
                continue
            service.idle.popleft()
            worker.client, body = service.waiting.popleft()
            self.pending -= 1
            # RFC 7 and plantd both need a body frame here, though a plantd client may send none.
            request = WorkerRequest(worker.client, body or (b"",))
            sent.append(_to_worker(worker.identity, service.name, request))
        return sent

    def _drop_if_unused(self, service: Service) -> None:
        if not service.workers and not service.waiting:
            self.services.pop(service.name, None)


def _to_client(client: bytes, service: bytes, body: tuple[bytes, ...]) -> Outgoing:
    return Outgoing(client, ClientReply(service, body), service)


def _to_worker(identity: bytes, service: bytes, message: ToWorker) -> Outgoing:
    return Outgoing(identity, message, service)
