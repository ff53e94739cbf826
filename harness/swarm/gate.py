"""Locust users that live for the whole run: a cycle opens the gate, and their pool drives its streams.

One user per process: it is a greenlet, the streams of a cycle are callbacks. Nothing is spawned per cycle.
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


class Gate:
    """One cycle at a time: who controls puts it in, the user takes it out."""

    def __init__(self) -> None:
        self.pool: Pool | None = None
        self._orders: gevent.queue.Queue[tuple[CycleSpec, Cancelled, Progress, gevent.event.AsyncResult]] = (
            gevent.queue.Queue()
        )

    def prepare(self, setup: SwarmSetup, statistics: Statistics | None) -> None:
        """Make the pool. Raises ConfigError for a service that cannot be reached in this way."""
        self.pool = Pool(setup, rng=random.Random(setup.load.seed), statistics=statistics)
        route = self.pool.router.route(self.pool.endpoint)
        check_local(setup.load.source_addresses)
        check_reach(setup.load.source_addresses, self.pool.endpoint, route)

    def run(self, spec: CycleSpec, cancelled: Cancelled, progress: Progress) -> Outcome:
        """Hand a cycle to the user and wait for what it counted; its errors are raised here."""
        result: gevent.event.AsyncResult = gevent.event.AsyncResult()
        self._orders.put((spec, cancelled, progress, result))
        outcome: Outcome = result.get()
        return outcome

    def serve(self) -> None:
        """The user's part: one cycle, once there is one."""
        spec, cancelled, progress, result = self._orders.get()
        try:
            assert self.pool is not None
            result.set(self.pool.cycle(spec, cancelled=cancelled, progress=progress))
        except Exception as error:
            result.set_exception(error)


def gated_user(gate: Gate) -> type[User]:
    """A Locust user class bound to a gate."""

    class GatedUser(User):
        """Waits at the gate; drives one cycle when it opens."""

        host = "gate"
        wait_time = constant(0)

        @task
        def cycle(self) -> None:
            gate.serve()

    return GatedUser
