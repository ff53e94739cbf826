"""The one thread that owns all ZeroMQ sockets: it waits for them and for due times, and lets the Broker decide."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import zmq

from fake_broker import control
from fake_broker.broker import Broker, Send
from fake_broker.fault import Bind, Restart, Unbind, Wire
from fake_broker.journal import Journal
from fake_broker.proxy import Proxy
from fake_broker.server import ListenError, Server, listen
from fake_broker.spec import Spec, parse

MAX_WAIT = 1.0  # seconds of one poll
BEHIND_PROXY = "tcp://127.0.0.1:0"  # where the ROUTER listens if peers connect to the proxy


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The endpoints at which the broker listens, with their port numbers."""

    endpoint: str
    control: str


class Loop:
    """Owns the context and every socket, and is the OrderTarget of the control endpoint. Raises ListenError when an
    endpoint cannot be bound.

    token: the token that every order must contain; "" for none.
    mistakes: the last exceptions that a message caused. It is empty unless the broker has a bug.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        bind: str,
        control_bind: str,
        token: str = "",
        journal: Journal | None = None,
        proxied: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.mistakes: deque[str] = deque(maxlen=10)
        self._broker = broker
        self._token = token
        self._journal = journal
        self._clock = clock
        self._began = clock()
        self._stopping = False
        self._silence_id: int | None = None  # of the fault that ``silence`` switched on last
        self._proxy: Proxy | None = None
        # Closes everything again if a later step fails, such as an endpoint that is taken.
        with contextlib.ExitStack() as undo:
            context = zmq.Context()
            undo.callback(context.destroy, 0)
            self._poller = zmq.Poller()
            self._server = Server(context, self._poller, BEHIND_PROXY if proxied else bind)
            undo.callback(self._server.close)
            endpoint = self._server.endpoint
            if proxied:
                self._proxy = _proxy(bind, endpoint)
                undo.callback(self._proxy.close)
                endpoint = _tcp(*self._proxy.address)
            self._control = context.socket(zmq.REP)
            self._control.linger = 500  # milliseconds to send the last answer
            self._control.maxmsgsize = control.MAX_REQUEST
            undo.callback(self._control.close)
            self.endpoints = Endpoints(endpoint, listen(self._control, control_bind))
            self._poller.register(self._control, zmq.POLLIN)
            self._wake_read, self._wake_write = socket.socketpair()
            for end in (self._wake_read, self._wake_write):
                end.setblocking(False)
                undo.callback(end.close)
            self._poller.register(self._wake_read, zmq.POLLIN)
            self._cleanup = undo.pop_all()

    # -- running

    def run(self) -> None:
        """Serve until ``stop``."""
        while not self._stopping:
            now = self._clock()
            self._server.tick(now)
            self._send(self._broker.tick(now, self._server.monitor.peers))
            self._follow_orders()
            ready = dict(self._poller.poll(0 if self._journal_pending() else self._poll_timeout()))
            # The monitor first, so that the identity of a new connection can be related to it when its message is read.
            if self._server.monitor.socket in ready:
                self._server.monitor.drain()
            if self._server.router in ready:
                self._read()
            elif self._journal is not None and self._journal_pending():
                self._journal.flush()
            if self._control in ready:
                self._answer_order()
            if self._wake_read.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    self._wake_read.recv(64)

    def stop(self) -> None:
        """End ``run`` soon. Safe in a signal handler and from another thread."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._wake_write.send(b"x")

    def stop_on_signals(self) -> None:
        """Make SIGTERM and SIGINT end ``run``, until ``close``. Only in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        # A signal between the check of ``_stopping`` and poll() would not end the poll; the byte in this socket does.
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        self._cleanup.callback(signal.set_wakeup_fd, -1)

    def close(self) -> None:
        """Close every socket at once; replies that are not sent yet are dropped. Idempotent."""
        self._cleanup.close()

    def __enter__(self) -> Loop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- control.OrderTarget

    def stats(self) -> dict[str, Any]:
        """The broker's counters, and those of the connections."""
        counts = self._server.counts()
        found = {
            "peers": self._server.monitor.peers,
            "identities": self._server.monitor.identities,
            **counts,
            **self._broker.stats(),
            "endpoint": self.endpoints.endpoint,
            "dialect": self._broker.dialect.name,
            "silent": self._silent(),
            "listening": self._server.listening,
            "reading": self._server.reading,
            "mistakes": list(self.mistakes),
            "uptime": round(self._clock() - self._began, 3),
            "pid": os.getpid(),
        }
        if self._proxy is not None:
            found["proxied"] = self._proxy.connections
            for fault in found["faults"]:
                if tally := self._proxy.tally(fault["id"]):
                    fault["seen"], fault["fired"] = tally.seen, tally.fired
        if self._journal is not None:
            found["journal"] = {"messages": self._journal.lines, "ended": self._journal.ended}
        return found

    def add_fault(self, spec: Spec) -> int:
        """Switch a fault on; its id. Raises SpecError."""
        number, sends = self._broker.add_fault(spec, self._clock(), self._server.monitor.peers)
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
        """Stop answering, or answer again. Both are idempotent."""
        if silent and not self._silent():
            self._silence_id = self.add_fault(parse({"fault": "silence"}))
        elif self._silence_id is not None and self._silent() and not silent:
            self.remove_fault(self._silence_id)

    def release(self) -> int:
        """Send every held reply; how many."""
        sends = self._broker.release(self._clock())
        self._send(sends)
        return len(sends)

    def _silent(self) -> bool:
        # ``clear`` may have switched the fault off in the meantime.
        return self._silence_id is not None and self._silence_id in self._broker.chain.active

    # -- steps of ``run``

    def _poll_timeout(self) -> int:
        """Milliseconds until something is due, rounded up: a poll that ends too early would only repeat itself."""
        due = self._server.due()
        times = [self._broker.due(), *([] if due is None else [due])]
        return math.ceil(1000 * max(0.0, min(min(times) - self._clock(), MAX_WAIT)))

    def _journal_pending(self) -> bool:
        """Whether the journal has lines to flush, which is done once there is nothing to read."""
        return self._journal is not None and self._journal.pending

    def _read(self) -> None:
        broker = self._broker
        for message in self._server.receive():
            now = self._clock()
            if self._journal is not None:
                self._journal.write(now, "in", message.identity, message.frames)
            if message.excess:
                broker.reject("frames", len(message.frames) + message.excess)
                continue
            try:
                sends = broker.receive(message.identity, message.frames, now)
            except Exception as error:  # no input stops the broker, not even one that reveals a bug in it
                self.mistakes.append(f"{type(error).__name__}: {error}"[:200])
                continue
            self._send(sends)
            self._report()
            # The order may replace the ROUTER, from which no more must be read.
            if broker.socket_orders:
                break
        self._follow_orders()

    def _report(self) -> None:
        """Report peers that use another dialect on standard error. Otherwise their user only sees that nothing
        answers."""
        while self._broker.notices:
            with contextlib.suppress(OSError):  # standard error has no reader; the counters still have them
                sys.stderr.write(f"fake-broker: {self._broker.notices.pop(0)}\n")
                sys.stderr.flush()

    def _send(self, sends: Iterable[Send]) -> None:
        for send in sends:
            if not self._server.send(send):
                self._broker.undeliverable(send)
                continue
            self._broker.delivered(send)
            if self._journal is not None:
                self._journal.write(self._clock(), "out", send.to, send.frames)

    def _answer_order(self) -> None:
        """Carry out one order of the control endpoint, and answer it."""
        try:
            frames = self._control.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        # An order has one frame. A REP socket must answer every request, so any other gets the answer to an invalid
        # order.
        raw = frames[0] if len(frames) == 1 else b""
        with contextlib.suppress(zmq.Again):  # the client has disconnected, so the answer is not needed
            self._control.send(control.answer(raw, self, self._token), zmq.NOBLOCK)

    def _follow_orders(self) -> None:
        orders = self._broker.socket_orders
        while orders:
            order = orders.pop(0)
            if isinstance(order, Wire):
                self._follow_wire(order)
                continue
            if isinstance(order, Restart):
                self._broker.restart(self._clock())
            if self._proxy is not None and isinstance(order, (Unbind, Bind, Restart)):
                self._proxy.change(
                    shut=isinstance(order, Unbind) or (isinstance(order, Restart) and not order.listen)
                )
            self._server.follow(order, self._clock())

    def _follow_wire(self, order: Wire) -> None:
        if self._proxy is None:
            return  # the chain refuses such faults without a proxy
        if order.policy:
            self._proxy.change(by=order.by, **order.policy)
        if order.cut:
            self._proxy.cut(order.cut, by=order.by)
        if order.reset_silenced:
            self._proxy.reset_silenced()


def _proxy(bind: str, behind: str) -> Proxy:
    front, back = urlsplit(bind), urlsplit(behind)
    assert front.hostname is not None
    assert back.port is not None
    try:
        return Proxy(front.hostname, front.port or 0, ("127.0.0.1", back.port))
    except OSError as error:
        raise ListenError(
            f"cannot listen on {bind}: {error.strerror}; choose another port, or 0 for any"
        ) from None


def _tcp(host: str, port: int) -> str:
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
