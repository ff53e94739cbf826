"""A fixed number of sockets, each lent to one check at a time."""

from __future__ import annotations

import queue

import zmq

from harness.reference.blueprint import Blueprint
from harness.reference.mdp_client import Dealer
from harness.reference.sockets import CheckFailed, Sockets

SUMMARY = "a pool of sockets, opened at the start, each lent to one check at a time"


class PooledDealers:
    """``size`` sockets. One whose reply did not come is replaced: Majordomo replies carry no request id, so a late
    reply would be taken for the answer to the next question."""

    per_check = False

    def __init__(self, sockets: Sockets, endpoint: str, size: int) -> None:
        self.sockets = sockets
        self.endpoint = endpoint
        self._free: queue.LifoQueue[Dealer | None] = queue.LifoQueue()
        for _ in range(size):
            self._free.put(Dealer(sockets, sockets.open(endpoint)))
        self._size = size

    def acquire(self, timeout: float) -> Dealer:
        """Take a socket. Raises CheckFailed when all are lent for that long."""
        try:
            dealer = self._free.get(timeout=timeout)
        except queue.Empty:
            raise CheckFailed(
                f"all {self._size} sockets were in use for {timeout:g} s", timeout=True
            ) from None
        if dealer is None:
            try:
                dealer = self._opened()
            except CheckFailed:
                self._free.put(None)
                raise
        return dealer

    def release(self, dealer: Dealer, ok: bool) -> None:
        """Return the socket; a dealer whose exchange failed is closed and replaced."""
        fresh: Dealer | None = dealer
        if not ok:
            dealer.close()
            try:
                fresh = self._opened()
            except CheckFailed:
                fresh = None  # the next borrower tries again
        self._free.put(fresh)

    def _opened(self) -> Dealer:
        try:
            return Dealer(self.sockets, self.sockets.open(self.endpoint))
        except zmq.ZMQError as error:
            raise CheckFailed(f"cannot open a socket: {error}") from None

    def close(self) -> None:
        """Close the sockets that are not in use."""
        while True:
            try:
                dealer = self._free.get_nowait()
            except queue.Empty:
                return
            if dealer is not None:
                dealer.close()


def install(blueprint: Blueprint) -> None:
    """Replace the policy for opening and closing sockets."""
    size = blueprint.settings.pool_size
    blueprint.dealers = lambda sockets, endpoint: PooledDealers(sockets, endpoint, size)
