"""The socket is closed on the success path, which tests take, and not on the error path."""

from __future__ import annotations

from harness.reference.blueprint import Blueprint
from harness.reference.mdp_client import Dealer, DealerPerCheck

SUMMARY = "the socket of a check is closed, except when the check fails"
SEEN = "fds: +1 eventfd and +1 tcp-out per broker timeout; nothing while the broker answers"


class ClosedOnSuccess(DealerPerCheck):
    """An early return on error, before the line that closes."""

    def release(self, dealer: Dealer, ok: bool) -> None:
        """Close the socket only after a successful exchange."""
        if ok:
            dealer.close()


def install(blueprint: Blueprint) -> None:
    """Replace the policy for opening and closing sockets."""
    blueprint.dealers = ClosedOnSuccess
