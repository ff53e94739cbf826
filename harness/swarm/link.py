"""One connection driven by callbacks of gevent's loop: no greenlet, no thread, no timer of its own.

A raw non-blocking socket and one io watcher. gevent's own socket keeps two watchers, and its use needs a
greenlet to wait in: about 10 KiB and 23-30 us an event, against below 2 KiB and 14-15 us this way.
"""

from __future__ import annotations

import _socket
import errno
import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol

from harness.http import causes
from harness.http.route import Route
from harness.http.tls import TlsFailure, TlsLayer
from harness.swarm.ports import ALL_PORTS, PORT_RANGE

READ = 16 * 1024
DRAIN = 512  # reads: more than a receive buffer holds (tcp_rmem in tcp(7))
KIND = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
RESET = struct.pack("ii", 1, 0)  # SO_LINGER without time: close(2) sends RST (socket(7))
SMALL_BUFFER = 4096  # bytes
# Loopback has segments of 64 KiB, and a receive buffer takes one of them whatever its size: 2.99 MB go through
# before the service feels a reader that does not read. With the segments of Ethernet it is 81 kB.
SMALL_SEGMENT = 1448
BIND_LATE = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)  # the port is chosen at connect(2): ip(7)
# Stands in place of an address's number once part of the request is sent: no other address may get the rest.
REQUEST_SENT = -1
RETRY = 0.005  # seconds: a Unix socket whose backlog is full answers EAGAIN (connect(2))


class LinkListener(Protocol):
    """Receives what happens on a link."""

    def connected(self) -> None:
        """The connection is established and the request is sent."""

    def received(self, chunk: bytes) -> None:
        """Bytes arrived."""

    def connection_lost(self, cause: str) -> None:
        """The peer closed the connection (cause ``closed``), or it failed."""


class Link:
    """Connects, sends and reads. It calls its listener, and stops calling it after ``release``."""

    __slots__ = (
        "_address", "_io", "_listener", "_loop", "_out", "_route", "_sealed", "_small_window", "_sock", "_source",
        "_tls", "_waiting",
    )  # fmt: skip

    def __init__(self, loop: Any, listener: LinkListener) -> None:
        self._loop = loop
        self._listener = listener
        self._io: Any = None
        self._sock: _socket.socket | None = None
        self._tls: TlsLayer | None = None
        self._out = b""
        self._sealed: bytes | None = None  # the request, until TLS is ready for it
        self._waiting: Any = None  # a timer or callback of the loop that would call us

    def dial(self, route: Route, request: bytes, *, source: str | None, small_window: bool) -> None:
        """Connect to the route's addresses in turn and send the request. Never raises."""
        self._route = route
        self._source = source
        self._address = 0
        self._out = request
        self._small_window = small_window
        self._dial()

    def _dial(self) -> None:
        route, source = self._route, self._source
        addresses = route.addresses if source is None else route.from_source(source)
        self._waiting = None
        code = errno.EHOSTUNREACH  # none of the source's family
        # connect(2) fails at once for an address of another family or an unreachable network; the next one may work.
        while self._address < len(addresses):
            address = addresses[self._address]
            try:
                self._sock = sock = _socket.socket(address.family, KIND)
                if ALL_PORTS is not None and address.family != socket.AF_UNIX:
                    sock.setsockopt(socket.IPPROTO_IP, PORT_RANGE, ALL_PORTS)
                if self._small_window:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
                    if address.family != socket.AF_UNIX:
                        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT)
                if source:
                    # Without this option bind(2) reserves a port for every destination, before it is known which
                    # ports are free for this one.
                    sock.setsockopt(socket.IPPROTO_IP, BIND_LATE, 1)
                    sock.bind((source, 0))
                code = sock.connect_ex(address.sockaddr)
            except OSError as error:
                code = error.errno or errno.EINVAL
            if code in (0, errno.EINPROGRESS):
                self._io = self._loop.io(sock.fileno(), 1)
                # On loopback the connection stands already: one turn of the loop saved.
                if route.tls is None and self._flush(first=True):
                    return
                self._watch(2)
                return
            if self._sock is not None:
                self._sock.close()
                self._sock = None
            if code == errno.EAGAIN and address.family == socket.AF_UNIX:
                # A full backlog is not a failure: TCP would wait for its SYN to be repeated.
                self._waiting = self._loop.timer(RETRY)
                self._waiting.start(self._dial)
                return
            self._address += 1
        # From the loop: the caller must have its stream before the stream can end.
        self._waiting = self._loop.run_callback(self._failed, causes.of_errno(code))

    def _failed(self, cause: str) -> None:
        self._waiting = None
        self._listener.connection_lost(cause)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back from the loop, unless the link is released before."""
        self._waiting = self._loop.run_callback(self._call, callback)

    def _call(self, callback: Callable[[], None]) -> None:
        self._waiting = None
        callback()

    @property
    def is_open(self) -> bool:
        """True from ``dial`` until the connection is closed."""
        return self._sock is not None

    def _refused(self, code: int) -> None:
        self._waiting = None
        self._next_address(code)

    def _watch(self, events: int) -> None:
        # libev takes new events only of a watcher that is stopped.
        self._io.stop()
        self._io.events = events
        self._io.start(self._readable if events == 1 else self._writable)

    def _writable(self) -> None:
        assert self._sock is not None
        # A connect that was under way reports its result here (connect(2), EINPROGRESS).
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._next_address(code)
        elif self._route.tls is not None and self._tls is None:
            self._secure()
        else:
            self._flush()

    def _next_address(self, code: int) -> None:
        """Another address of the same host, if there is one and nothing was said to this one yet."""
        known = len(self._route.from_source(self._source))
        if self._address != REQUEST_SENT and self._address + 1 < known and self._tls is None:
            self._address += 1
            self._close()
            self._dial()
        else:
            self._listener.connection_lost(causes.of_errno(code))

    def _secure(self) -> None:
        assert self._route.tls is not None
        self._tls = TlsLayer(self._route.tls, self._route.name)
        # The request has to wait: TLS encrypts it only once the handshake is complete.
        self._sealed, self._out = self._out, self._tls.start()
        self._flush()

    def _flush(self, *, first: bool = False) -> bool:
        """Send what is due; False when the kernel takes no more and the watcher must wait."""
        assert self._sock is not None
        try:
            sent = self._sock.send(self._out) if self._out else 0
        except BlockingIOError:
            if not first:
                self._watch(2)
            return False
        except OSError as error:
            if first:
                # From the loop; and now, because send(2) has taken the error off the socket.
                self._waiting = self._loop.run_callback(self._refused, error.errno or 0)
                return True
            self._next_address(error.errno or 0)
            return True
        rest = self._out = self._out[sent:]
        self._address = REQUEST_SENT
        # A watcher that has never run needs no stop and waits for reading already: one system call less for a stream.
        if first and not rest:
            self._io.start(self._readable)
        else:
            self._watch(2 if rest else 1)
        if self._tls is None and not rest:
            self._listener.connected()
        return True

    def _readable(self) -> None:
        # Every event of every stream passes here, so nothing is asked that recv(2) does not answer by itself.
        try:
            chunk = self._sock.recv(READ)  # type: ignore[union-attr]
        except BlockingIOError:
            return
        except OSError as error:
            self._listener.connection_lost(causes.of_errno(error.errno))
            return
        if self._tls is not None:
            self._decrypt(chunk)
        elif chunk:
            self._listener.received(chunk)
        else:
            self._listener.connection_lost(causes.CLOSED)

    def _decrypt(self, chunk: bytes) -> None:
        tls = self._tls
        assert tls is not None
        if not chunk:
            self._listener.connection_lost(causes.CLOSED if tls.ready else causes.TLS)
            return
        try:
            plain, out = tls.receive(chunk)
        except TlsFailure as failure:
            self._listener.connection_lost(failure.cause)
            return
        # The handshake has just ended: the request goes out together with its last message.
        if tls.ready and self._sealed is not None:
            out += tls.send(self._sealed)
            self._sealed = None
            self._listener.connected()
        # Each callback may have released the link, so the socket is looked at again before the next.
        if out and self._sock is not None:
            self._out += out
            self._flush()
        if plain and self._sock is not None:
            self._listener.received(plain)
        if tls.ended and self._sock is not None:
            self._listener.connection_lost(causes.CLOSED)

    def catch_up(self) -> None:
        """Read what has come: a loop that was kept from running finds its timers due before its sockets are read."""
        if self._io is None or not self._io.active:
            return
        if self._io.events == 1:
            self._readable()
        elif self._connected():
            self._writable()

    def _connected(self) -> bool:
        assert self._sock is not None
        try:
            self._sock.getpeername()
        except OSError:
            return False
        return True

    @property
    def paused(self) -> bool:
        """True while it is not read: what does not come then is not the service's fault."""
        return self._io is not None and not self._io.active

    def send(self, data: bytes) -> None:
        """Send more on the established connection."""
        self._out += self._tls.send(data) if self._tls is not None else data
        self._flush()

    def pause(self) -> None:
        """Read no more: the kernel's buffer fills, the window closes, the peer's writes block."""
        if self._io is not None:
            self._io.stop()

    def resume(self) -> None:
        """Read again."""
        if self._sock is not None:
            self._watch(2 if self._out else 1)

    def shut(self) -> None:
        """Say that nothing more will be sent (FIN); reading goes on. Raises OSError."""
        assert self._sock is not None
        # A FIN without close_notify would be an attack to the peer's TLS (RFC 8446, 6.1).
        if self._tls is not None and self._tls.ready:
            self._sock.send(self._tls.close())
        self._sock.shutdown(socket.SHUT_WR)

    def release(self, *, reset: bool = False, drained: bool = False) -> None:
        """Close: with FIN, or with RST when ``reset``. Idempotent.

        Unread bytes turn the FIN of close(2) into a RST (tcp_close in net/ipv4/tcp.c). So unless the caller knows
        that nothing is there (``drained``), the FIN is sent first, and what has come is read: the buffer's worth,
        for a service that sends on and on would keep us here for ever.
        """
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None
        sock = self._sock
        if sock is None:
            return
        try:
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            else:
                if self._tls is not None and self._tls.ready:
                    sock.send(self._tls.close())
                if not drained:
                    sock.shutdown(socket.SHUT_WR)
                    for _ in range(DRAIN):
                        if not sock.recv(READ):
                            break
        except OSError:
            # The peer may have closed first; whatever failed, the descriptor is closed below.
            pass
        self._close()
        self._tls = None
        self._out = b""

    def detach(self) -> None:
        """Forget the listener, so that both are freed at once. Only after ``release``."""
        self._listener = None  # type: ignore[assignment]

    def _close(self) -> None:
        if self._io is not None:
            self._io.stop()
            self._io.close()
            self._io = None
        if self._sock is not None:
            self._sock.close()
            self._sock = None
