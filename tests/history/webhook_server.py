"""A real HTTP server that receives webhooks, answers as a test requires and records the requests."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "T0000/B0000/sesame-open-your-door"


class Receiver:
    """url: of the hook; its path is a secret. answers: a status for each request in turn, the last one for all
    further ones; 0 never answers. location: of its redirects."""

    def __init__(self, answers: Sequence[int], location: str = "", retry_after: str = "") -> None:
        self.answers, self.location, self.retry_after = list(answers), location, retry_after
        self.seen: list[tuple[str, str, str]] = []
        self.over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                receiver.seen.append((self.path, self.headers["Content-Type"], body))
                status = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                if not status:
                    receiver.over.wait(60)
                    return
                self.send_response(status)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                if receiver.retry_after:
                    self.send_header("Retry-After", receiver.retry_after)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                """Nothing: the path is a secret."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/services/{SECRET}"

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.seen]


@contextmanager
def receiver(*answers: int, location: str = "", retry_after: str = "") -> Iterator[Receiver]:
    made = Receiver(answers or (200,), location, retry_after)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        made.server.shutdown()
        thread.join()
        made.server.server_close()
