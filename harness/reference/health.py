"""The health checks: four components, asked concurrently at every tick of every client."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import os
import resource
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from harness.reference.counters import Counters
from harness.reference.logs import log
from harness.reference.mdp_client import Exchange, Question
from harness.reference.runner import Outcome, Runner
from harness.reference.settings import Settings
from harness.reference.sockets import CheckFailed

COMPONENTS = (
    Question("broker", "mmi.services", (b"",)),
    Question("state", "mmi.service", (b"state",)),
    Question("identity", "mmi.service", (b"identity",)),
    Question("app", "mmi.service", (b"app",)),
)
PAGE = resource.getpagesize()
FRESH_SHARE = 0.5  # of the interval, for which the results of a shared round are reused
LATENCY_WEIGHT = 0.2  # of the last answer in the mean latency
OVER_HTTP = b"over HTTP"  # the first frame of an answer that did not come from the broker


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one check of one component. latency_ms: until the answer, or until the check was given up."""

    component: str
    status: str  # healthy | unhealthy | degraded
    detail: str
    latency_ms: float
    at: float  # seconds since the epoch

    @property
    def healthy(self) -> bool:
        """Whether the component answered and is healthy."""
        return self.status == "healthy"


class History(Protocol):
    """The store of past results."""

    def append(self, result: Result, /) -> None:
        """Add a result."""

    def __len__(self) -> int: ...


class AdmissionPolicy(Protocol):
    """Decides whether a check is made."""

    def admit(self) -> bool:
        """Whether one more check may begin."""

    def record(self, ok: bool) -> None:
        """Called when an admitted check has ended."""

    def missed(self) -> None:
        """Called when an admitted check missed its deadline."""


class AdmitAll:
    """Admits every check."""

    state = "closed"

    def admit(self) -> bool:
        """Yes."""
        return True

    def record(self, ok: bool) -> None:
        """Nothing to learn."""

    def missed(self) -> None:
        """Nothing to learn."""


class HealthService:
    """Runs the checks, keeps their results and builds the payloads of the events.

    deadlines: a tick waits for its checks no longer than its kind's deadline. shared: a tick that falls into a
    running round of checks waits for that round, and the results of a round are reused for half of its kind's
    interval.
    """

    def __init__(
        self,
        settings: Settings,
        exchange: Exchange,
        runner: Runner,
        *,
        counters: Counters,
        history: History | None = None,
        admission: AdmissionPolicy | None = None,
        deadlines: bool = False,
        shared: bool = False,
    ) -> None:
        self.settings = settings
        self.exchange = exchange
        self.runner = runner
        self.counters = counters
        self.admission: AdmissionPolicy = admission or AdmitAll()
        self.deadlines = deadlines
        self.shared = shared
        self._rounds: dict[str, asyncio.Task[dict[str, Result]]] = {}
        self._round_ended: dict[str, float] = {}  # kind → when its last round was over
        self.history: History = history if history is not None else deque(maxlen=len(COMPONENTS))
        self.latest: dict[str, Result] = {}
        self._started = time.monotonic()
        self._latency = 0.0
        # Kept open: opening it at each tick would fail once the process has run out of descriptors.
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def deadline(self, kind: str) -> float | None:
        """How long a tick of that kind waits for its checks, in seconds; None: until they are over."""
        if not self.deadlines:
            return None
        return self.settings.dashboard_deadline if kind == "dashboard" else self.settings.status_deadline

    async def ask_all(self, kind: str) -> dict[str, Result]:
        """Run one tick's checks, all components at the same time; the latest result of each component."""
        if not self.shared:
            return await self._round(kind)
        under_way = self._rounds.get(kind)
        if under_way is None:
            interval = (
                self.settings.dashboard_interval if kind == "dashboard" else self.settings.status_interval
            )
            if time.monotonic() - self._round_ended.get(kind, -math.inf) < interval * FRESH_SHARE:
                return dict(self.latest)
            under_way = self._rounds[kind] = asyncio.create_task(self._shared_round(kind))
        # The disconnect of one client must not cancel the round for the others.
        return await asyncio.shield(under_way)

    async def _shared_round(self, kind: str) -> dict[str, Result]:
        try:
            return await self._round(kind)
        finally:
            self._round_ended[kind] = time.monotonic()
            del self._rounds[kind]

    async def _round(self, kind: str) -> dict[str, Result]:
        asked = [question for question in COMPONENTS if self._admitted(question)]
        outcomes: Sequence[Outcome | None] = ()
        if asked:
            outcomes = await self.runner.run(
                [functools.partial(self.check, question) for question in asked],
                timeout=self.settings.timeout,
                deadline=self.deadline(kind),
            )
        for question, outcome in zip(asked, outcomes, strict=True):
            if isinstance(outcome, Result):
                self._keep(outcome)
            else:
                self.admission.missed()
                self._keep(self._result(question, "degraded", "no answer by the deadline", 0.0))
        return dict(self.latest)

    def _admitted(self, question: Question) -> bool:
        if self.admission.admit():
            return True
        self.counters.add("checks.refused")
        self._keep(self._result(question, "degraded", "not asked: the circuit is open", 0.0))
        return False

    def check(self, question: Question, timeout: float) -> Result:
        """Ask one component; runs in a thread. An error other than CheckFailed is a bug or
        exhaustion, and is handled by the thread's runner."""
        self.counters.add("checks.started")
        began = time.monotonic()
        status, detail, ok = "unhealthy", "", False
        try:
            body = self.exchange(question, timeout)
            ok = True
            status, detail = judge(question, body)
        except CheckFailed as error:
            detail = str(error)
            self.counters.add("checks.failed")
            if error.timeout:
                self.counters.add("checks.timeouts")
        finally:
            self.counters.add("checks.finished")
            self.admission.record(ok)
        return self._result(question, status, detail, (time.monotonic() - began) * 1000)

    def _result(self, question: Question, status: str, detail: str, latency_ms: float) -> Result:
        return Result(question.component, status, detail, latency_ms, time.time())

    def _keep(self, result: Result) -> None:
        before = self.latest.get(result.component)
        if before is None or before.status != result.status:
            log(
                "component changed",
                logging.INFO if result.healthy else logging.WARNING,
                component=result.component,
                before=before.status if before else "unknown",
                status=result.status,
                detail=result.detail,
            )
        self.latest[result.component] = result
        self.history.append(result)
        # 0 is the latency of a check that was not made.
        if result.latency_ms:
            # An exponentially weighted mean, so that the payload shows a trend rather than the last answer.
            self._latency += LATENCY_WEIGHT * (result.latency_ms - self._latency)

    def overall(self) -> str:
        """unknown before the first check; then healthy or unhealthy where all components are, else degraded."""
        if not self.latest:
            return "unknown"
        found = {result.status for result in self.latest.values()}
        return found.pop() if len(found) == 1 and len(self.latest) == len(COMPONENTS) else "degraded"

    def dashboard(self) -> dict[str, Any]:
        """The payload of ``dashboard-update``, from the latest results."""
        uptime = time.monotonic() - self._started
        finished = self.counters["checks.finished"]
        return {
            "timestamp": time.time(),
            "system_health": {
                "status": self.overall(),
                "uptime": round(uptime, 3),
                "components": {name: asdict(result) for name, result in self.latest.items()},
            },
            "services": {
                "count": len(COMPONENTS),
                "healthy": sum(result.healthy for result in self.latest.values()),
            },
            "metrics": {
                "request_rate": round(self.counters["events.sent"] / max(uptime, 1e-3), 3),
                "response_time_ms": round(self._latency, 3),
                "error_rate": round(self.counters["checks.failed"] / finished, 4) if finished else 0.0,
                "memory_mb": round(self._resident() / 1e6, 3),
                "cpu_percent": round(100 * time.process_time() / max(uptime, 1e-3), 2),
            },
        }

    def status(self) -> dict[str, Any]:
        """The payload of ``status-update``, from the latest results."""
        return {
            "timestamp": time.time(),
            "status": self.overall(),
            "services": len(COMPONENTS),
            "healthy": sum(result.healthy for result in self.latest.values()),
        }

    def _resident(self) -> int:
        """Resident memory in bytes: the second field of statm (man 5 proc)."""
        return int(os.pread(self._statm, 128, 0).split()[1]) * PAGE

    def close(self) -> None:
        """Stop the threads."""
        self.runner.close()
        os.close(self._statm)


def judge(question: Question, body: tuple[bytes, ...]) -> tuple[str, str]:
    """What an answer says of its component: (status, detail). A broker that answers anything at all is
    healthy; the others are when the broker knows a worker for them (MMI, RFC 8: 200). An answer that had to come over
    HTTP is degraded: the service works, its broker does not."""
    if body[:1] == (OVER_HTTP,):
        if b"200" in body[-1:]:
            return "degraded", "answers over HTTP; the broker does not answer"
    elif question.component == "broker" or b"200" in body[-1:]:
        return "healthy", ""
    code = body[-1].decode(errors="replace")[:16] if body else "nothing"
    return "unhealthy", f"the broker answers {code}"
