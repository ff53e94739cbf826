"""The terms that hold for every client of bench/swarm.py: its request, its pace, and how its figures are read."""

from __future__ import annotations

import gc
from pathlib import Path

OPENING = 100  # streams being opened at once, as in the pool
PROBE = 20  # One stream in this many reads when its events were sent.
REQUEST = b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"


def stamp(data: bytes) -> float:
    """When the last event of some bytes was sent (CLOCK_MONOTONIC, seconds)."""
    at = data.rfind(b"data: ") + 6
    return float(data[at : data.index(b" ", at)])


def anonymous() -> int:
    """Bytes of anonymous memory that this process holds, after a full collection."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no RssAnon in /proc/self/status; expected Linux 4.5 or later")
