"""An SSE service with one thread per stream: ``thread_orders.py PORT LEAK`` keeps one thing for each stream."""

from __future__ import annotations

import socketserver
import sys
import threading


class Session:
    def __init__(self) -> None:
        self.events: list[str] = []


class Registry:
    sessions: dict[int, Session] = {}  # noqa: RUF012 - the leak is shared by all instances


def watch(never: threading.Event) -> None:
    never.wait()  # planted thread


def thread() -> None:
    threading.Thread(target=watch, args=(threading.Event(),), daemon=True).start()


def library_thread() -> None:
    threading.Timer(1e6, print).start()  # planted library_thread


def session() -> None:
    Registry.sessions[len(Registry.sessions)] = Session()  # planted session


def memoize(cache: list[bytes] = []) -> None:  # noqa: B006 - the leak is a default that is shared
    cache.append(bytes(bytearray(3000)))  # planted memoize


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        globals()[sys.argv[2]]()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: hello\n\n")
        self.rfile.read()


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        pass


with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
    server.serve_forever()
