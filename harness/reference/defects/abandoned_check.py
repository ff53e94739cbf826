"""At the deadline the caller continues, but the thread of the check stays in its receive."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from harness.reference.blueprint import Blueprint
from harness.reference.runner import Outcome, Work

SUMMARY = "a thread per check; after the deadline the tick continues, and the thread stays blocked in receive"
SEEN = "threads grow while the broker is silent, and fall once the receives time out"


class ThreadPerCheck:
    """Starts a new thread for every check, like a goroutine, and never stops it."""

    def __init__(self, count: int, panic: Callable[[BaseException], None]) -> None:
        self._panic = panic
        self._numbers = itertools.count(1)

    async def run(
        self, checks: Sequence[Work], *, timeout: float, deadline: float | None
    ) -> list[Outcome | None]:
        """See ``Runner``: the deadline bounds the wait for the checks, not the checks."""
        futures = [asyncio.wrap_future(self._start(check, timeout)) for check in checks]
        await asyncio.wait(futures, timeout=deadline)
        return [future.result() if future.done() else None for future in futures]

    def _start(self, check: Work, timeout: float) -> Future[Outcome | None]:
        future: Future[Outcome | None] = Future()
        # Marked as running from the start: a caller that disconnects can then not cancel it.
        future.set_running_or_notify_cancel()

        def body() -> None:
            try:
                future.set_result(check(timeout))
            except BaseException as error:
                self._panic(error)

        try:
            threading.Thread(target=body, name=f"check-{next(self._numbers)}", daemon=True).start()
        except RuntimeError as error:
            self._panic(error)
        return future

    def close(self) -> None:
        """The threads are not recorded, so there is nothing to stop."""


def install(blueprint: Blueprint) -> None:
    """Replace the threads, and give ticks a deadline to pass."""
    blueprint.runner = ThreadPerCheck
    blueprint.deadlines = True
