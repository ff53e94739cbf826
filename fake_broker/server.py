"""Owns the ROUTER socket: binds, unbinds and restarts it, and reads it in portions without waiting.

No input stops it: frames are bounded in size and number, and a peer that does not read loses messages instead of
delaying the others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import zmq

from fake_broker.broker import Send
from fake_broker.fault import Bind, Read, Restart, Unbind
from fake_broker.monitor import Monitor

MAX_FRAME = 64 * 1024 * 1024
"""Bytes of one frame from a peer; libzmq ends the connection of a peer that sends more (ZMQ_MAXMSGSIZE)."""
MAX_FRAMES = 10_000
"""Frames of one message; the rest of a longer one is read and discarded."""
PORTION = 256
"""Messages read before the loop does anything else."""
REBIND_PAUSE = 0.01
"""Seconds between two attempts to bind again."""
HANDSHAKE = 5_000
"""Milliseconds in which a connection must finish its ZMTP handshake."""


class ListenError(Exception):
    """An endpoint cannot be listened on. The text is one line."""


def listen(listener: zmq.Socket[bytes], endpoint: str) -> str:
    """Bind, and return the endpoint with its port number. Only this user can connect to a Unix socket (0600). Raises
    ListenError."""
    listener.ipv6 = "[" in endpoint
    # libzmq creates the socket file of an ipc endpoint with what the umask leaves: mode 0600.
    before = os.umask(0o177)
    try:
        listener.bind(endpoint)
    except zmq.ZMQError as error:
        raise ListenError(_refusal(endpoint, error.errno == zmq.EADDRINUSE, error.strerror)) from None
    finally:
        os.umask(before)
    return listener.getsockopt_string(zmq.LAST_ENDPOINT)


def _refusal(endpoint: str, taken: bool, why: str | None) -> str:
    hint = "choose another port, or 0 for any" if taken else "choose another"
    return f"cannot listen on {endpoint}: {why}; {hint}"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a peer. excess: the number of frames beyond MAX_FRAMES, which are discarded."""

    identity: bytes
    frames: list[bytes]
    excess: int


class Server:
    """Owns one ROUTER at a time and its monitor; ``poller`` always knows both. Raises ListenError."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], poller: zmq.Poller, bind: str) -> None:
        self._context = context
        self._poller = poller
        self._max_frame = MAX_FRAME
        self._routers = 0
        self._bind_again: float | None = None
        self._past = dict.fromkeys(Monitor.COUNTS, 0)
        self.reading = True
        self._open()
        self.endpoint = listen(self.router, bind)
        self.listening = True

    def _open(self) -> None:
        self._routers += 1
        router = self._context.socket(zmq.ROUTER)
        router.linger = 0
        # Without it libzmq silently drops messages for a peer that has disconnected.
        router.set(zmq.ROUTER_MANDATORY, 1)
        router.set(zmq.HANDSHAKE_IVL, HANDSHAKE)
        router.maxmsgsize = self._max_frame
        self.router = router
        self.monitor = Monitor(self._context, router, str(self._routers))
        self._poller.register(self.monitor.socket, zmq.POLLIN)
        if self.reading:
            self._poller.register(router, zmq.POLLIN)

    # -- traffic

    def receive(self) -> Iterator[Message]:
        """The messages that have arrived, at most PORTION. Stop iterating after an order that changes the ROUTER."""
        router, monitor = self.router, self.monitor
        for _ in range(PORTION):
            try:
                # Not copied, because only the frame object has the descriptor of its connection (ZMQ_SRCFD).
                first = router.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            identity = first.bytes
            if not monitor.is_connected(identity):
                monitor.record_identity(identity, _descriptor(first))
            frames: list[bytes] = []
            more, excess = first.more, 0
            while more:
                frame = router.recv(zmq.NOBLOCK)
                more = bool(router.get(zmq.RCVMORE))
                if len(frames) < MAX_FRAMES:
                    frames.append(frame)
                else:
                    excess += 1
            yield Message(identity, frames, excess)

    def send(self, send: Send) -> bool:
        """Send a message. False when the peer has disconnected (EHOSTUNREACH) or does not read (EAGAIN: its queue is
        full)."""
        try:
            self.router.send_multipart([send.to, *send.frames], zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True

    def counts(self) -> dict[str, int]:
        """The counts of connections, summed over every ROUTER so far."""
        self.monitor.drain()
        return {name: before + getattr(self.monitor, name) for name, before in self._past.items()}

    # -- orders of faults

    def follow(self, order: Unbind | Bind | Read | Restart, now: float) -> None:
        """Carry out a fault's order."""
        if isinstance(order, Read):
            self._read(order.reading)
        elif isinstance(order, Bind):
            if not self.listening:
                self._bind_again = now
        elif isinstance(order, Unbind):
            self._bind_again = None
            if self.listening:
                self.router.unbind(self.endpoint)
                self.listening = False
        else:
            self._restart(order, now)

    def tick(self, now: float) -> None:
        """Try to bind again when that is due: libzmq closes the old listener in its own thread, some time later."""
        if self._bind_again is None or now < self._bind_again:
            return
        try:
            self.router.ipv6 = "[" in self.endpoint
            self.router.bind(self.endpoint)
        except zmq.ZMQError:
            self._bind_again = now + REBIND_PAUSE
        else:
            self._bind_again = None
            self.listening = True

    def due(self) -> float | None:
        """When ``tick`` has something to do; None for never."""
        return self._bind_again

    def _read(self, reading: bool) -> None:
        if reading != self.reading:
            self.reading = reading
            if reading:
                self._poller.register(self.router, zmq.POLLIN)
            else:
                self._poller.unregister(self.router)

    def _restart(self, order: Restart, now: float) -> None:
        # The counters of a monitor start at zero with each ROUTER; those before are added to them.
        self._past = self.counts()
        # Its connections end with it, and no monitor is left to report that.
        self._past["disconnected"] += self.monitor.peers
        self._poller.unregister(self.monitor.socket)
        if self.reading:
            self._poller.unregister(self.router)
        self.close()
        self._max_frame = order.max_frame or MAX_FRAME
        self.listening = False
        self._bind_again = now if order.listen else None
        self._open()

    def close(self) -> None:
        """Close ROUTER and monitor; messages that are not sent yet are dropped. Idempotent."""
        if not self.router.closed:
            self.monitor.close()
            self.router.close(0)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _descriptor(frame: zmq.Frame) -> int | None:
    """The descriptor of the connection on which a frame arrived: the monitor identifies connections by it."""
    try:
        found = frame.get(zmq.SRCFD)
    except zmq.ZMQError:
        return None
    return found if isinstance(found, int) else None
