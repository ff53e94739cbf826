"""Locust users that live for the whole run: a cycle opens the gate, the pool drives the streams.

The user is one greenlet; the streams of a cycle belong to its pool. What the streams report goes into
Locust's own statistics as entries of their own: connect, headers, first event, gap, life.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import gevent
import gevent.event
from locust import User, constant, task

from harness.core.cycle import CycleSpec, Ledger
from harness.swarm.pool import Pool
from harness.swarm.stream import Report


class Gate:
    """One cycle at a time: the control greenlet puts it in, a user takes it out."""

    def __init__(self) -> None:
        self.orders: gevent.queue.Queue[tuple[CycleSpec, Any, Any]] = gevent.queue.Queue()

    def run(self, spec: CycleSpec, cancelled: Any, progress: Any) -> Ledger:
        """Hand a cycle to the user and wait for its ledger; errors of the user are raised here."""
        result: gevent.event.AsyncResult[Ledger] = gevent.event.AsyncResult()
        self.orders.put((spec, (cancelled, progress), result))
        ledger: Ledger = result.get()
        return ledger


def gated_user(
    gate: Gate,
    url: str,
    *,
    stall_after: float,
    headers: Mapping[str, str],
    sources: Sequence[str],
    seed: int,
) -> type[User]:
    """A Locust user class bound to a gate."""

    class GatedUser(User):
        """Waits at the gate; drives one cycle when it opens."""

        host = url
        wait_time = constant(0)

        def on_start(self) -> None:
            self.pool = Pool(
                url,
                stall_after=stall_after,
                headers=headers,
                rng=random.Random(seed),
                sources=sources,
                on_report=lambda report: fire(self.environment, report),
            )

        @task
        def cycle(self) -> None:
            spec, (cancelled, progress), result = gate.orders.get()
            try:
                result.set(self.pool.cycle(spec, cancelled=cancelled, progress=progress))
            except Exception as error:
                result.set_exception(error)

    return GatedUser


def fire(environment: Any, report: Report) -> None:
    """One finished stream into Locust's statistics; times there are milliseconds."""
    path = report.order.path
    request = environment.events.request.fire
    error = StreamFailure(report.cause) if report.cause else None
    for name, value in (
        ("connect", report.connect),
        ("headers", report.headers),
        ("first event", report.first_event),
    ):
        if value is not None:
            request(
                request_type=name,
                name=path,
                response_time=value * 1000,
                response_length=0,
                exception=None,
                context={},
            )
    if report.longest_gap:
        request(
            request_type="gap",
            name=path,
            response_time=report.longest_gap * 1000,
            response_length=0,
            exception=None,
            context={},
        )
    request(
        request_type="life",
        name=path,
        response_time=report.life * 1000,
        response_length=report.bytes,
        exception=error,
        context={},
    )


class StreamFailure(Exception):
    """A stream that failed, by its cause: Locust groups failures by this text."""
