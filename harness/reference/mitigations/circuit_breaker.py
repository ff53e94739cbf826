"""After enough failures in a row, stop asking for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from harness.reference.blueprint import Blueprint
from harness.reference.logs import log

SUMMARY = "a circuit breaker: 5 failures in a row open it; after 30 s one check at a time may try again"


class CircuitBreaker:
    """closed: every check is made. open: none is made for ``recovery`` seconds. half-open: one check, whose
    success closes it and whose failure opens it again.

    strict: a check that misses its deadline is a failure, and the breaker begins half-open: the broker must answer
    once before all checks are made. Otherwise only what the client reports counts, which is too late when the
    client's own timeout is 30 s.
    """

    def __init__(
        self,
        failures: int,
        recovery: float,
        *,
        strict: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failures = failures
        self.recovery = recovery
        self.strict = strict
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = failures if strict else 0
        self._opened: float | None = clock() - recovery if strict else None
        self._tried: float | None = None  # when the half-open state's one check began

    @property
    def state(self) -> str:
        """closed, open or half-open."""
        with self._lock:
            if self._opened is None:
                return "closed"
            return "open" if self._clock() - self._opened < self.recovery else "half-open"

    def admit(self) -> bool:
        """Whether one more check may begin."""
        with self._lock:
            if self._opened is None:
                return True
            now = self._clock()
            # A trial check whose end is never reported (its client disconnected) must not keep the circuit open for
            # ever.
            trying = self._tried is not None and now - self._tried < self.recovery
            if now - self._opened < self.recovery or trying:
                return False
            self._tried = now
            return True

    def record(self, ok: bool) -> None:
        """Called when an admitted check has ended."""
        if ok:
            with self._lock:
                was_open = self._opened is not None
                self._failed, self._opened, self._tried = 0, None, None
            if was_open:
                log("circuit closed")
        else:
            self._fail()

    def missed(self) -> None:
        """Called when an admitted check missed its deadline."""
        if self.strict:
            self._fail()

    def _fail(self) -> None:
        with self._lock:
            self._failed += 1
            # Late failures of checks that began earlier must not postpone the next trial check again and again.
            due = self._opened is None or self._clock() - self._opened >= self.recovery
            opens = self._failed >= self.failures and due
            if opens:
                self._opened, self._tried = self._clock(), None
        if opens:
            log("circuit opened", logging.WARNING, recovery=self.recovery)


def install(blueprint: Blueprint) -> None:
    """Ask the breaker before every check."""
    settings = blueprint.settings
    blueprint.admission = CircuitBreaker(settings.breaker_failures, settings.breaker_recovery)
