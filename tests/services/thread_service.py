"""A small SSE service with a thread per connection: ``thread_service.py PORT HABIT`` (see chosen.py)."""

from __future__ import annotations

import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import chosen
import habits

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
REFUSAL = b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
KEPT: list[object] = []


class Service:
    """One habit, served to many clients; blocking calls alone, so that gevent may patch them."""

    def __init__(self, habit: habits.Habit) -> None:
        self.habit = habit

    def serve(self, connection: socket.socket, address: object = None) -> None:
        """One connection, to its end."""
        way = "closed"
        try:
            way = self._answer(connection)
        except OSError:
            way = "reset"
        if self.habit.forgets:
            KEPT.append(connection)
            threading.Event().wait()
        self.habit.left(way)
        if self.habit.linger:
            time.sleep(self.habit.linger)
        if self.habit.deaf:
            KEPT.append(connection)
        else:
            connection.close()

    def _answer(self, connection: socket.socket) -> str:
        if self.habit.event is habits.LARGE:
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
        time.sleep(self.habit.lookup)
        if self._reset(connection):
            return "early"
        connection.sendall(ANSWER if self.habit.plain else HEAD)
        self.habit.answered()
        return "closed" if self.habit.plain else self._stream(connection)

    def _stream(self, connection: socket.socket) -> str:
        own: list[object] = []
        while True:
            connection.settimeout(habits.SLOW)
            try:
                connection.sendall(self.habit.event)
            except TimeoutError:
                return "slow"
            self.habit.sent()
            self.habit.streamed(own)
            if self.habit.notices == "write":
                time.sleep(self.habit.every)
                continue
            connection.settimeout(self.habit.every)
            try:
                if not connection.recv(1):
                    return "closed"
            except TimeoutError:
                continue

    def _status(self) -> int:
        """200, or the status with which the request is answered instead."""
        try:
            self.habit.opened()
        except habits.Refused as refused:
            return refused.status
        except OSError:
            return 503
        return self.habit.status

    def _reset(self, connection: socket.socket) -> bool:
        return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def ticking(habit: habits.Habit) -> None:
    while True:
        time.sleep(habits.TICK)
        habit.tick()


def main(port: int, text: str) -> None:
    habit = chosen.of(text)
    habit.started()
    service = Service(habit)
    threading.stack_size(256 * 1024)
    threading.Thread(target=ticking, args=(habit,), daemon=True).start()
    pool = ThreadPoolExecutor(habit.workers) if habit.workers else None
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        while True:
            connection, _ = listener.accept()
            if pool:
                pool.submit(service.serve, connection)
                continue
            threading.Thread(target=service.serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
