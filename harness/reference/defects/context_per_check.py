"""A whole ZeroMQ context per check."""

from __future__ import annotations

from harness.reference.blueprint import Blueprint
from harness.reference.mdp_client import Dealer, DealerPerCheck

SUMMARY = "a ZeroMQ context, with its socket, per check; neither is ever closed"
SEEN = "fds: +4 eventfd, +2 eventpoll and +1 tcp-out per check; threads: +2 per check"


class ContextPerCheck(DealerPerCheck):
    """Every exchange starts its own I/O thread and reaper thread."""

    def acquire(self, timeout: float) -> Dealer:
        """A dealer in a context of its own."""
        context = self.sockets.new_context()
        dealer = Dealer(self.sockets, self.sockets.open(self.endpoint, context))
        dealer.context = context
        return dealer

    def release(self, dealer: Dealer, ok: bool) -> None:
        """Close neither the socket nor the context."""


def install(blueprint: Blueprint) -> None:
    """Replace the policy for opening and closing sockets."""
    blueprint.dealers = ContextPerCheck
