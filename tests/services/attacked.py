"""``attacked.py PORT STATE``: streams of server-sent events that leak one eventfd per connection.

It forks a worker that sleeps and a daemon in a session of its own. STATE names a file that always holds how many
streams are open, so that a test can send a signal at a certain step of a cycle.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LEAKED: list[int] = []
LOCK = threading.Lock()
STATE = sys.argv[2]
OPEN = [0]


def count(step: int) -> None:
    with LOCK:
        OPEN[0] += step
        with open(STATE + ".new", "w") as file:
            file.write(str(OPEN[0]))
        os.replace(STATE + ".new", STATE)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        LEAKED.append(os.eventfd(0))
        count(1)
        try:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for number in range(200):
                self.wfile.write(b"data: %d\n\n" % number)
                self.wfile.flush()
                time.sleep(0.02)
        except OSError:
            pass
        finally:
            self.close_connection = True
            count(-1)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


def helpers() -> None:
    if os.fork() == 0:
        signal.pause()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.pause()
        os._exit(0)
    os.wait()


if __name__ == "__main__":
    if sys.argv[3:] != ["plain"]:
        helpers()
    time.sleep(0.5)  # long enough for a signal before it is ready
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
