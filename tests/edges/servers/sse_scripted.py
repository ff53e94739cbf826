"""A server that follows the script of a test: one thread per connection, any bytes at any moment.

The script is a function that gets the connection once its request was read. All requests are kept.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

DEADLINE = 30.0
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Asked:
    """One request. headers: names in lower case, in the order of the wire."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    peer: str
    at: float = field(default_factory=time.monotonic)

    def header(self, name: str) -> str | None:
        """A header's only value; None when it is not there."""
        found = [value for key, value in self.headers if key == name.lower()]
        assert len(found) < 2, f"{name} was sent {len(found)} times"
        return found[0] if found else None


class Connection:
    """The server's side of one connection."""

    def __init__(self, sock: socket.socket, number: int, asked: Asked) -> None:
        self.sock, self.number, self.asked = sock, number, asked

    def send(self, data: bytes) -> None:
        """Send all of it now."""
        self.sock.sendall(data)

    def chunk(self, data: bytes) -> None:
        """One piece of a chunked body."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def reset(self) -> None:
        """End it by RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def wait_gone(self) -> str:
        """How the client disconnected: ``fin``, ``rst``, or ``silence`` when it did not within the deadline."""
        self.sock.settimeout(DEADLINE)
        try:
            while self.sock.recv(4096):
                pass
        except TimeoutError:
            return "silence"
        except OSError:
            return "rst"
        return "fin"

    def drip(self) -> str:
        """Send a byte every 20 ms until the client disconnects; ``silence`` when it does not within the deadline."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            try:
                self.send(b"x")
            except OSError:
                return "gone"
            time.sleep(0.02)
        return "silence"

    def kernel_end(self) -> str:
        """How the client disconnected, by the kernel's state (tcp_states.h): CLOSE_WAIT 8 after FIN, CLOSE 7 after RST.

        TLS's close_notify arrives before the FIN, so this waits for the state.
        """
        end = time.monotonic() + DEADLINE
        while (state := self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]) not in (7, 8):
            assert time.monotonic() < end, f"TCP state {state}"
            time.sleep(0.002)
        return {8: "fin", 7: "rst"}[state]


class Scripted:
    """url: where it is. asked: every request so far. ends: what ``wait_gone`` in the script returned."""

    def __init__(self, listener: socket.socket, script: Callable[[Connection], object], url: str) -> None:
        self.url = url
        self.port = listener.getsockname()[1] if listener.family != socket.AF_UNIX else 0
        self.asked: list[Asked] = []
        self.returned: list[object] = []
        self.problems: list[str] = []
        self.connections = 0
        self._script, self._listener = script, listener
        self._context: ssl.SSLContext | None = None
        self._threads: list[threading.Thread] = []

    def wait(self, condition: Callable[[], object], what: str = "the server saw it") -> None:
        """Until it is true."""
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, f"never: {what}; asked {self.asked}, returned {self.returned}"
            time.sleep(0.005)

    def accept(self, context: ssl.SSLContext | None) -> None:
        """Serve until the listener is closed."""
        self._context = context
        while True:
            try:
                sock, peer = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock, peer, self.connections), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, peer: object, number: int) -> None:
        sock.settimeout(DEADLINE)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(sock.close)
            if self._context is not None:
                sock = stack.enter_context(self._context.wrap_socket(sock, server_side=True))
            asked = _read(sock, str(peer[0]) if isinstance(peer, tuple) else "")
            if asked is None:
                return
            self.asked.append(asked)
            try:
                self.returned.append(self._script(Connection(sock, number, asked)))
            except AssertionError as error:
                self.problems.append(str(error))


def _read(sock: socket.socket, peer: str) -> Asked | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            return None
        data += piece
        if data[:1] == b"\x16":  # a TLS hello: answered as servers of plain HTTP do
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            return None
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, version = first.split(" ")
    assert version == "HTTP/1.1"
    headers = [(line.split(":", 1)[0].lower(), line.split(":", 1)[1].strip()) for line in lines]
    length = int(dict(headers).get("content-length", "0"))
    while len(body) < length:
        body += sock.recv(65536)
    return Asked(method, target, headers, body, peer)


@contextlib.contextmanager
def serve(
    script: Callable[[Connection], object],
    *,
    family: int = socket.AF_INET,
    unix: Path | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Scripted]:
    """A running server."""
    if unix is not None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(unix))
        url = f"http+unix://{str(unix).replace('/', '%2F')}"
    else:
        listener = socket.socket(family)
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        listener.bind((host, 0))
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        url = f"http{'s' if tls else ''}://{shown}:{listener.getsockname()[1]}"
    listener.listen(64)
    server = Scripted(listener, script, url)
    thread = threading.Thread(target=server.accept, args=(tls,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(DEADLINE)
    assert not server.problems, server.problems
