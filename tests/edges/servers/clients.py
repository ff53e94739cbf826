"""Clients and a cycle for the tests of runtime counters: plain sockets, nothing of the harness's own swarm."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path

DEADLINE = 20.0
LISTEN, TIME_WAIT = "0A", "06"


def load(port: int, path: str, connections: int, *, concurrency: int = 50) -> None:
    """Open ``connections`` streams, ``concurrency`` at once; each disconnects after its first event."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode()
    end = time.monotonic() + DEADLINE
    opened = 0
    with selectors.DefaultSelector() as waiting:
        seen: dict[int, bytes] = {}
        while opened < connections or waiting.get_map():
            while opened < connections and len(waiting.get_map()) < concurrency:
                client = socket.create_connection(("127.0.0.1", port), DEADLINE)
                client.sendall(request)
                waiting.register(client, selectors.EVENT_READ)
                seen[client.fileno()] = b""
                opened += 1
            for key, _ in waiting.select(1.0):
                stream = key.fileobj
                assert isinstance(stream, socket.socket)
                part = stream.recv(4096)
                seen[key.fd] += part
                if b"data: hello" in seen[key.fd] or not part:
                    assert b"data: hello" in seen[key.fd], f"a stream ended early: {seen[key.fd]!r}"
                    waiting.unregister(stream)
                    stream.close()
            assert time.monotonic() < end, "the streams never came"
    drained(port)


def drained(port: int) -> None:
    """Wait until the server has closed its side of every connection."""
    wait_for(lambda: not _inbound(port), "every connection closed")


def _inbound(port: int) -> bool:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] not in (LISTEN, TIME_WAIT):
                return True
    return False


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"not true in time: {what}"
        time.sleep(0.01)


def line_of(file: Path, mark: str) -> int:
    """Number of the line that carries a planted leak."""
    return next(n for n, line in enumerate(file.read_text().splitlines(), 1) if mark in line)
