"""A small SSE server on gevent, everything monkey-patched. ``/clean`` releases everything, ``/object`` retains one
object per connection, ``/greenlet`` one waiting greenlet. Prints its port."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import socket  # noqa: E402

import gevent  # noqa: E402
from gevent.event import Event  # noqa: E402
from gevent.server import StreamServer  # noqa: E402

KEPT: list[object] = []


class Kept:
    __slots__ = ("held",)


def forgotten(never: Event) -> None:
    never.wait()  # planted greenlet


def handle(connection: socket.socket, address: object) -> None:
    try:
        path = connection.recv(4096).split()[1].decode()
        if path == "/object":
            KEPT.append(Kept())  # planted object
        elif path == "/greenlet":
            KEPT.append(gevent.spawn(forgotten, Event()))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: hello\n\n")
        while connection.recv(4096):
            pass
    except OSError:
        pass


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(128)
print(listener.getsockname()[1], flush=True)
StreamServer(listener, handle).serve_forever()
