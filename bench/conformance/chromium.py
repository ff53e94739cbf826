"""Chromium's own EventSource: one headless browser, one page, thousands of streams from a local server."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.conformance.oracle import HERE, Absent
from bench.conformance.streams import Found, Stream, types
from harness.process.child import Child

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
START = 60.0  # seconds until the page must be done, beside what each stream takes
PER_STREAM = 0.05  # seconds


class Pages(ThreadingHTTPServer):
    """Serves the page and the streams; takes the result."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, streams: list[Stream]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.streams = streams
        self.types = types(streams)
        self.result: list[Found] | None = None
        self.failure = ""
        self.done = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """The browser may disconnect at any time; the result shows which streams are missing."""


class Handler(BaseHTTPRequestHandler):
    """One connection of the browser, kept open between streams."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Pages

    def do_GET(self) -> None:
        if self.path == "/":
            self._whole((HERE / "page.html").read_bytes(), "text/html")
        elif self.path == "/batch":
            found = {"count": len(self.server.streams), "types": self.server.types}
            self._whole(json.dumps(found).encode(), "application/json")
        elif self.path.startswith("/stream/"):
            self._stream(self.server.streams[int(self.path.rpartition("/")[2])])
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._whole(b"", "text/plain")
        if self.path == "/result":
            self.server.result = json.loads(body)
        else:
            self.server.failure = body.decode("utf-8", "replace")
        self.server.done.set()

    def _whole(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, stream: Stream) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")  # Chromium refuses other charsets than UTF-8
        self.send_header("Cache-Control", "no-store")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in stream.chunks:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def ask(streams: list[Stream]) -> list[Found]:
    """The events that Chromium finds in each stream. Raises Absent, or RuntimeError when the page fails."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    if binary is None:
        raise Absent("chromium is not installed")
    pages = Pages(streams)
    threading.Thread(target=pages.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            argv = [
                binary,
                *FLAGS,
                f"--user-data-dir={folder}/profile",
                f"http://127.0.0.1:{pages.server_port}/",
            ]
            with Child.spawn(argv, log=Path(folder, "log"), name="chromium") as child:
                pages.done.wait(START + PER_STREAM * len(streams))
                last = "; ".join(child.tail(3))
            # Chromium puts its socket into a folder of /tmp, which a browser that is ended leaves there.
            with suppress(OSError):
                shutil.rmtree(Path(folder, "profile", "SingletonSocket").readlink().parent)
    finally:
        pages.shutdown()
        pages.server_close()
    if pages.result is None:
        raise RuntimeError(f"chromium gave no result: {pages.failure or last}")
    return pages.result
