"""One DEALER for every thread, without a lock; a thread whose receive times out replaces it while others use it.

A ZeroMQ socket may be used by one thread at a time (zmq_socket(3)). Here send, wait and receive of
many threads meet on one, and ``close`` frees it while others are still inside libzmq: it aborts on one
of its assertions, or the process gets SIGSEGV.
"""

from __future__ import annotations

import zmq

from fake_broker import mdp
from harness.reference.blueprint import Blueprint
from harness.reference.mdp_client import DIALECT, Dealer, Question, milliseconds, read
from harness.reference.sockets import CheckFailed, Sockets

SUMMARY = "one DEALER for all threads without a lock; a receive that times out reconnects it"
SEEN = "SIGABRT or SIGSEGV from libzmq as soon as checks time out side by side"
TRIES = 3


class SharedDealer(Dealer):
    """The one client. It works with whatever socket is current at each step."""

    def __init__(self, sockets: Sockets, endpoint: str) -> None:
        super().__init__(sockets, sockets.open(endpoint))
        self.endpoint = endpoint

    def ask(self, question: Question, timeout: float) -> tuple[bytes, ...]:
        """Send and receive; when nothing came, reconnect and try again, as the Majordomo client of the
        ZeroMQ guide does. Errors of the socket count as nothing. Takes ``TRIES`` times the timeout."""
        request = mdp.encode_client_request(DIALECT, question.service, question.body)
        for _ in range(TRIES):
            try:
                socket = self.socket
                socket.send_multipart(request, zmq.DONTWAIT)
                # A blocking receive stays inside libzmq, on this very socket, until its time is up.
                socket.rcvtimeo = milliseconds(timeout)
                return read(socket.recv_multipart()).body
            except zmq.ZMQError:
                self.reconnect()
        raise CheckFailed(f"{question.service}: no reply within {TRIES} × {timeout:g} s", timeout=True)

    def reconnect(self) -> None:
        """Close the socket, which other threads may be using, and open another."""
        self.sockets.close(self.socket)
        self.socket = self.sockets.open(self.endpoint)


class SharedDealers:
    """Gives the same dealer to every thread."""

    per_check = False

    def __init__(self, sockets: Sockets, endpoint: str) -> None:
        self.dealer = SharedDealer(sockets, endpoint)

    def acquire(self, timeout: float) -> Dealer:
        """The dealer."""
        return self.dealer

    def release(self, dealer: Dealer, ok: bool) -> None:
        """Keep the dealer open."""

    def close(self) -> None:
        """Close the dealer at the end of the process."""
        self.dealer.close()


def install(blueprint: Blueprint) -> None:
    """Replace the policy for opening and closing sockets."""
    blueprint.dealers = SharedDealers
