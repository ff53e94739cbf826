"""Leaks one descriptor per request up to its own cap of 500, then answers 500 for ever. usage: cap.py PORT"""

from __future__ import annotations

import http.server
import os
import sys

CAP = 500
KEPT: list[int] = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        serves = len(KEPT) < CAP
        if serves:
            KEPT.append(os.open("/dev/null", os.O_RDONLY))
        self.send_response(200 if serves else 500)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """No line for each request."""


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
