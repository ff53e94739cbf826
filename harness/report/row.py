"""One trial as one row of the table: the same in the terminal, in Markdown and in HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.segments import last_process
from harness.core.verdict import Outcome, Verdict
from harness.report.nouns import driver

MIB = 1 << 20
KIB = 1 << 10


@dataclass(frozen=True, slots=True)
class Row:
    """Unescaped texts. confirmed: None without an expected outcome."""

    name: str
    outcome: Outcome
    seconds: str
    connections: str
    descriptors: str
    threads: str
    memory: str
    signature: str
    claim: str
    confirmed: bool | None
    note: str


HEADINGS = (
    "profile", "outcome", "after", "connections", "descriptors", "threads", "memory", "crash signature",
    "what the analysis said", "confirmed",
)  # fmt: skip

EXPECTED = ("what the analysis said", "confirmed")  # headings of a run that expects outcomes


def cells(row: Row) -> tuple[str, ...]:
    """The texts of a row, in the order of HEADINGS."""
    confirmed = {None: "–", True: "yes", False: "no"}[row.confirmed]
    return (
        row.name, row.outcome.value, row.seconds, row.connections, row.descriptors, row.threads, row.memory,
        row.signature, row.claim, f"{confirmed}: {row.note}" if row.note else confirmed,
    )  # fmt: skip


def table(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headings and cells. Only a run of ``harness reproduce`` expects outcomes, and only a crash has a signature: a
    column that applies to no row is left out."""
    expected = any(row.claim or row.note or row.confirmed is not None for row in rows)
    crashed = any(row.outcome is Outcome.CRASHED for row in rows)
    shown = [
        index
        for index, heading in enumerate(HEADINGS)
        if (expected or heading not in EXPECTED) and (crashed or heading != "crash signature")
    ]
    names = tuple("trial" if HEADINGS[i] == "profile" and not expected else HEADINGS[i] for i in shown)
    return names, [tuple(cells(row)[index] for index in shown) for row in rows]


def build_row(trial: Trial) -> Row:
    """Summarise a judged trial."""
    verdict = trial.verdict
    if verdict is None:
        raise ValueError(f"trial {trial.name} was never judged")
    opened = trial.exit.connections if trial.exit else sum(o.ledger.opened for o in trial.observations)
    return Row(
        name=trial.name,
        outcome=verdict.outcome,
        seconds=f"{(trial.exit.at if trial.exit else trial.ended - trial.started):.1f} s",
        connections=str(opened),
        descriptors=_growth_text(last_process(trial), verdict, "fds"),
        threads=_growth_text(last_process(trial), verdict, "threads"),
        memory=_memory_text(last_process(trial)),
        signature=_signature(verdict),
        claim=trial.about.claim,
        confirmed=trial.about.confirmed,
        note=trial.about.note,
    )


def _levels(trial: Trial) -> list[dict[Key, float]]:
    return [dict(o.levels) for o in trial.observations if o.levels]


def _growth_text(trial: Trial, verdict: Verdict, metric: str) -> str:
    """``+1 eventfd, +1 tcp-out :9797 per check`` for what grew, the bound for what did not."""
    bound = next((b for b in verdict.bounds if b.metric == metric and not b.kind and b.per_stream), None)
    levels = _levels(trial)
    if bound and verdict.outcome is Outcome.BOUNDED:
        level = f"{levels[-1].get(Key(metric), 0):g}; " if levels else ""
        return f"{level}bounded: at most {bound.at_most:.2g} per {driver(bound.unit)}"
    units, unit = _units(trial)
    if len(levels) >= 2 and units:
        first, last = levels[0], levels[-1]
        grown = {
            key.kind or key.metric: last[key] - first.get(key, 0.0)
            for key in last
            # The classes of descriptors are listed; their total would count each descriptor twice.
            if key.metric == metric and last[key] - first.get(key, 0.0) > 0 and (key.kind or metric != "fds")
        }
        parts = [
            f"+{by / units:.2g} {_kind(kind)}" for kind, by in sorted(grown.items(), key=lambda i: -i[1])
        ]
        if parts:
            return ", ".join(parts[:4]) + f" per {unit}"
        return f"{last.get(Key(metric), 0):g}, no growth"
    peak = _peak(trial, metric)
    return f"peak {peak:g}" if peak else "–"


def _kind(kind: str) -> str:
    """``tcp-out:9797`` as ``tcp-out :9797``: with a space before the port."""
    return kind.replace("tcp-out:", "tcp-out :")


def _units(trial: Trial) -> tuple[float, str]:
    """The driver units between the first and the last level: checks where the broker counted them,
    else connections."""
    seen = [o for o in trial.observations if o.levels]
    later = seen[1:]
    checks = [o.broker.requests for o in later if o.broker]
    # The defects of the reference service act once per check of its broker, not once per connection.
    if trial.about.profile and checks and sum(checks):
        return float(sum(checks)), "check"
    return float(sum(o.ledger.opened for o in later)), "connection"


def _peak(trial: Trial, metric: str) -> float:
    about = trial.about
    return {"fds": about.peak_fds, "threads": about.peak_threads, "rss": about.peak_rss}.get(metric) or 0.0


def _memory_text(trial: Trial) -> str:
    key = Key("memory", "anonymous")
    levels = [read[key] for read in _levels(trial) if key in read]
    if len(levels) < 2:
        peak = _peak(trial, "rss")
        return f"peak {peak / MIB:.0f} MiB" if peak else "–"
    # The first level was read after the first cycle, so the streams of that cycle are not part of the growth.
    opened = sum(o.ledger.opened for o in trial.observations if o.levels) - next(
        o.ledger.opened for o in trial.observations if o.levels
    )
    per = (levels[-1] - levels[0]) / opened if opened else 0.0
    return f"{levels[-1] / MIB:.0f} MiB, {per / KIB:+.1f} KiB per connection"


def _signature(verdict: Verdict) -> str:
    crash = verdict.crash
    if not crash:
        return "–"
    code = crash.signal or (
        f"exit code {crash.returncode}" if crash.returncode is not None else "exit unknown"
    )
    number = f" ({crash.returncode})" if crash.signal else ""
    return f"{crash.signature or 'no known signature'}, {code}{number}" + (
        f": {crash.line}" if crash.line else ""
    )
