"""The code that opens a socket for a check closes it after that check, also after an error."""

from __future__ import annotations

from harness.reference.blueprint import Blueprint
from harness.reference.mdp_client import Dealer, Dealers

SUMMARY = "sockets are opened for a check and closed after it, with linger 0"
ORDER = 1


class ClosedAfterCheck:
    """Closes dealers that serve one check only. One that many share is left alone: closing it after each check
    would only destroy it more often while others use it."""

    def __init__(self, inner: Dealers) -> None:
        self.inner = inner
        self.per_check = inner.per_check

    def acquire(self, timeout: float) -> Dealer:
        """As the wrapped dealers do."""
        return self.inner.acquire(timeout)

    def release(self, dealer: Dealer, ok: bool) -> None:
        """As the wrapped dealers do, and then close it; closing twice has no effect."""
        self.inner.release(dealer, ok)
        if self.per_check:
            dealer.close()

    def close(self) -> None:
        """Close the wrapped dealers."""
        self.inner.close()


def install(blueprint: Blueprint) -> None:
    """Wrap the dealers."""
    blueprint.around_dealers.append(ClosedAfterCheck)
