"""An SSE service on gevent: ``gevent_orders.py PORT LEAK`` keeps one thing for each stream."""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

import gevent  # noqa: E402
from gevent.event import Event  # noqa: E402
from gevent.queue import Queue  # noqa: E402
from gevent.server import StreamServer  # noqa: E402

HELD: list[object] = []


class Order:
    pass


def watch(never: Event) -> None:
    never.wait()  # planted greenlet


def greenlet() -> None:
    HELD.append(gevent.spawn(watch, Event()))


def library_greenlet() -> None:
    HELD.append(gevent.spawn(Queue().get))  # planted library_greenlet


def order() -> None:
    HELD.append(Order())  # planted order


def handle(connection, address) -> None:  # type: ignore[no-untyped-def]
    try:
        connection.recv(4096)
        globals()[sys.argv[2]]()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: hello\n\n")
        while connection.recv(4096):
            pass
    except OSError:
        pass


StreamServer(("127.0.0.1", int(sys.argv[1])), handle).serve_forever()
