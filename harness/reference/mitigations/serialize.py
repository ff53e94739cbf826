"""One thread at a time on a socket."""

from __future__ import annotations

import threading
import time
import weakref

from harness.reference.blueprint import Blueprint
from harness.reference.mdp_client import Dealer, Dealers
from harness.reference.sockets import CheckFailed

SUMMARY = "a lock around each client: checks on the same socket take turns"
ORDER = 2  # wraps the dealers, so it comes after whatever replaces them

CLOSE_TIMEOUT = 0.5  # seconds


class TakeTurns:
    """A lock per dealer, held for the whole exchange, reconnect included."""

    def __init__(self, inner: Dealers) -> None:
        self.inner = inner
        self.per_check = inner.per_check
        self._locks: weakref.WeakKeyDictionary[Dealer, threading.Lock] = weakref.WeakKeyDictionary()
        self._guard = threading.Lock()

    def acquire(self, timeout: float) -> Dealer:
        """Acquire the lock. Raises CheckFailed when that does not succeed in time."""
        began = time.monotonic()
        dealer = self.inner.acquire(timeout)
        with self._guard:
            lock = self._locks.setdefault(dealer, threading.Lock())
        if not lock.acquire(timeout=max(0.0, timeout - (time.monotonic() - began))):
            if self.per_check:
                self.inner.release(dealer, False)
            raise CheckFailed(f"another check held the socket for {timeout:g} s", timeout=True)
        return dealer

    def release(self, dealer: Dealer, ok: bool) -> None:
        """Release the lock."""
        with self._guard:
            lock = self._locks[dealer]
        self.inner.release(dealer, ok)
        lock.release()

    def close(self) -> None:
        """Close the wrapped dealers, unless a thread still uses one inside libzmq: that one is left open, because
        closing a socket in use is what this lock must prevent."""
        expires = time.monotonic() + CLOSE_TIMEOUT
        with self._guard:
            locks = list(self._locks.values())
        if all(lock.acquire(timeout=max(0.0, expires - time.monotonic())) for lock in locks):
            self.inner.close()


def install(blueprint: Blueprint) -> None:
    """Wrap the dealers."""
    blueprint.around_dealers.append(TakeTurns)
