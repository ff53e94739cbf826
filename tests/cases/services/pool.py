"""A pool of 200 threads. A stream keeps its thread and its socket for ever once its client has left.

usage: pool.py PORT
"""

from __future__ import annotations

import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

KEPT: list[socket.socket] = []


def serve(client: socket.socket) -> None:
    client.recv(65536)
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: hello\n\n")
    threading.Event().wait()


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=512)
    with ThreadPoolExecutor(200) as executor:
        while True:
            accepted, _ = listener.accept()
            KEPT.append(accepted)
            executor.submit(serve, accepted)
