"""Services that a guard must distinguish, each difficult in one way. usage: difficult.py PORT KIND

``stubborn`` also streams only to a POST with the body ``hello``, and only after /ready was requested and answered with
success.
"""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import struct
import sys
import time

KIND = sys.argv[2]
ANSWERS = {
    "page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
    "not-found": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "login": b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
    "closes": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
    "redirects": b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n",
    "garbage": b"\x00\xff\x1b[31mnot HTTP at all\r\n\r\n",
    "deaf": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "floods": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
}
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


ASKED: list[bytes] = []


def reply_to_unexpected(asked: bytes) -> bytes | None:
    """What stubborn answers to anything but the one right request; None for that."""
    if asked.startswith(b"GET /ready "):
        ASKED.append(asked)
        return EMPTY if len(ASKED) > 3 else BUSY
    if len(ASKED) > 3 and asked.startswith(b"POST ") and asked.endswith(b"\r\n\r\nhello"):
        return None
    return BUSY


class Handler(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Answer in the way of this kind."""
        try:
            self.request.settimeout(5)
            asked = self.request.recv(65536)
            while asked.startswith(b"POST ") and asked.endswith(b"\r\n\r\n"):
                asked += self.request.recv(65536)  # the body comes in a segment of its own
            if KIND in ("dies", "dies-answering") and asked:
                self.request.sendall(STREAM if KIND == "dies-answering" else b"")
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.request.close()
                time.sleep(0.1)  # a core is written meanwhile
                os.abort()
            if KIND == "stubborn" and (answer := reply_to_unexpected(asked)) is not None:
                self.request.sendall(answer)
                return
            self.request.sendall(ANSWERS.get(KIND, STREAM))
            while KIND not in ANSWERS:
                self.request.sendall(b"data: x\n\n")
                time.sleep(0.02)
        except OSError:
            pass


class Server(socketserver.ThreadingTCPServer):
    """Threads that do not hold up the end."""

    allow_reuse_address = daemon_threads = True
    request_queue_size = 512


print(f"I am {KIND}", flush=True)
if KIND == "never":
    time.sleep(600)
if KIND == "exits":
    sys.exit("no database: refusing to start")
if KIND == "forks" and os.fork():
    os._exit(0)
if KIND in ("stubborn", "deaf", "forks"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if KIND == "floods":
    block = b"log without end\n" * 65536
    for _ in range(80):
        os.write(1, block)
    while os.fstat(1).st_size > 64 << 20:
        time.sleep(0.05)  # until the supervisor has looked
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
