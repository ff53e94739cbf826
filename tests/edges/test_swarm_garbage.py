"""A service that answers with garbage: every stream of the cycle ends with a cause, and without a traceback."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from harness.core.cycle import CycleSpec
from tests.edges.swarm_cycles import swarm_of

GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
ANSWERS = (
    GOOD + b"\r\n" + b"data: x\n\n" * 3,
    GOOD + b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: x\n\n\r\n0\r\nX: y\r\n\r\n",
    GOOD + b"Content-Length: 9\r\n\r\ndata: x\n\nHTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 100 C\r\n\r\n" + GOOD + b"\r\nid: 1\ndata: x\n\n",
    b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 302 F\r\nLocation: /a%zz\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 301 T\r\nLocation: http://[\r\nSet-Cookie: \xff=\xfe; Max-Age=9e9\r\n\r\n",
    b"HTTP/1.1 429 T\r\nRetry-After: \xff\r\n\r\n",
    b"HTTP/0.9 999999999999 x\r\n\r\n",
    b"\0" * 70_000,
    b"",
)
STREAMS = 800


def corrupted(answer: bytes, rng: random.Random) -> bytes:
    """The answer with a few bytes changed, lost or added."""
    data = bytearray(answer)
    for _ in range(rng.choice((0, 0, 1, 3, 8)) if data else 0):
        at = rng.randrange(len(data) or 1)
        match rng.randrange(3):
            case 0:
                data[at : at + 1] = rng.choice((b"\r", b"\n", b":", b" ", b"\0", b"\xff", b"9", b"z"))
            case 1:
                del data[at : at + rng.randrange(1, 9)]
            case _:
                data[at:at] = rng.choice((b"\r\n", b"::", b"xx", b"0", b"\xff\xff\xff"))
    return bytes(data)


@contextlib.contextmanager
def garbage(seed: int) -> Iterator[int]:
    """A server on a port: each connection gets a spoilt answer in pieces, then FIN or RST."""
    rng = random.Random(seed)
    listener = socket.create_server(("127.0.0.1", 0), backlog=500)

    def run() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer, contextlib.suppress(OSError):
                peer.settimeout(1.0)
                peer.recv(4096)
                rest = corrupted(rng.choice(ANSWERS), rng)
                while rest:
                    size = rng.randrange(1, len(rest) + 1) if rng.random() < 0.5 else len(rest)
                    peer.sendall(rest[:size])
                    rest = rest[size:]
                if rng.random() < 0.3:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    threads = [threading.Thread(target=run, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join(10.0)


def test_every_stream_ends_whatever_the_service_sends(tmp_path: Path) -> None:
    with (
        garbage(1) as port,
        swarm_of(f"http://127.0.0.1:{port}", tmp_path, stall_after=0.5, linger=0.2) as swarm,
    ):
        ledger = swarm.cycle(CycleSpec(0, STREAMS, 20, 0.6, events=2, disconnect="mixed"))
    assert (ledger.opened, ledger.open_now) == (STREAMS, 0)
    assert ledger.completed + ledger.failed == STREAMS
    assert sum(ledger.causes.values()) == ledger.failed
    assert {"protocol", "closed", "redirect", "content-type", "rate-limited-429"} <= set(ledger.causes)
    assert ledger.completed > 0
    assert "Traceback" not in (tmp_path / "swarm.log").read_text()
