"""A connection through the proxy: its two directions, and the rules by which bytes pass."""

from __future__ import annotations

import socket
from dataclasses import dataclass

RST, FIN, HANG, HALF_OPEN = "rst", "fin", "hang", "half-open"


@dataclass(frozen=True, slots=True)
class Policy:
    """How bytes pass. pause: seconds before the first byte of a new connection does. slice: bytes sent at once, 0
    for as many as fit; gap: seconds between slices. limit: bytes per connection, both ways together, until it
    ends as ``limit_end`` says; 0 for none. max_peers: connections at once, -1 for any number. shut: nobody
    listens."""

    pause: float = 0.0
    slice: int = 0
    gap: float = 0.0
    limit: int = 0
    limit_end: str = RST
    max_peers: int = -1
    shut: bool = False


@dataclass(slots=True)
class Tally:
    """What one fault of the transport saw and did. seen: connections it applied to. fired: what it did to them: ended,
    paused, slices written, times the port was shut."""

    seen: int = 0
    fired: int = 0


class Way:
    """One direction of a connection: from one socket to the other."""

    __slots__ = ("buffer", "ended", "into", "next", "out_of", "shut")

    def __init__(self, out_of: socket.socket, into: socket.socket, start: float) -> None:
        self.out_of = out_of
        self.into = into
        self.buffer = bytearray()
        self.next = start
        self.ended = False
        self.shut = False


class Link:
    """A peer's connection and ours to the ROUTER behind it. mute: bytes no longer pass, nothing is read."""

    __slots__ = ("back", "front", "mute", "passed", "ways")

    def __init__(self, front: socket.socket, back: socket.socket, start: float) -> None:
        self.front = front
        self.back = back
        self.ways = (Way(front, back, start), Way(back, front, start))
        self.passed = 0
        self.mute = False
