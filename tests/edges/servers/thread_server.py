"""A small SSE server with one thread per connection. ``/clean`` releases everything, ``/object`` retains one object per
connection, ``/thread`` one waiting thread. Prints its port."""

from __future__ import annotations

import socketserver
import threading

KEPT: list[object] = []


class Kept:
    __slots__ = ("held",)


def forgotten(never: threading.Event) -> None:
    never.wait()  # planted thread


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        path = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        if path == "/object":
            KEPT.append(Kept())  # planted object
        elif path == "/thread":
            threading.Thread(target=forgotten, args=(threading.Event(),), daemon=True).start()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: hello\n\n")
        self.rfile.read()


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        pass


with Server(("127.0.0.1", 0), Handler) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
