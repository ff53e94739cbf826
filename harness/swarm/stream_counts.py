"""How many streams are open, were answered and were cut short, over all workers of a Locust run."""

from __future__ import annotations

from typing import Any

from locust import events

from harness.swarm.statistics import STATISTICS
from harness.swarm.target_feed import StreamTotals

KEY = "harness-streams"


def of_this_process(environment: Any) -> StreamTotals:
    """Of this process's own users."""
    statistics = STATISTICS.get(environment)
    if statistics is None:
        return StreamTotals()
    return StreamTotals(statistics.open_now(), statistics.answered, statistics.cut)


class StreamCounts:
    """The counts of this process and of the workers that report to it."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._workers: dict[str, tuple[int, int, int]] = {}
        environment.events.worker_report.add_listener(self._report)

    def _report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        found = data.get(KEY)
        # A worker is another process, maybe of another version: its report is checked like any input.
        if isinstance(found, list | tuple) and len(found) == 3 and all(isinstance(n, int) for n in found):
            self._workers[client_id] = tuple(found)

    def now(self) -> StreamTotals:
        """The sums."""
        own = of_this_process(self._environment)
        every = [(own.open, own.answered, own.cut), *self._workers.values()]
        return StreamTotals(*(sum(column) for column in zip(*every, strict=True)))


@events.init.add_listener  # type: ignore[untyped-decorator]
def _attach(environment: Any, **_: Any) -> None:
    def report(data: dict[str, Any], **_: Any) -> None:
        own = of_this_process(environment)
        data[KEY] = (own.open, own.answered, own.cut)

    environment.events.report_to_master.add_listener(report)
