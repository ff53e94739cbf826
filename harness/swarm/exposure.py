"""Counts the streams that the service really served: answered, refused, reset early, or unanswered."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from harness.core.cycle import Ledger
from harness.http import causes
from harness.swarm.stream_spec import Report

# Failures that the run or the generator caused do not show when the service began to fail.
OWN = frozenset({causes.CANCELLED, causes.GENERATOR, causes.WORKER_LOST})


class StreamOutcome(Enum):
    """How far the service served one stream. OTHER: it never connected, was cancelled, or got no HTTP."""

    ANSWERED = 1
    REFUSED = 2
    RESET = 3
    UNANSWERED = 4
    OTHER = 5


def outcome_of(report: Report) -> StreamOutcome:
    """The outcome of a finished stream."""
    if report.answered:
        return StreamOutcome.ANSWERED
    # Neither 0, when no response head arrived, nor 101, which switches to another protocol.
    if report.status >= 200:
        return StreamOutcome.REFUSED
    if report.connect is None:
        return StreamOutcome.OTHER
    if report.cause in (causes.RESET, causes.CLOSED) or (
        report.cause is None and report.disconnect == "rst-early"
    ):
        return StreamOutcome.RESET
    if report.cause in (None, causes.STALLED, causes.DRIPPING):
        return StreamOutcome.UNANSWERED
    return StreamOutcome.OTHER


@dataclass(slots=True)
class Exposure:
    """The running count of one cycle."""

    outcomes: Counts[StreamOutcome] = field(default_factory=Counts)
    answered_by_mode: Counts[str] = field(default_factory=Counts)
    eventless: int = 0
    statuses: Counts[int] = field(default_factory=Counts)
    first_failure: str = ""
    opened_before_failure: int | None = None
    answered_after_failure: int = 0

    def record_failure(self, report: Report, opened: int) -> None:
        """Record a failed stream. opened: streams opened so far, which is kept for the first failure."""
        if self.opened_before_failure is None and report.cause not in OWN:
            self.opened_before_failure = opened

    def add(self, report: Report) -> None:
        """Add a closed stream. Streams must be added in the order in which they closed."""
        found = outcome_of(report)
        self.outcomes[found] += 1
        if found is StreamOutcome.ANSWERED:
            if report.disconnect:
                self.answered_by_mode[report.disconnect] += 1
            if report.stalled and not report.events:
                self.eventless += 1
            if self.first_failure and report.cause is None:
                self.answered_after_failure += 1
        elif found is StreamOutcome.REFUSED:
            self.statuses[report.status] += 1
        if report.cause is not None and not self.first_failure and report.cause not in OWN:
            self.first_failure = f"{report.cause}: {report.detail}" if report.detail else report.cause

    def fields(self) -> dict[str, Any]:
        """The fields of this count in a ledger."""
        return {
            "answered": self.outcomes[StreamOutcome.ANSWERED],
            "answered_by_mode": dict(self.answered_by_mode),
            "eventless": self.eventless,
            "refused": self.outcomes[StreamOutcome.REFUSED],
            "reset": self.outcomes[StreamOutcome.RESET],
            "unanswered": self.outcomes[StreamOutcome.UNANSWERED],
            "statuses": dict(self.statuses),
            "first_failure": self.first_failure,
            "opened_before_failure": self.opened_before_failure,
            "answered_after_failure": self.answered_after_failure,
        }


def merged_fields(ledgers: Sequence[Ledger]) -> dict[str, Any]:
    """The fields of several workers' ledgers that are not plain sums: the first failure among them."""
    failed = [ledger for ledger in ledgers if ledger.opened_before_failure is not None]
    # Workers have no common clock. The one that had opened fewest streams counts as the first to fail, and its count is
    # scaled to all workers.
    first = min(failed, key=lambda ledger: ledger.opened_before_failure or 0, default=None)
    answered = [ledger.answered for ledger in ledgers if ledger.answered is not None]
    # A worker that has done nothing yet, or whose users are the user's own, does not count these.
    eventless = [ledger.eventless for ledger in ledgers if ledger.eventless is not None]
    return {
        "answered": sum(answered) if answered or not ledgers else None,
        "eventless": sum(eventless) if eventless else None,
        "first_failure": first.first_failure if first else "",
        "opened_before_failure": sum(
            ledger.opened if ledger.opened_before_failure is None else ledger.opened_before_failure
            for ledger in ledgers
        )
        if failed
        else None,
    }
