"""The code that opens a socket for a check closes it after that check, also after an error."""

from __future__ import annotations

from harness.reference.blueprint import Blueprint
from harness.reference.mdp_client import Link, Links

SUMMARY = "sockets are opened for a check and closed after it, with linger 0"
ORDER = 1


class ClosedAfterCheck:
    """Closes links that serve one check only. A link that many share is left alone: closing it after each check would
    only destroy it more often while others use it."""

    def __init__(self, inner: Links) -> None:
        self.inner = inner
        self.per_check = inner.per_check

    def acquire(self, timeout: float) -> Link:
        """As the wrapped links do."""
        return self.inner.acquire(timeout)

    def release(self, link: Link, ok: bool) -> None:
        """As the wrapped links do, and then close it; closing twice has no effect."""
        self.inner.release(link, ok)
        if self.per_check:
            link.close()

    def close(self) -> None:
        """Close the wrapped links."""
        self.inner.close()


def install(blueprint: Blueprint) -> None:
    """Wrap the links."""
    blueprint.around_links.append(ClosedAfterCheck)
