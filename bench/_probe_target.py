"""A process that holds a number of descriptors, and does work on request: ``python bench/_probe_target.py COUNT``.

Six in ten are ends of TCP connections, two are regular files, two are eventfds. It answers a line on standard
input, ``work SECONDS``, with the round trips over a connection of its own per second.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import tempfile
import time
from itertools import pairwise


def hold(count: int) -> list[object]:
    """Open descriptors until there are ``count`` of them."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    kept: list[object] = []
    wanted = count - len(os.listdir("/proc/self/fd"))
    listener = socket.create_server(("127.0.0.1", 0))
    for _ in range(wanted * 3 // 10):
        kept.append(socket.create_connection(listener.getsockname()))
        kept.append(listener.accept()[0])
    kept.append(listener)
    folder = tempfile.mkdtemp()
    for number in range(wanted // 5):
        kept.append(open(f"{folder}/{number % 50}", "w"))  # noqa: SIM115 - held on purpose
    while len(os.listdir("/proc/self/fd")) - 1 < count:
        kept.append(os.eventfd(0))
        if len(kept) < wanted - 10:
            kept.extend(os.eventfd(0) for _ in range(wanted - 10 - len(kept)))
    return kept


def work(seconds: float, near: socket.socket, far: socket.socket) -> float:
    """Round trips per second: each is four system calls and a wake-up within the kernel."""
    done, end = 0, time.monotonic() + seconds
    began = time.monotonic()
    while time.monotonic() < end:
        for _ in range(100):
            near.send(b"ping")
            far.recv(4)
            far.send(b"pong")
            near.recv(4)
        done += 100
    return done / (time.monotonic() - began)


def main() -> None:
    """Open the descriptors, print that they are open, and answer commands until the end of standard input."""
    kept = hold(int(sys.argv[1]))
    near, far = next((a, b) for a, b in pairwise(kept) if isinstance(a, socket.socket))
    assert isinstance(near, socket.socket)
    assert isinstance(far, socket.socket)
    print("ready", flush=True)
    for line in sys.stdin:
        print(work(float(line.split()[1]), near, far), flush=True)


if __name__ == "__main__":
    main()
