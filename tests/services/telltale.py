"""A service that logs every request in the ways of real services, and lines that look like commands of a CI system;
then it aborts.

usage: telltale.py PORT REQUESTS [anything …] - it aborts at that request.
"""

from __future__ import annotations

import json
import os
import socketserver
import sys
import threading

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 1\ndata: x\n\n"
HOSTILE = (
    "::error file=x.py,line=1::planted command",
    "  ::set-output name=x::planted",
    "done ##[error]planted command",
    "\x1b]0;planted title\x07\x1b[31mred\x1b[0m \x08\x08 \x9b31m",
    "]]> </failure><testcase name='planted'/> &amp; \ufffe \x00",
    "| a | b | [link](javascript:planted) <script>planted()</script> `code` ```` @user #1 https://x.example",
    "zz-4711-zz is what --redact asks for",
)
SEEN: list[int] = []
LAST = threading.Lock()


def log(text: str) -> None:
    """One line, at once: an abort flushes nothing."""
    os.write(2, text.encode(errors="surrogatepass") + b"\n")


class Handler(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Log the request as a framework would, in several forms, and stream."""
        try:
            self.request.settimeout(5)
            asked = self.request.recv(65536)
            head, _, body = asked.partition(b"\r\n\r\n")
            if not head:
                return
            length = next(
                (
                    int(x.split(b":")[1])
                    for x in head.split(b"\r\n")
                    if x.lower().startswith(b"content-length")
                ),
                0,
            )
            while len(body) < length:
                body += self.request.recv(65536)
            # Nobody may log after the last request: a second thread that had one wrote between its lines.
            with LAST:
                SEEN.append(1)
                if len(SEEN) >= int(sys.argv[2]):
                    self.tell(head.decode("latin-1"), body.decode("latin-1"))
                    os.abort()
            self.request.sendall(STREAM)
            self.request.recv(1)
        except OSError:
            pass

    def tell(self, head: str, body: str) -> None:
        """The last lines of the log."""
        first, *lines = head.split("\r\n")
        pairs = [tuple(line.split(": ", 1)) for line in lines]
        log(f'"{first}" 500')
        for line in lines:
            log(line)
        log(repr(dict(pairs)))
        log(json.dumps(dict(pairs)))
        log(repr([(name.lower().encode(), value.encode()) for name, value in pairs]))
        log(f"body {body}")
        log(f"body {body!r}")
        log(f"body {json.dumps(body)}")
        log(f"started as {sys.argv}")
        log(f"started as {' '.join(sys.argv)}")
        for line in HOSTILE:
            log(line)


class Server(socketserver.ThreadingTCPServer):
    """Many at once."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512


if __name__ == "__main__":
    with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        server.serve_forever()
