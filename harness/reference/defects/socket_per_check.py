"""A socket per check that is never closed."""

from __future__ import annotations

from harness.reference.blueprint import Blueprint
from harness.reference.mdp_client import Dealer, DealerPerCheck

SUMMARY = "a DEALER per check, never closed"
SEEN = "fds: +1 eventfd and +1 tcp-out per check; broker peers grow; EMFILE in the end"


class KeptDealers(DealerPerCheck):
    """Opens a socket per exchange; only the registry of open sockets still refers to it."""

    def release(self, dealer: Dealer, ok: bool) -> None:
        """The client goes out of scope. In Go, with CZMQ, that closes nothing."""


def install(blueprint: Blueprint) -> None:
    """Replace the policy for opening and closing sockets."""
    blueprint.dealers = KeptDealers
