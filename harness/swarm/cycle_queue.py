"""Hands cycles to the Locust user that runs them. The user lives for the whole run, so that no cycle spawns anything.

Each process has one user, a greenlet. The streams of a cycle are callbacks of its pool.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import gevent.event
import gevent.queue
from locust import User, constant, task

from harness.core.cycle import CycleSpec
from harness.http.source_addresses import check_local, check_reach
from harness.swarm.pool import Pool
from harness.swarm.setup import SwarmSetup
from harness.swarm.statistics import Statistics
from harness.swarm.tally import Outcome

Cancelled = Callable[[], bool]
Progress = Callable[[Outcome], None]


class CycleQueue:
    """One cycle at a time: the control connection puts it in, the user takes it out and runs it."""

    def __init__(self) -> None:
        self.pool: Pool | None = None
        self._orders: gevent.queue.Queue[tuple[CycleSpec, Cancelled, Progress, gevent.event.AsyncResult]] = (
            gevent.queue.Queue()
        )

    def prepare(self, setup: SwarmSetup, statistics: Statistics | None) -> None:
        """Make the pool. Raises ConfigError when the service cannot be reached from the source addresses."""
        self.pool = Pool(setup, rng=random.Random(setup.load.seed), statistics=statistics)
        route = self.pool.router.route(self.pool.endpoint)
        check_local(setup.load.source_addresses)
        check_reach(setup.load.source_addresses, self.pool.endpoint, route)

    def run(self, spec: CycleSpec, cancelled: Cancelled, progress: Progress) -> Outcome:
        """Hand a cycle to the user and wait for its outcome. Raises what the cycle raises."""
        result: gevent.event.AsyncResult = gevent.event.AsyncResult()
        self._orders.put((spec, cancelled, progress, result))
        outcome: Outcome = result.get()
        return outcome

    def serve(self) -> None:
        """Called by the user: wait for a cycle and run it."""
        spec, cancelled, progress, result = self._orders.get()
        try:
            assert self.pool is not None
            result.set(self.pool.cycle(spec, cancelled=cancelled, progress=progress))
        # ``run`` waits in another greenlet. An exception that is raised here would only be logged by Locust.
        except Exception as error:
            result.set_exception(error)


def cycle_user(cycles: CycleQueue) -> type[User]:
    """A Locust user class that runs the cycles of this queue."""

    class CycleUser(User):
        """Runs one cycle after another, each as soon as it is queued."""

        host = "cycles"  # Locust requires a host; the pool has the real one
        wait_time = constant(0)

        @task
        def cycle(self) -> None:
            cycles.serve()

    return CycleUser
