"""Sockets for the broker: the only module that touches a ROUTER. One thread owns all of ZeroMQ.

The loop reads what is there, in bounded portions, lets the sans-I/O Broker decide, and sends without ever
waiting: a peer that does not read loses messages, not the others' time.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import zmq

from fake_broker import control
from fake_broker.broker import Broker, Send
from fake_broker.fault import Bind, Read, Restart, Unbind
from fake_broker.journal import Journal
from fake_broker.monitor import Monitor
from fake_broker.spec import Spec, parse

MAX_FRAME = 64 * 1024 * 1024
"""Bytes of one frame from a peer; libzmq ends the connection of a peer that sends more (ZMQ_MAXMSGSIZE)."""
MAX_FRAMES = 10_000
"""Frames of one message; the rest of a longer one is read and thrown away."""
PORTION = 256
"""Messages read before anything else gets its turn."""
LONGEST_NAP = 1.0
REBIND_PAUSE = 0.01
HANDSHAKE = 5_000
"""Milliseconds a connection has to finish its ZMTP handshake."""


class ListenError(Exception):
    """An endpoint cannot be listened on. The text is one line."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where it listens, with port numbers filled in."""

    endpoint: str
    control: str


class Server:
    """Owns context, ROUTER, monitor, control socket and the loop. Raises ListenError when it cannot listen.
    mistakes: the last exceptions that a message caused; always empty, or the broker has a bug."""

    def __init__(
        self,
        broker: Broker,
        *,
        bind: str,
        control_bind: str | None,
        journal: Journal | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._journal = journal
        self._clock = clock
        self._began = clock()
        self.mistakes: deque[str] = deque(maxlen=10)
        self._stopping = False
        self._signals = False
        self._reading = True
        self._listening = False
        self._bind_again: float | None = None
        self._max_frame = MAX_FRAME
        self._silence: int | None = None
        self._routers = 0
        self._past = {"accepted": 0, "disconnected": 0, "failed_handshakes": 0, "identities_seen": 0}
        self._cleanup = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            self._context = zmq.Context()
            undo.callback(self._context.destroy, 0)
            self._poller = zmq.Poller()
            self._endpoint = bind
            self._open_router()
            self._endpoint = self._listen(self._router, bind)
            self._listening = True
            self._control: zmq.Socket[bytes] | None = None
            control_endpoint = ""
            if control_bind is not None:
                self._control = self._context.socket(zmq.REP)
                self._control.linger = 500
                self._control.maxmsgsize = control.MAX_REQUEST
                control_endpoint = self._listen(self._control, control_bind)
                self._poller.register(self._control, zmq.POLLIN)
            self._wake_read, self._wake_write = socket.socketpair()
            for end in (self._wake_read, self._wake_write):
                end.setblocking(False)
                undo.callback(end.close)
            self._poller.register(self._wake_read, zmq.POLLIN)
            self.endpoints = Endpoints(self._endpoint, control_endpoint)
            self._cleanup = undo.pop_all()

    # -- life

    def run(self) -> None:
        """Serve until ``stop``."""
        while not self._stopping:
            now = self._clock()
            self._retry_bind(now)
            self._send(self._broker.tick(now, self._monitor.peers))
            self._follow_orders()
            nap = min(self._broker.due(), self._bind_again or now + LONGEST_NAP) - self._clock()
            ready = dict(self._poller.poll(math.ceil(1000 * max(0.0, min(nap, LONGEST_NAP)))))
            if self._monitor.socket in ready:
                self._monitor.drain()
            if self._router in ready:
                self._read_portion()
            elif self._journal is not None:
                self._journal.flush()
            if self._control is not None and self._control in ready:
                self._obey(self._control)
            if self._wake_read.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    self._wake_read.recv(64)

    def stop(self) -> None:
        """End ``run`` soon. Safe in a signal handler and from another thread."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._wake_write.send(b"x")

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT end ``run``. Only in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        self._signals = True
        # poll() is restarted after a handler (PEP 475); the byte in the pipe is what ends its sleep.
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)

    def close(self) -> None:
        """Let go of every socket at once; unsent replies are dropped. Idempotent."""
        if not self._context.closed:
            if self._signals:
                signal.set_wakeup_fd(-1)
            self._monitor.close()
            self._router.close(0)
        self._cleanup.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- control.Desk

    def stats(self) -> dict[str, Any]:
        """The broker's counters, and those of the connections."""
        self._monitor.drain()
        monitor = self._monitor
        told = {
            "peers": monitor.peers,
            "identities": monitor.identities,
            **{name: before + getattr(monitor, name) for name, before in self._past.items()},
            **self._broker.stats(),
            "endpoint": self._endpoint,
            "dialect": self._broker.dialect.name,
            "silent": self._silence is not None and self._silence in self._broker.chain.active,
            "mistakes": list(self.mistakes),
            "listening": self._listening,
            "reading": self._reading,
            "uptime": round(self._clock() - self._began, 3),
            "pid": os.getpid(),
        }
        if self._journal is not None:
            told["journal"] = {"messages": self._journal.lines, "ended": self._journal.ended}
        return told

    def add_fault(self, spec: Spec) -> int:
        """Switch a fault on; its id. Raises SpecError."""
        number, sends = self._broker.add_fault(spec, self._clock(), self._monitor.peers)
        self._send(sends)
        self._follow_orders()
        return number

    def remove_fault(self, number: int) -> None:
        """Switch one fault off. Raises SpecError."""
        self._send(self._broker.remove_fault(number, self._clock()))
        self._follow_orders()

    def clear(self) -> None:
        """Switch every fault off, silence too."""
        self._send(self._broker.clear(self._clock()))
        self._follow_orders()

    def silence(self, silent: bool) -> None:
        """Fall silent, or answer again. Both are idempotent."""
        on = self._silence is not None and self._silence in self._broker.chain.active
        if silent and not on:
            self._silence = self.add_fault(parse({"fault": "silence"}))
        elif on and not silent:
            assert self._silence is not None
            self.remove_fault(self._silence)
            self._silence = None

    def release(self) -> int:
        """Send every held reply; how many."""
        sends = self._broker.release(self._clock())
        self._send(sends)
        return len(sends)

    # -- traffic

    def _read_portion(self) -> None:
        router, monitor, broker, journal = self._router, self._monitor, self._broker, self._journal
        for _ in range(PORTION):
            try:
                first = router.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            identity = first.bytes
            if not monitor.knows(identity):
                monitor.meet(identity, _descriptor(first))
            frames: list[bytes] = []
            more = first.more
            excess = 0
            while more:
                frame = router.recv(zmq.NOBLOCK)
                more = bool(router.get(zmq.RCVMORE))
                if len(frames) < MAX_FRAMES:
                    frames.append(frame)
                else:
                    excess += 1
            now = self._clock()
            if journal is not None:
                journal.write(now, "in", identity, frames)
            if excess:
                broker.reject("frames", len(frames) + excess)
            else:
                self._send(self._received(identity, frames, now))
            if broker.socket_orders:
                self._follow_orders()
                return

    def _received(self, identity: bytes, frames: list[bytes], now: float) -> list[Send]:
        try:
            return self._broker.receive(identity, frames, now)
        except Exception as error:  # no input stops the broker, not even one that finds a mistake in it
            self.mistakes.append(f"{type(error).__name__}: {error}"[:200])
            return []

    def _send(self, sends: Iterable[Send]) -> None:
        for send in sends:
            try:
                self._router.send_multipart([send.to, *send.frames], zmq.NOBLOCK)
            except zmq.ZMQError:
                # EHOSTUNREACH: the peer is gone. EAGAIN: it does not read, its queue is full.
                self._broker.lost(send)
                continue
            self._broker.delivered(send)
            if self._journal is not None:
                self._journal.write(self._clock(), "out", send.to, send.frames)

    def _obey(self, desk: zmq.Socket[bytes]) -> None:
        try:
            frames = desk.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        raw = frames[0] if len(frames) == 1 else b""
        with contextlib.suppress(zmq.Again):  # the asker is gone, nobody misses the answer
            desk.send(control.answer(raw, self), zmq.NOBLOCK)

    # -- orders of faults

    def _follow_orders(self) -> None:
        while self._broker.socket_orders:
            order = self._broker.socket_orders.pop(0)
            if isinstance(order, Read):
                self._read(order.reading)
            elif isinstance(order, Bind):
                if not self._listening:
                    self._bind_again = self._clock()
            elif isinstance(order, Unbind):
                self._bind_again = None
                if self._listening:
                    self._router.unbind(self._endpoint)
                    self._listening = False
            else:
                self._restart(order)

    def _read(self, reading: bool) -> None:
        if reading != self._reading:
            self._reading = reading
            if reading:
                self._poller.register(self._router, zmq.POLLIN)
            else:
                self._poller.unregister(self._router)

    def _restart(self, order: Restart) -> None:
        self._read(False)
        self._monitor.drain()
        for name in self._past:
            self._past[name] += getattr(self._monitor, name)
        self._poller.unregister(self._monitor.socket)
        self._monitor.close()
        self._router.close(0)
        self._max_frame = order.max_frame or MAX_FRAME
        self._broker.restart(self._clock())
        self._open_router()
        self._reading = True
        self._listening = False
        self._bind_again = self._clock() if order.listen else None

    def _retry_bind(self, now: float) -> None:
        """The old socket lets go of its port in its own time, so binding is tried until it works."""
        if self._bind_again is None or now < self._bind_again:
            return
        try:
            self._router.bind(self._endpoint)
        except zmq.ZMQError:
            self._bind_again = now + REBIND_PAUSE
        else:
            self._bind_again = None
            self._listening = True

    # -- sockets

    def _open_router(self) -> None:
        self._routers += 1
        router = self._context.socket(zmq.ROUTER)
        router.linger = 0
        router.set(zmq.ROUTER_MANDATORY, 1)
        router.set(zmq.HANDSHAKE_IVL, HANDSHAKE)
        router.maxmsgsize = self._max_frame
        self._router = router
        self._monitor = Monitor(self._context, router, str(self._routers))
        self._poller.register(router, zmq.POLLIN)
        self._poller.register(self._monitor.socket, zmq.POLLIN)

    @staticmethod
    def _listen(listener: zmq.Socket[bytes], endpoint: str) -> str:
        try:
            listener.bind(endpoint)
        except zmq.ZMQError as error:
            hint = "choose another port, or 0 for any" if error.errno == zmq.EADDRINUSE else "choose another"
            raise ListenError(f"cannot listen on {endpoint}: {error.strerror}; {hint}") from None
        return listener.getsockopt_string(zmq.LAST_ENDPOINT)


def _descriptor(frame: zmq.Frame) -> int | None:
    """The descriptor of the connection that a frame came in on, as the monitor names connections."""
    try:
        found = frame.get(zmq.SRCFD)
    except zmq.ZMQError:
        return None
    return found if isinstance(found, int) else None
