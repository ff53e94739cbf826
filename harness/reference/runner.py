"""Where the blocking checks run: a fixed number of threads, made once."""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

Work = Callable[[float], "Outcome"]
"""A check: (timeout in seconds) → outcome."""


class Outcome(Protocol):
    """The result of a check; see ``harness.reference.health``."""

    @property
    def healthy(self) -> bool:
        """Whether the component is healthy."""


class Runner(Protocol):
    """Runs the checks of one tick side by side."""

    async def run(
        self, checks: Sequence[Work], *, timeout: float, deadline: float | None
    ) -> list[Outcome | None]:
        """One outcome per check, in order; None for one that was not over by ``deadline``."""

    def close(self) -> None:
        """The service ends."""


class WorkerThreads:
    """``count`` threads that serve one queue. All are started at once, so that the number of threads does not depend
    on the load."""

    def __init__(self, count: int, panic: Callable[[BaseException], None]) -> None:
        self._panic = panic
        self._jobs: queue.SimpleQueue[tuple[Future[Outcome | None], Callable[[], Outcome | None]] | None]
        self._jobs = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._serve, name=f"check-{n}", daemon=True) for n in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, work = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:
                    self._panic(error)
            # References to a finished check must not keep its objects alive while this thread waits for the next one.
            del job, future, work

    def submit(self, work: Callable[[], Outcome | None]) -> Future[Outcome | None]:
        """Queue one piece of work."""
        future: Future[Outcome | None] = Future()
        self._jobs.put((future, work))
        return future

    async def run(
        self, checks: Sequence[Work], *, timeout: float, deadline: float | None
    ) -> list[Outcome | None]:
        """See ``Runner``. The deadline reaches into the receive: a check has only the time that is left of it when a
        thread takes it, so no thread runs past it."""
        expires = time.monotonic() + deadline if deadline is not None else None

        def bounded(check: Work) -> Outcome | None:
            left = timeout if expires is None else min(timeout, expires - time.monotonic())
            return check(left) if left > 0 else None

        futures = [self.submit(functools.partial(bounded, check)) for check in checks]
        return list(await asyncio.gather(*(asyncio.wrap_future(future) for future in futures)))

    def close(self) -> None:
        """End the idle threads; busy ones are daemons and end with the process."""
        for _ in self._threads:
            self._jobs.put(None)
