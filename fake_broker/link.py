"""A connection through the proxy: its two directions, and the rules by which bytes pass."""

from __future__ import annotations

import socket
from dataclasses import dataclass

RST, FIN, HANG, HALF_OPEN = "rst", "fin", "hang", "half-open"


@dataclass(frozen=True, slots=True)
class Policy:
    """How the proxy passes bytes. pause: seconds before the first byte of a new connection is passed. slice: bytes sent
    at once, 0 for as many as fit; gap: seconds between slices. limit: bytes per connection, in both directions
    together, after which it ends as ``limit_end`` says; 0 for none. max_peers: connections at once, -1 for any number.
    shut: the proxy does not listen."""

    pause: float = 0.0
    slice: int = 0
    gap: float = 0.0
    limit: int = 0
    limit_end: str = RST
    max_peers: int = -1
    shut: bool = False


@dataclass(slots=True)
class Tally:
    """The counts of one fault of the transport. seen: connections that it applied to. fired: its effects: connections
    ended or paused, slices written, times that the port was closed."""

    seen: int = 0
    fired: int = 0


class Direction:
    """One direction of a connection: from one socket to the other. buffer: bytes read and not passed yet. next_at: when
    the next ones may be passed. ended: the sender has sent its FIN. shut: the FIN was passed on."""

    __slots__ = ("buffer", "ended", "into", "next_at", "out_of", "shut")

    def __init__(self, out_of: socket.socket, into: socket.socket, start: float) -> None:
        self.out_of = out_of
        self.into = into
        self.buffer = bytearray()
        self.next_at = start
        self.ended = False
        self.shut = False


class PeerLink:
    """A peer's connection (front) and the proxy's own connection to the ROUTER (back). passed: bytes in both
    directions. silenced: no more bytes are read or passed."""

    __slots__ = ("back", "directions", "front", "passed", "silenced")

    def __init__(self, front: socket.socket, back: socket.socket, start: float) -> None:
        self.front = front
        self.back = back
        self.directions = (Direction(front, back, start), Direction(back, front, start))
        self.passed = 0
        self.silenced = False
