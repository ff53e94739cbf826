"""Counts the peers that are connected: TCP connections and identities, from the ROUTER's socket monitor.

These counts do not rely on the service under test: if it forgets to close its sockets, its peers remain here, whatever
it reports itself. A connection counts from ACCEPTED to DISCONNECTED; libzmq also reports DISCONNECTED for a connection
that never finished its handshake. When a listener is unbound its connections end with it, and libzmq reports only
CLOSED of the listener. (Both measured, libzmq 4.3.5.)
"""

from __future__ import annotations

import struct
from types import TracebackType

import zmq

EVENTS = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_FAILED = EVENTS & ~(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED)
_EVENT = struct.Struct("=HI")
MAX_EVENTS = 1_000
"""Events read at once, so that a storm of connections cannot keep the broker from its messages."""


class Monitor:
    """Owns the monitor of one ROUTER. Not thread-safe: the thread of the ROUTER reads it."""

    COUNTS = ("accepted", "disconnected", "failed_handshakes", "identities_seen")
    """Attributes that only grow."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], router: zmq.Socket[bytes], name: str) -> None:
        address = f"inproc://monitor-{name}"
        router.monitor(address, EVENTS)
        self._router = router
        self.socket = context.socket(zmq.PAIR)
        # libzmq's I/O thread blocks when the monitor's queue is full, and the broker with it.
        self.socket.rcvhwm = 0
        self.socket.linger = 0
        self.socket.connect(address)
        self.accepted = 0
        self.disconnected = 0
        self.failed_handshakes = 0
        self.identities_seen = 0
        self._live: set[int] = set()
        self._by_identity: dict[bytes, int] = {}
        self._by_connection: dict[int, bytes] = {}

    @property
    def peers(self) -> int:
        """TCP connections that are open now."""
        return len(self._live)

    @property
    def identities(self) -> int:
        """Distinct ROUTER identities that have sent a message and are connected now."""
        return len(self._by_identity)

    def is_connected(self, identity: bytes) -> bool:
        """Whether this identity has sent a message on a connection that is still open."""
        return identity in self._by_identity

    def record_identity(self, identity: bytes, connection: int | None) -> None:
        """Record the first message of an identity. connection: the descriptor on which it arrived, None if unknown."""
        self.identities_seen += 1
        if connection is None or connection not in self._live:
            self.drain()
        if connection is None or connection not in self._live:
            return  # it has disconnected since
        # A connection has one identity; a second one means that the descriptor was reused before its events were read.
        before = self._by_connection.pop(connection, None)
        if before is not None:
            self._by_identity.pop(before, None)
        self._by_connection[connection] = identity
        self._by_identity[identity] = connection

    def drain(self) -> None:
        """Process the events that have arrived, at most MAX_EVENTS."""
        for _ in range(MAX_EVENTS):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            event, value = _EVENT.unpack(frames[0])
            if event == zmq.EVENT_ACCEPTED:
                self.accepted += 1
                # The kernel reuses a descriptor at once, so the connection that had it before has ended.
                self._remove(value)
                self._live.add(value)
            elif event == zmq.EVENT_DISCONNECTED:
                self.disconnected += 1
                self._remove(value)
            elif event == zmq.EVENT_CLOSED:
                self.disconnected += len(self._live)
                for connection in list(self._live):
                    self._remove(connection)
            elif event & _FAILED:
                self.failed_handshakes += 1

    def _remove(self, connection: int) -> None:
        self._live.discard(connection)
        identity = self._by_connection.pop(connection, None)
        if identity is not None:
            self._by_identity.pop(identity, None)

    def close(self) -> None:
        """Close the monitor, while the ROUTER is still open. Idempotent."""
        if not self.socket.closed:
            self._router.disable_monitor()
            self.socket.close(0)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
