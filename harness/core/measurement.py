"""The result of one repeat of a trial, in the few figures by which a claim is tested."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness.core.cycle import Observation
from harness.core.judge.signature import SIGNATURES
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.verdict import Outcome, Verdict

MIN_GROWTH = 0.005  # per check or connection; smaller changes of a count have other reasons
# Metrics that repeat others: the same sockets seen from the broker, and the stacks of the same threads.
SYMPTOMS = ("broker-peers", "mappings")
# Where levels were counted, the growth of these is computed from them per check, not taken from the verdict.
ALREADY_COUNTED_METRICS = (*SYMPTOMS, "fds", "threads")
CLIENT_SOCKET_KINDS = ("close-wait", "rowless", "tcp-in")  # sockets of clients: checks do not open them
MAX_GROWTH = 4  # kinds kept, greatest first


@dataclass(frozen=True, slots=True)
class Growth:
    """One kind that grew. value: per ``unit``, such as ``check``, ``connection`` or ``event``; bytes for memory."""

    kind: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """One repeat. outcome: of the verdict. expected: it ended as its profile describes, in every detail; note: why not.
    seconds: until the crash, else of the whole trial. connections: opened until then. signature: of a crash, with its
    signal or exit code. seen: names of all signatures in its log. pace: clients and checks per second, one pair for
    each cycle of a ramp. advice: what an inconclusive verdict asks for."""

    outcome: str
    expected: bool
    note: str
    seconds: float
    connections: int
    checks: int
    events: int
    growth: tuple[Growth, ...] = ()
    signature: str = ""
    seen: tuple[str, ...] = ()
    pace: tuple[tuple[int, float], ...] = ()
    advice: str = ""

    @property
    def crashed(self) -> bool:
        """Whether the service exited under load."""
        return self.outcome == Outcome.CRASHED.value


def measure(trial: Trial) -> Measurement:
    """The measurement of a judged trial. Raises ValueError for one that was never judged."""
    verdict = trial.verdict
    if verdict is None:
        raise ValueError(f"trial {trial.name} was never judged")
    opened = trial.exit.connections if trial.exit else sum(o.ledger.opened for o in trial.observations)
    return Measurement(
        outcome=verdict.outcome.value,
        expected=bool(trial.about.confirmed),
        note=trial.about.note,
        seconds=round(trial.exit.at if trial.exit else trial.ended - trial.started, 2),
        connections=opened,
        checks=sum(o.broker.requests for o in trial.observations if o.broker),
        events=sum(o.ledger.events for o in trial.observations),
        growth=_growth(trial, verdict),
        signature=_signature(verdict),
        seen=_seen(trial),
        pace=_pace(trial.observations) if trial.about.ramp else (),
        advice=(verdict.advice or verdict.explanation) if verdict.outcome is Outcome.INCONCLUSIVE else "",
    )


def _signature(verdict: Verdict) -> str:
    crash = verdict.crash
    if not crash:
        return ""
    return f"{crash.signature or 'no known signature'}, {crash.signal or f'exit code {crash.returncode}'}"


def _seen(trial: Trial) -> tuple[str, ...]:
    lines = trial.exit.log_tail if trial.exit else trial.about.last_lines
    return tuple(one.name for one in SIGNATURES if any(re.search(one.pattern, line[:500]) for line in lines))


def _pace(observations: tuple[Observation, ...]) -> tuple[tuple[int, float], ...]:
    """Clients and checks per second of stream time, which excludes the time to connect and disconnect."""
    return tuple(
        (o.spec.concurrency, o.spec.concurrency * o.broker.requests / o.ledger.stream_seconds)
        for o in observations
        if o.broker and o.ledger.stream_seconds > 0
    )


def _growth(trial: Trial, verdict: Verdict) -> tuple[Growth, ...]:
    """Descriptors and threads per check from the first level to the last, then what the verdict says of the rest. A
    bounded trial has none: what its levels moved by is within its bounds."""
    if verdict.outcome is Outcome.BOUNDED:
        return ()
    counted = _counted([o for o in trial.observations if o.levels])
    rated = [
        Growth(f"{f.metric} {f.kind}".strip(), f.rate.value, f.rate.unit.rpartition("/")[2])
        for f in verdict.findings
        if f.status == "leaking"
        and f.rate
        and f.metric not in (ALREADY_COUNTED_METRICS if counted else SYMPTOMS)
    ]
    return (*counted, *rated)[:MAX_GROWTH]


def _counted(seen: list[Observation]) -> list[Growth]:
    """The kinds that grew from the first of these cycles to the last, greatest first."""
    if len(seen) < 2:
        return []
    # Levels are read after a cycle, so what the first one opened is in the first level already.
    checks = sum(o.broker.requests for o in seen[1:] if o.broker)
    opened = sum(o.ledger.opened for o in seen[1:])
    found = []
    grown = _differences(seen[0].levels, seen[-1].levels)
    for key, by in sorted(grown.items(), key=lambda item: -item[1]):
        kind = _name(key)
        units, unit = (
            (checks, "check") if checks and kind not in CLIENT_SOCKET_KINDS else (opened, "connection")
        )
        if units and by / units >= MIN_GROWTH:
            found.append(Growth(kind, by / units, unit))
    return found[:MAX_GROWTH]


def _differences(first: Mapping[Key, float], last: Mapping[Key, float]) -> dict[Key, float]:
    """The change of threads in total and of each class of descriptors; their total would repeat the classes."""
    return {
        key: level - first.get(key, 0.0)
        for key, level in last.items()
        if (key.metric == "threads" and not key.kind) or (key.metric == "fds" and key.kind)
    }


def _name(key: Key) -> str:
    # The port of a peer differs from run to run.
    return (key.kind.partition(":")[0] if key.kind else key.metric) or key.metric
