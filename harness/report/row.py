"""One profile of ``harness reproduce`` as one row: the same in the terminal, in HTML and in Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.record import Trial
from harness.core.record_codec import NOT_JUDGED
from harness.core.verdict import Outcome
from harness.report.growth import Growth, growth
from harness.report.text import plain
from harness.report.words import exit_word, kind_word, number, signed, size


@dataclass(frozen=True, slots=True)
class ReproduceRow:
    """What is told of one profile. seconds: since the trial's start, to its death or its end.
    confirmed: None when nothing was claimed. doubt: why a claim is not confirmed. note: one more
    thing worth saying, such as "3.1 × later than original"."""

    profile: str
    outcome: Outcome
    seconds: float
    connections: int
    descriptors: Growth
    threads: Growth
    memory: Growth
    signature: str | None = None
    ended: str | None = None  # ``SIGABRT (−6)``
    said: str = ""
    expected: str = ""
    confirmed: bool | None = None
    doubt: str = ""
    note: str = ""

    @property
    def crash_text(self) -> str:
        """Signature and return code; empty for a service that lived."""
        if self.ended is None:
            return ""
        return f"{self.signature}, {self.ended}" if self.signature else self.ended

    @property
    def confirmed_text(self) -> str:
        """``yes``, ``no: why``, or empty."""
        if self.confirmed is None:
            return ""
        if self.confirmed:
            return "yes"
        return f"no: {self.doubt}" if self.doubt else "no"


def build_row(trial: Trial) -> ReproduceRow:
    """The row of a judged trial. Reads of ``trial.extra``: profile, said, expected, confirmed, doubt,
    note, checks_per_connection; all optional."""
    verdict = trial.verdict or NOT_JUDGED
    crash = verdict.crash
    extra = trial.extra
    confirmed = extra.get("confirmed")
    return ReproduceRow(
        profile=plain(extra.get("profile") or trial.name),
        outcome=verdict.outcome,
        seconds=crash.at_seconds if crash else max(0.0, trial.ended - trial.started),
        connections=crash.at_connection if crash else sum(o.ledger.opened for o in trial.observations),
        descriptors=growth(trial, "fds"),
        threads=growth(trial, "threads"),
        memory=growth(trial, "memory"),
        signature=plain(crash.signature) if crash and crash.signature else None,
        ended=exit_word(crash.returncode, crash.signal) if crash else None,
        said=plain(extra.get("said") or ""),
        expected=plain(extra.get("expected") or ""),
        confirmed=confirmed if isinstance(confirmed, bool) else None,
        doubt=plain(extra.get("doubt") or ""),
        note=plain(extra.get("note") or ""),
    )


def growth_text(found: Growth, metric: str) -> str:
    """``+8`` or ``+1.2 KiB``; ``–`` when it was not measured."""
    if found.total is None:
        return "–"
    if metric == "memory":
        whole = round(found.total)
        return f"{'+' if whole > 0 else ''}{size(whole)}".replace("-", "−")
    return signed(round(found.total, 3))


def kinds_text(found: Growth, metric: str) -> str:
    """``+1 eventfd, +1 tcp-out :9797 per check``; empty when nothing is known by kind."""
    if not found.kinds or metric == "memory":
        return ""
    parts = [f"{signed(rate, 2)} {plain(kind_word(metric, kind))}" for kind, rate in found.kinds]
    return f"{', '.join(parts)} per {found.unit}"


def after_text(row: ReproduceRow) -> str:
    """``14.2 s, 830 connections``."""
    return f"{row.seconds:.1f} s, {number(row.connections)} connections"
