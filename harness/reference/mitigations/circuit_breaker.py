"""After enough failures in a row, stop asking for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from harness.reference.blueprint import Blueprint

SUMMARY = "a circuit breaker: 5 failures in a row open it; after 30 s checks pass again until one fails"


class CircuitBreaker:
    """closed: everything passes. open: nothing, for ``recovery`` seconds. half-open: as many checks as
    ``trials`` (None: all that come before the first of them fails); a success closes, a failure opens
    again.

    strict: a check that misses its deadline is a failure, and the breaker begins half-open: the broker
    has to prove itself. Otherwise only what the client reports counts, which is too late when the
    client's own patience is 30 s.
    """

    def __init__(
        self,
        failures: int,
        recovery: float,
        *,
        trials: int | None = None,
        strict: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failures = failures
        self.recovery = recovery
        self.trials = trials
        self.strict = strict
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = failures if strict else 0
        self._opened: float | None = clock() - recovery if strict else None
        self._tried = 0

    def admit(self) -> bool:
        """May one more check begin?"""
        with self._lock:
            if self._opened is None:
                return True
            if self._clock() - self._opened < self.recovery:
                return False
            if self.trials is not None and self._tried >= self.trials:
                return False
            self._tried += 1
            return True

    def record(self, ok: bool) -> None:
        """A check that was admitted is over."""
        if ok:
            with self._lock:
                self._failed, self._opened, self._tried = 0, None, 0
        else:
            self._fail()

    def missed(self) -> None:
        """A check that was admitted was not over by its deadline."""
        if self.strict:
            self._fail()

    def _fail(self) -> None:
        with self._lock:
            self._failed += 1
            # Late failures of checks that began before must not push the next trial away for ever.
            due = self._opened is None or self._clock() - self._opened >= self.recovery
            if self._failed >= self.failures and due:
                self._opened, self._tried = self._clock(), 0


def install(blueprint: Blueprint) -> None:
    """Put the breaker before every check."""
    settings = blueprint.settings
    blueprint.gate = CircuitBreaker(settings.breaker_failures, settings.breaker_recovery)
