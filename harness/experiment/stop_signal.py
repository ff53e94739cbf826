"""Ends a trial early: at the user's interrupt, or at the end of ``--max-time``, whichever is first."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

POLL = 0.05  # seconds between two checks of the clock
GRACE = 1.0  # seconds that a cycle in progress may take beyond the limit: stopping and the report need the rest of 5 s


class StopSignal:
    """Reads like the ``Event`` of the user's interrupt, and is also set once the time is up.

    limit: the time of ``clock`` at which whatever is in progress is cancelled; None for no limit.
    """

    def __init__(self, user: Event, clock: Callable[[], float], limit: float | None) -> None:
        self.user = user
        self._clock = clock
        self._limit = limit

    @property
    def time_up(self) -> bool:
        """True once the limit has passed and the user has not interrupted the run."""
        return self._limit is not None and self._clock() >= self._limit and not self.user.is_set()

    def is_set(self) -> bool:
        """True once the user has interrupted the run or the time is up."""
        return self.user.is_set() or self.time_up

    def wait(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds; True when it is set."""
        deadline = time.monotonic() + timeout
        # Short waits, because the user's event does not wake up when the time is up.
        while not self.is_set() and (left := deadline - time.monotonic()) > 0:
            self.user.wait(min(POLL, left))
        return self.is_set()
