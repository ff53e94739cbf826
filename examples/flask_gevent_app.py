"""The lines of a log as they come, on Flask and gevent.

With LEAKY=1 the log that was opened for a client stays open after it has left: one descriptor per connection.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from typing import IO  # noqa: E402

import gevent  # noqa: E402
from flask import Flask, Response  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402

LEAKY = os.environ.get("LEAKY") == "1"
app = Flask(__name__)
log = tempfile.NamedTemporaryFile("w", suffix=".log")  # noqa: SIM115 - as long as the service
readers: set[IO[str]] = set()


def work() -> None:
    """The service's own work, which it logs."""
    number = 0
    while True:
        gevent.sleep(0.05)
        number += 1
        log.write(f"job {number} done\n")
        log.flush()


def follow() -> Iterator[str]:
    """One client's events: the lines that are logged from now on."""
    reader = open(log.name)  # noqa: PTH123, SIM115 - closed below
    reader.seek(0, os.SEEK_END)
    readers.add(reader)
    try:
        yield "data: hello\n\n"
        while True:
            for line in reader:
                yield f"data: {line.rstrip()}\n\n"
            gevent.sleep(0.05)
    finally:
        if not LEAKY:
            readers.discard(reader)
            reader.close()


@app.get("/events")
def events() -> Response:
    """The stream."""
    return Response(follow(), mimetype="text/event-stream")


if __name__ == "__main__":
    gevent.spawn(work)
    WSGIServer(("127.0.0.1", int(os.environ["PORT"])), app, log=None).serve_forever()
