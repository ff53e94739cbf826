"""A small SSE service with a thread per connection: ``thread_service.py PORT BEHAVIOUR`` (see chosen.py)."""

from __future__ import annotations

import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import behaviours
import chosen

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
REFUSAL = b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
KEPT: list[object] = []


class Service:
    """One behaviour, served to many clients; blocking calls alone, so that gevent may patch them."""

    def __init__(self, behaviour: behaviours.Behaviour) -> None:
        self.behaviour = behaviour

    def serve(self, connection: socket.socket, address: object = None) -> None:
        """Serve one connection until it ends."""
        way = "closed"
        try:
            way = self._answer(connection)
        except OSError:
            way = "reset"
        if self.behaviour.forgets:
            KEPT.append(connection)
            threading.Event().wait()
        self.behaviour.left(way)
        if self.behaviour.linger:
            time.sleep(self.behaviour.linger)
        if self.behaviour.deaf:
            KEPT.append(connection)
        else:
            connection.close()

    def _answer(self, connection: socket.socket) -> str:
        if self.behaviour.event is behaviours.LARGE:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        connection.settimeout(10)
        head = b""
        while b"\r\n\r\n" not in head:
            part = connection.recv(4096)
            if not part:
                return "closed"
            head += part
        status = self._status()
        if status != 200:
            connection.sendall(REFUSAL % status)
            return "refused"
        time.sleep(self.behaviour.lookup)
        if self._reset(connection):
            return "early"
        connection.sendall(ANSWER if self.behaviour.plain else HEAD)
        self.behaviour.answered()
        return "closed" if self.behaviour.plain else self._stream(connection)

    def _stream(self, connection: socket.socket) -> str:
        own: list[object] = []
        while True:
            connection.settimeout(behaviours.SLOW)
            try:
                connection.sendall(self.behaviour.event)
            except TimeoutError:
                return "slow"
            self.behaviour.sent()
            self.behaviour.streamed(own)
            if self.behaviour.notices == "write":
                time.sleep(self.behaviour.every)
                continue
            connection.settimeout(self.behaviour.every)
            try:
                if not connection.recv(1):
                    return "closed"
            except TimeoutError:
                continue

    def _status(self) -> int:
        """200, or the status with which the request is answered instead."""
        try:
            self.behaviour.opened()
        except behaviours.Refused as refused:
            return refused.status
        except OSError:
            return 503
        return self.behaviour.status

    def _reset(self, connection: socket.socket) -> bool:
        return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def ticking(behaviour: behaviours.Behaviour) -> None:
    while True:
        time.sleep(behaviours.TICK)
        behaviour.tick()


def main(port: int, text: str) -> None:
    behaviour = chosen.of(text)
    behaviour.started()
    service = Service(behaviour)
    threading.stack_size(256 * 1024)
    threading.Thread(target=ticking, args=(behaviour,), daemon=True).start()
    pool = ThreadPoolExecutor(behaviour.workers) if behaviour.workers else None
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        while True:
            connection, _ = listener.accept()
            if pool:
                pool.submit(service.serve, connection)
                continue
            threading.Thread(target=service.serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
