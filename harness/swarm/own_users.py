"""Runs the user's own locustfile as the load: spawning and stopping its users makes a cycle.

Each user counts as one connection, and each of its successful requests as one event. The share of failed requests
makes the same share of users count as failed, so that a load that never reached the service cannot pass.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent
import locust
from locust.env import Environment
from locust.util.load_locustfile import load_locustfile

from harness.core.cycle import CycleSpec, Ledger
from harness.core.errors import OptionError
from harness.core.note import Note, NoteKind
from harness.swarm.histogram import Histogram
from harness.swarm.patching import web_module
from harness.swarm.statistics import LIFE
from harness.swarm.tally import Outcome

POLL = 0.05  # seconds between two calls of cancelled()
PROGRESS_INTERVAL = 0.1  # seconds between two reports of progress
MAX_CAUSE = 2000  # characters of the first cause, which is kept in full
MAX_CAUSES = 20  # kinds of failure counted separately
CAUSE_LENGTH = 80  # characters by which failures are of the same kind
MAX_NAME = 200  # characters of the name of a request
NOTHING = "no request finished and was reported to events.request; use a longer --dwell, or fire that event"

Cancelled = Callable[[], bool]
Progress = Callable[[Outcome], None]


class OwnUsers:
    """Locust's environment for one locustfile. Raises ConfigError when it has no users or cannot be run."""

    def __init__(self, path: Path, host: str) -> None:
        # Tasks use full paths, so the path of --url must not be prepended.
        parts = urlsplit(host)
        origin = f"{parts.scheme}://{parts.netloc}"
        web_module()  # a locustfile may derive a class from one of it
        self.environment = Environment(user_classes=_users(path), events=locust.events, host=origin)
        self.runner: Any = self.environment.create_local_runner()
        events: Any = self.environment.events
        events.init.fire(environment=self.environment, runner=self.runner, web_ui=None)
        events.request.add_listener(self._request)
        events.user_error.add_listener(self._user_error)
        self._clear()

    def _clear(self) -> None:
        self._requests = self._failures = self._bytes = 0
        self._first_failure = ""
        self._causes: Counter[str] = Counter()
        self._by_path: Counter[str] = Counter()
        self._times = Histogram()

    def _request(
        self,
        name: str = "",
        response_time: float | None = None,
        response_length: int | None = None,
        exception: BaseException | None = None,
        request_type: str = "",
        context: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if request_type == LIFE and exception is None and (context or {}).get("events"):
            return  # this stream was counted when its first event came
        self._requests += 1
        self._bytes += int(response_length or 0)
        self._by_path[str(name)[:MAX_NAME]] += 1
        if exception is not None:
            self._failures += 1
            text = f"{type(exception).__name__}: {exception}"
            self._first_failure = self._first_failure or text[:MAX_CAUSE]
            cause = text[:CAUSE_LENGTH]
            self._causes[cause if cause in self._causes or len(self._causes) < MAX_CAUSES else "others"] += 1
        elif response_time is not None:
            self._times.add(response_time / 1000.0)

    def _user_error(self, exception: BaseException | None = None, **_: Any) -> None:
        """Count a task that raises as a failed request, because it makes none."""
        self._request(name="(task)", exception=exception or RuntimeError("a task failed"))

    def cycle(self, spec: CycleSpec, cancelled: Cancelled, progress: Progress) -> Outcome:
        """Run waves of ``concurrency`` users until ``connections`` users have finished. A wave lasts until each user
        has had ``events`` requests on average (0: no such end), and ``dwell`` seconds at most."""
        self._clear()
        started = gevent.get_hub().loop.now()
        opened = 0
        if spec.connections == 0:
            self._wait(spec.dwell, cancelled, lambda: False, lambda: None)
        while opened < spec.connections and not cancelled():
            count = min(spec.concurrency, spec.connections - opened)
            opened += count
            self._wave(spec, count, cancelled, partial(self._show, progress, opened, started))
        return self._outcome(opened, started)

    def _wave(self, spec: CycleSpec, count: int, cancelled: Cancelled, show: Callable[[], None]) -> None:
        # An average over the wave: Locust does not report which user made a request.
        enough = self._requests + spec.events * count

        def served() -> bool:
            return spec.events > 0 and self._requests >= enough

        self.runner.start(count, spawn_rate=count)
        try:
            self._wait(spec.dwell, cancelled, served, show)
        finally:
            # Locust leaves the sessions of stopped users to the garbage collector; until then they stay connected.
            clients = [getattr(user, "client", None) for user in self._users_now()]
            self.runner.stop()
            for client in clients:
                if callable(close := getattr(client, "close", None)):
                    close()
            del clients
            gc.collect()

    def _users_now(self) -> list[Any]:
        return [greenlet.args[0] for greenlet in self.runner.user_greenlets if greenlet.args]

    def _show(self, progress: Progress, opened: int, started: float) -> None:
        progress(self._outcome(opened, started, open_now=self.runner.user_count))

    def _wait(
        self, seconds: float, cancelled: Cancelled, enough: Callable[[], bool], show: Callable[[], None]
    ) -> None:
        loop = gevent.get_hub().loop
        ends = loop.now() + seconds
        shown = loop.now()
        while not cancelled() and not enough() and (left := ends - loop.now()) > 0:
            gevent.sleep(min(POLL, left))
            # The loop's time is that of its last poll, which is old after a long callback.
            loop.update_now()
            if loop.now() - shown >= PROGRESS_INTERVAL:
                shown = loop.now()
                show()

    def _outcome(self, opened: int, started: float, *, open_now: int = 0) -> Outcome:
        loop = gevent.get_hub().loop
        loop.update_now()
        closed = max(0, opened - open_now)
        # A user has no outcome of its own in Locust, so its requests decide which share of the users failed.
        failed = round(closed * self._failures / self._requests) if self._requests else 0
        notes = [Note(NoteKind.REQUESTS, f"{self._requests} requests of the locustfile's users")]
        if self._failures:
            text = f"{self._failures} of {self._requests} requests failed"
            notes.append(Note(NoteKind.REQUESTS, text))
        causes = self._causes
        if closed and not self._requests and not open_now:
            failed, causes = closed, Counter({NOTHING: closed})
        ledger = Ledger(
            opened=opened,
            completed=closed - failed,
            failed=failed,
            open_now=opened - closed,
            events=self._requests - self._failures,
            bytes=self._bytes,
            seconds=loop.now() - started,
            stream_seconds=0.0,
            first_event_p50=self._times.quantile(0.5),
            first_event_p95=self._times.quantile(0.95),
            first_event_p99=self._times.quantile(0.99),
            causes=_distribute(causes, failed),
            first_failure=self._first_failure,
            by_path=dict(self._by_path.most_common(50)),
            answered=closed - failed,
            notes=tuple(notes),
        )
        return Outcome(ledger, self._times)


def _distribute(causes: Counter[str], failed: int) -> dict[str, int]:
    """Distribute the failed users over the causes of the failed requests, without rounding any away."""
    total, left, found = sum(causes.values()), failed, {}
    for cause, count in causes.most_common():
        # Rounded up, most frequent cause first, until all failed users have one.
        part = min(left, -(-failed * count // total))
        if part:
            found[cause] = part
            left -= part
    return found


def _users(path: Path) -> list[type[locust.User]]:
    sys.path.append(str(Path.cwd()))  # the user's own modules come after everything that is installed
    try:
        classes, _ = load_locustfile(str(path))
    except (Exception, SystemExit) as error:
        # A locustfile may raise anything while it is imported, and scripts call sys.exit().
        raise OptionError(
            "locustfile", str(path), f"{type(error).__name__}: {error}; expected a locustfile"
        ) from None
    if not classes:
        raise OptionError("locustfile", str(path), "no user class in it; expected a subclass of locust.User")
    return list(classes.values())
