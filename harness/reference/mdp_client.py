"""The Majordomo client: one request and one reply over a DEALER socket; a policy decides when the socket is opened
and closed.

``Dealers`` is that policy: it hands out a dealer for one exchange and takes it back. The default policy opens a socket
per exchange and always closes it, which is correct; defects and mitigations replace it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import zmq

from fake_broker import mdp
from harness.reference.sockets import CheckFailed, Sockets

DIALECT = mdp.DIALECTS["plantd"]


@dataclass(frozen=True, slots=True)
class Question:
    """What a health check asks: a service of the broker, with a body."""

    component: str
    service: str
    body: tuple[bytes, ...] = ()


Exchange = Callable[[Question, float], tuple[bytes, ...]]
"""(question, timeout in seconds) → the body of the final reply. Raises CheckFailed."""


def milliseconds(timeout: float) -> int:
    """Seconds as poll wants them: rounded up, so that a short wait does not become zero."""
    return max(1, math.ceil(timeout * 1000))


class Dealer:
    """One DEALER that one thread uses at a time."""

    def __init__(self, sockets: Sockets, socket: zmq.Socket[bytes]) -> None:
        self.sockets = sockets
        self.socket = socket
        self.context: zmq.Context[zmq.Socket[bytes]] | None = None

    def ask(self, question: Question, timeout: float) -> tuple[bytes, ...]:
        """Send, wait, receive. Raises CheckFailed without a reply, for a full send queue and for a malformed reply."""
        self._send(mdp.encode_client_request(DIALECT, question.service, question.body))
        while True:
            if not self.socket.poll(milliseconds(timeout)):
                raise CheckFailed(f"{question.service}: no reply within {timeout:g} s", timeout=True)
            reply = read(self.socket.recv_multipart(zmq.DONTWAIT))
            if reply.final:
                return reply.body

    def _send(self, frames: Sequence[bytes]) -> None:
        try:
            self.socket.send_multipart(frames, zmq.DONTWAIT)
        except zmq.Again:
            raise CheckFailed("the send queue is full: no broker accepts messages", timeout=True) from None

    def close(self) -> None:
        """Close the socket, and the context when it is the dealer's own."""
        self.sockets.close(self.socket)
        if self.context is not None:
            self.sockets.end_context(self.context)


def read(frames: Sequence[bytes]) -> mdp.ClientReply:
    """Decode a reply. Raises CheckFailed when it is not Majordomo."""
    try:
        return mdp.decode_client_reply(DIALECT, frames)
    except mdp.ProtocolError as error:
        raise CheckFailed(f"malformed reply: {error}") from None


class Dealers(Protocol):
    """Decides when sockets are opened and closed. ``per_check``: a dealer serves one exchange only."""

    per_check: bool

    def acquire(self, timeout: float) -> Dealer:
        """A dealer to use. Raises CheckFailed when none becomes free in time."""

    def release(self, dealer: Dealer, ok: bool) -> None:
        """The exchange on ``dealer`` is over; ``ok``: with an answer."""

    def close(self) -> None:
        """Close all dealers at the end of the service."""


class DealerPerCheck:
    """A socket per exchange, closed at its end."""

    per_check = True

    def __init__(self, sockets: Sockets, endpoint: str) -> None:
        self.sockets = sockets
        self.endpoint = endpoint

    def acquire(self, timeout: float) -> Dealer:
        """A new dealer."""
        return Dealer(self.sockets, self.sockets.open(self.endpoint))

    def release(self, dealer: Dealer, ok: bool) -> None:
        """Close it."""
        dealer.close()

    def close(self) -> None:
        """Nothing to close: each exchange closes its own socket."""


class DealerExchange:
    """Asks over whatever dealer the policy gives."""

    def __init__(self, dealers: Dealers) -> None:
        self.dealers = dealers

    def __call__(self, question: Question, timeout: float) -> tuple[bytes, ...]:
        """See ``Exchange``."""
        dealer = self.dealers.acquire(timeout)
        ok = False
        try:
            answer = dealer.ask(question, timeout)
            ok = True
            return answer
        finally:
            self.dealers.release(dealer, ok)
