"""One connection, driven by callbacks of gevent's loop, without a greenlet, thread or timer.

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

READ = 16 * 1024  # bytes of one recv(2)
DRAIN = 512  # reads: more than a receive buffer holds (tcp_rmem in tcp(7))
READABLE, WRITABLE = 1, 2  # what a watcher waits for: EV_READ and EV_WRITE of libev
KIND = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
RESET = struct.pack("ii", 1, 0)  # SO_LINGER without time: close(2) sends RST (socket(7))
SMALL_BUFFER = 4096  # bytes
# Loopback has segments of 64 KiB, and a receive buffer accepts one of them whatever its size: 2.99 MB pass before the
# service notices a reader that does not read. With the segment size of Ethernet it is 81 kB.
SMALL_SEGMENT = 1448
BIND_LATE = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)  # the port is chosen at connect(2): ip(7)
# Replaces the index of the address once part of the request is sent, because no other address may get the rest.
REQUEST_SENT = -1
RETRY = 0.005  # seconds: connect(2) to a Unix socket with a full backlog fails with EAGAIN


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
        "_address_index", "_awaiting_tls", "_callback", "_io", "_listener", "_loop", "_out", "_route", "_small_window",
        "_sock", "_source", "_tls",
    )  # fmt: skip

    def __init__(self, loop: Any, listener: LinkListener) -> None:
        self._loop = loop
        self._listener = listener
        self._io: Any = None
        self._sock: _socket.socket | None = None
        self._tls: TlsLayer | None = None
        self._out = b""
        self._awaiting_tls: bytes | None = None  # the request, until TLS is ready for it
        self._callback: Any = None  # a pending timer or callback of the loop

    def dial(self, route: Route, request: bytes, *, source: str | None, small_window: bool) -> None:
        """Connect to the route's addresses in turn and send the request. Never raises."""
        self._route = route
        self._source = source
        self._address_index = 0
        self._out = request
        self._small_window = small_window
        self._dial()

    def _dial(self) -> None:
        route, source = self._route, self._source
        addresses = route.addresses if source is None else route.from_source(source)
        self._callback = None
        code = errno.EHOSTUNREACH  # none of the source's family
        # connect(2) fails at once for an address of another family or an unreachable network; the next one may work.
        while self._address_index < len(addresses):
            address = addresses[self._address_index]
            try:
                self._sock = sock = _socket.socket(address.family, KIND)
                if ALL_PORTS is not None and address.family != socket.AF_UNIX:
                    sock.setsockopt(socket.IPPROTO_IP, PORT_RANGE, ALL_PORTS)
                if self._small_window:
                    # The size has an effect only if it is set before connect(2) (tcp(7)).
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
                    if address.family != socket.AF_UNIX:
                        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT)
                if source:
                    # Without this option bind(2) chooses a port that is free for every destination, not only for
                    # this one.
                    sock.setsockopt(socket.IPPROTO_IP, BIND_LATE, 1)
                    sock.bind((source, 0))
                code = sock.connect_ex(address.sockaddr)
            except OSError as error:
                code = error.errno or errno.EINVAL
            if code in (0, errno.EINPROGRESS):
                # Watches for reading at first, which is what a connection on loopback needs next.
                self._io = self._loop.io(sock.fileno(), READABLE)
                # On loopback the connection is established already, which saves one iteration of the loop.
                if route.tls is None and self._flush(first=True):
                    return
                self._watch(WRITABLE)
                return
            if self._sock is not None:
                self._sock.close()
                self._sock = None
            if code == errno.EAGAIN and address.family == socket.AF_UNIX:
                # A full backlog is not a failure: TCP would wait for its SYN to be repeated.
                self._callback = self._loop.timer(RETRY)
                self._callback.start(self._dial)
                return
            self._address_index += 1
        # Deferred to the loop: the caller must have its stream before the stream can close.
        self._callback = self._loop.run_callback(self._report_lost, causes.of_errno(code))

    def _report_lost(self, cause: str) -> None:
        self._callback = None
        self._listener.connection_lost(cause)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back from the loop, unless the link is released before."""
        self._callback = self._loop.run_callback(self._call, callback)

    def _call(self, callback: Callable[[], None]) -> None:
        self._callback = None
        callback()

    @property
    def is_open(self) -> bool:
        """True from ``dial`` until the connection is closed."""
        return self._sock is not None

    def _connect_failed(self, code: int) -> None:
        """Called from the loop for a connect that failed at once. code: its errno."""
        self._callback = None
        self._next_address(code)

    def _watch(self, events: int) -> None:
        """Wait for READABLE or WRITABLE."""
        # libev accepts new events only for a stopped watcher.
        self._io.stop()
        self._io.events = events
        self._io.start(self._readable if events == READABLE else self._writable)

    def _writable(self) -> None:
        assert self._sock is not None
        # A connect that was under way reports its result here (connect(2), EINPROGRESS).
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._next_address(code)
        elif self._route.tls is not None and self._tls is None:
            self._start_tls()
        else:
            self._flush()

    def _next_address(self, code: int) -> None:
        """Try another address of the same host, if there is one and nothing was sent to this one yet."""
        known = len(self._route.from_source(self._source))
        if self._address_index != REQUEST_SENT and self._address_index + 1 < known and self._tls is None:
            self._address_index += 1
            self._close()
            self._dial()
        else:
            self._listener.connection_lost(causes.of_errno(code))

    def _start_tls(self) -> None:
        assert self._route.tls is not None
        self._tls = TlsLayer(self._route.tls, self._route.name)
        # The request has to wait: TLS encrypts it only once the handshake is complete.
        self._awaiting_tls, self._out = self._out, self._tls.start()
        self._flush()

    def _flush(self, *, first: bool = False) -> bool:
        """Send what is left of ``_out``; False when the kernel accepts no more and the watcher must wait. first: the
        connect was only just started."""
        assert self._sock is not None
        try:
            sent = self._sock.send(self._out) if self._out else 0
        except BlockingIOError:
            if not first:
                self._watch(WRITABLE)
            return False
        except OSError as error:
            if first:
                # Deferred to the loop. The cause is determined now, because send(2) cleared the error of the socket.
                self._callback = self._loop.run_callback(self._connect_failed, error.errno or 0)
                return True
            self._next_address(error.errno or 0)
            return True
        rest = self._out = self._out[sent:]
        self._address_index = REQUEST_SENT
        # A watcher that never ran needs no stop and already waits for reading, which saves a system call per stream.
        if first and not rest:
            self._io.start(self._readable)
        else:
            self._watch(WRITABLE if rest else READABLE)
        if self._tls is None and not rest:
            self._listener.connected()
        return True

    def _readable(self) -> None:
        # Every event of every stream passes here, so this makes no system call but recv(2).
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
        # The handshake is complete: the request is sent together with its last message.
        if tls.ready and self._awaiting_tls is not None:
            out += tls.send(self._awaiting_tls)
            self._awaiting_tls = None
            self._listener.connected()
        # Each callback may have released the link, so the socket is checked before the next one.
        if out and self._sock is not None:
            self._out += out
            self._flush()
        if plain and self._sock is not None:
            self._listener.received(plain)
        if tls.ended and self._sock is not None:
            self._listener.connection_lost(causes.CLOSED)

    def catch_up(self) -> None:
        """Read what has arrived: a loop that was delayed runs its due timers before it reads its sockets."""
        if self._io is None or not self._io.active:
            return
        if self._io.events == READABLE:
            self._readable()
        elif self._connected():
            self._writable()

    def _connected(self) -> bool:
        """Whether the connect is done: only then the socket has a peer (getpeername(2), ENOTCONN)."""
        assert self._sock is not None
        try:
            self._sock.getpeername()
        except OSError:
            return False
        return True

    @property
    def paused(self) -> bool:
        """Whether reading is paused; then the service is not to blame for missing data."""
        return self._io is not None and not self._io.active

    def send(self, data: bytes) -> None:
        """Send more on the established connection."""
        self._out += self._tls.send(data) if self._tls is not None else data
        self._flush()

    def pause(self) -> None:
        """Stop reading: the kernel's buffer fills, the window closes, and the peer's writes block."""
        if self._io is not None:
            self._io.stop()

    def resume(self) -> None:
        """Read again."""
        if self._sock is not None:
            self._watch(WRITABLE if self._out else READABLE)

    def shut(self) -> None:
        """Send FIN and continue to read. Raises OSError."""
        assert self._sock is not None
        # A FIN without close_notify would be an attack to the peer's TLS (RFC 8446, 6.1).
        if self._tls is not None and self._tls.ready:
            self._sock.send(self._tls.close())
        self._sock.shutdown(socket.SHUT_WR)

    def release(self, *, reset: bool = False, drained: bool = False) -> None:
        """Close: with FIN, or with RST when ``reset``. Idempotent.

        Unread bytes turn the FIN of close(2) into a RST (tcp_close in net/ipv4/tcp.c). So unless the caller
        knows that the buffer is empty (``drained``), the FIN is sent first, and then one buffer is read; a service that
        keeps sending would otherwise block this call for ever.
        """
        if self._callback is not None:
            self._callback.stop()
            self._callback = None
        sock = self._sock
        if sock is None:
            return
        try:
            if reset:
                # The kernel then drops unsent bytes, and the service sees ECONNRESET instead of an end of file.
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
            # The peer may have closed first; the descriptor is closed below in any case.
            pass
        self._close()
        self._tls = None
        self._out = b""

    def detach(self) -> None:
        """Drop the reference to the listener, so that both are freed at once. Call it only after ``release``."""
        self._listener = None  # type: ignore[assignment]

    def _close(self) -> None:
        if self._io is not None:
            self._io.stop()
            self._io.close()
            self._io = None
        if self._sock is not None:
            self._sock.close()
            self._sock = None
