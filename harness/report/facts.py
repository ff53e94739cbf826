"""The end of a run as a headline and aligned facts: at most 12 lines of 80 columns, nothing twice.

Derived from the values of a verdict and its trial, so that every form of report shows the same numbers::

    LEAKING  1.00 asyncio task per answered stream (95 %: 0.99–1.01)
      where     orders/hub.py:21  Hub.heartbeat, waiting in asyncio.sleep
      evidence  1,050 streams in 6 cycles, 12.5 s; idle control: no growth
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from harness.core.cycle import Phase
from harness.core.judge.findings import if_intended
from harness.core.judge.forecast import ceiling_text, first_limit
from harness.core.judge.moment import Moment
from harness.core.judge.moments import answered, level_of, moments
from harness.core.metric import Key
from harness.core.note import NoteKind, of_kind
from harness.core.quote import plain
from harness.core.record import Trial
from harness.core.units import bytes_text, counted
from harness.core.verdict import Bound, Exhaustion, Finding, Outcome, Verdict, Waiting
from harness.report.bound_facts import bounds_fact
from harness.report.fact_lines import MAX_FACT, Fact, Facts
from harness.report.log import causes, failures_before, log_tail
from harness.report.nouns import (
    BYTE_NOUNS,
    driver,
    growth,
    in_bytes,
    interval,
    noun,
    plural,
    quantity,
    unit_of,
)
from harness.report.place_facts import holder_fact, place, relative, unplaced_fact, unread_fact, where_fact
from harness.report.words import METRIC_WORD, about, number, span

MIN_SECONDS = 0.05  # seconds: less would be shown as 0.0 s
MAX_ALSO = 4  # findings beside the first that are named
# A metric at the start of a clause. A semicolon is between two.
_KEY = re.compile(rf"(?:^|(?<=; ))(?:{'|'.join(METRIC_WORD)})(?:/[^\s:]{{1,100}}(?::\d{{1,5}})?)?(?=:? )")
# A metric with its kind within a sentence of the judge's own.
_KIND = re.compile(rf"(?<![\w/.-])(?:{'|'.join(METRIC_WORD)})/[a-z][\w-]{{0,60}}(?::\d{{1,5}})?")
# An outcome beside the one in the headline, as a noun: "also leaking" would have no subject.
LESSER = {
    Outcome.LEAKING: "a leak",
    Outcome.OVER_CEILING: "a level above its ceiling",
    Outcome.STALLED: "a stall",
}
_SIGNALS_WITHOUT_MESSAGE = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGKILL")
_EXPLAINED_BY_LOG = (Outcome.UNREADY, Outcome.STALLED, Outcome.CRASHED, Outcome.INFRASTRUCTURE)


def facts_of(trial: Trial, *, report: str = "", root: str = "", rest: str = "in the report") -> Facts:
    """The facts of a judged trial. report: where its report is. root: the working directory; paths below it are
    shown relative to it. rest: where the reader finds what one line leaves out. Raises ValueError for a trial without a
    verdict."""
    verdict = trial.verdict
    if verdict is None:
        raise ValueError(f"trial {trial.name!r} was never judged")
    found = moments(trial)
    first = next(iter(verdict.findings), None)
    rows: list[Fact | None] = []
    if verdict.outcome in (Outcome.LEAKING, Outcome.CRASHED, Outcome.STALLED, Outcome.OVER_CEILING):
        rows += _of_a_fault(trial, verdict, first, found, root, rest)
    elif verdict.outcome is Outcome.BOUNDED:
        rows += [
            _evidence(trial, _main_bound(verdict), found),
            bounds_fact(verdict, _main_bound(verdict)),
            _also_bounded(verdict),
        ]
        rows.append(unread_fact(trial))  # what it keeps inside itself was not seen
    elif trial.observations:
        rows += [
            None if _waiting(trial) else _grown(verdict, first),
            (where_fact(trial, first, root, rest) or unplaced_fact(trial, first))
            if first
            else unread_fact(trial),
            holder_fact(trial, first),
            _evidence(trial, first, found),
        ]
    rows += [_log(trial, verdict), _warnings(verdict, rest), _exceptions(trial)]
    if verdict.advice:
        rows.append(Fact("next", verdict.advice))
    if report:
        rows.append(Fact("report", relative(report, root), whole=True))
    return Facts(verdict.outcome.value.upper(), headline(trial), tuple(row for row in rows if row))


def headline(trial: Trial) -> str:
    """The verdict in one sentence, without the outcome's name."""
    verdict = trial.verdict
    assert verdict
    first = next(iter(verdict.findings), None)
    if verdict.outcome is Outcome.LEAKING and first and first.rate:
        scope = " while connected" if first.scope == "while-connected" else ""
        ends = interval(first.rate, size=in_bytes(first.metric, first.kind))
        return plain(f"{growth(first)}{scope} {ends}".strip(), MAX_FACT)
    if verdict.outcome is Outcome.BOUNDED and (bound := _main_bound(verdict)):
        most = quantity(bound.metric, bound.kind, bound.at_most)
        return f"smallest detectable leak {most} per {driver(bound.unit)} ({bound.confidence * 100:g} %)"
    if verdict.outcome is Outcome.CRASHED and verdict.crash:
        crash = verdict.crash
        how = crash.signal or (
            f"exit code {crash.returncode}" if crash.returncode is not None else "unknown exit code"
        )
        where = f", during {crash.during}" if crash.during else ""
        return f"{how} after {counted(number(crash.at_connection), 'stream')} and {span(crash.at_seconds)}{where}"
    if verdict.outcome is Outcome.STALLED and verdict.stalled:
        return plain(verdict.stalled, MAX_FACT)
    waiting = _waiting(trial)
    if waiting and first and first.rate:
        return plain(f"{growth(first)}, {waiting.text()}", MAX_FACT)
    text = _KEY.sub(_named, verdict.explanation)
    # Other outcomes quote the service's log, which may have such a word of its own.
    return plain(_KIND.sub(_named, text) if verdict.outcome is Outcome.INCONCLUSIVE else text, MAX_FACT)


def _waiting(trial: Trial) -> Waiting | None:
    """Growth that waits for the retention time, for the headline; that of a soak reports the bounds so far instead."""
    return trial.verdict.waiting if trial.verdict and not trial.about.soak else None


def _named(match: re.Match[str]) -> str:
    """A metric in words: ``memory/anonymous`` is anonymous memory, ``fds`` are descriptors."""
    key = Key.parse(match[0])
    return (
        noun(key.metric, key.kind)
        if (key.metric, key.kind) in BYTE_NOUNS
        else plural(noun(key.metric, key.kind))
    )


def _main_bound(verdict: Verdict) -> Bound | None:
    """The bound of the descriptors, else of the first count: what a pass is known by."""
    known = [
        bound for bound in verdict.bounds if bound.status != "observed" and bound.scope == "after-disconnect"
    ]
    return next((one for one in known if (one.metric, one.kind) == ("fds", "")), next(iter(known), None))


def _of_a_fault(
    trial: Trial, verdict: Verdict, first: Finding | None, found: Sequence[Moment], root: str, rest: str
) -> list[Fact | None]:
    grown = None if verdict.outcome is Outcome.LEAKING else _grown(verdict, first)
    cause = None
    if verdict.outcome is Outcome.CRASHED and verdict.crash and verdict.crash.line:
        named = f"{verdict.crash.signature}: " if verdict.crash.signature else ""
        cause = Fact("cause", named + verdict.crash.line)
    crash_place = None
    if verdict.outcome is Outcome.CRASHED and verdict.crash:
        # The first line of a Go trace names the goroutine; the frames follow.
        frame = next((one for one in verdict.crash.trace if not one.startswith("goroutine ")), "")
        crash_place = Fact("crash at", place(frame, root)) if frame else None
    return [
        cause,
        crash_place,
        grown,
        where_fact(trial, first, root, rest) or unplaced_fact(trial, first),
        holder_fact(trial, first),
        _evidence(trial, first, found),
        Fact("released", first.released) if first and first.released else None,
        _also(verdict),
        _limit(verdict),
    ]


def _grown(verdict: Verdict, first: Finding | None) -> Fact | None:
    """Growth that is not the headline: beside another outcome, or suspected and not certain."""
    if first is None or first.rate is None:
        return None
    ends = interval(first.rate, size=in_bytes(first.metric, first.kind))
    label = "suspected" if verdict.outcome is Outcome.INCONCLUSIVE else "growth"
    return Fact(label, f"{growth(first)} {ends}".strip())


def _evidence(trial: Trial, first: Finding | Bound | None, found: Sequence[Moment]) -> Fact | None:
    """``1,050 streams in 6 cycles, 12.5 s; idle control: no growth``."""
    # The cycles of a search are not judged, so their streams are not evidence.
    loaded = [one for one in trial.observations if one.ledger.opened and one.spec.phase is not Phase.SEARCH]
    streams = sum(answered(one.ledger) for one in loaded)
    if not loaded:
        return None
    lasted = loaded[-1].ended - trial.observations[0].started
    text = f"{counted(number(streams), 'answered stream')} in {counted(len(loaded), 'cycle')}"
    if lasted >= MIN_SECONDS:
        text += f", {span(lasted)}"
    if first and (control := idle_growth(found, Key(first.metric, first.kind))) is not None:
        amount = bytes_text(control) if in_bytes(first.metric, first.kind) else number(control)
        grew = "no growth" if control <= 0 else f"+{amount}"
        text += f"; idle control: {grew}"
    if isinstance(first, Finding) and first.retained_seconds is not None and not _waiting(trial):
        seconds = first.retained_seconds
        text += f"; retained for at least {number(seconds, 2)} s; {if_intended(seconds)}"
    return Fact("evidence", text)


def idle_growth(found: Sequence[Moment], key: Key) -> float | None:
    """By how much a level rose over the cycles without clients; None without such a cycle. A cycle with clients that
    never settled has no level: what it left behind is no growth of the idle cycle that follows."""
    rises = [
        after_level - level
        for before, after in pairwise(found)
        if after.phase is Phase.IDLE
        and after.done.get("connection") == before.done.get("connection")
        and (level := level_of(before, key)) is not None
        and (after_level := level_of(after, key)) is not None
    ]
    return sum(rises) if rises else None


def _also(verdict: Verdict) -> Fact | None:
    """The other findings: ``509 B heap, 60 blocks, 23 objects per answered stream``."""
    rest = list(verdict.findings[1:])
    if not rest and not verdict.also:
        return None
    parts: list[str] = []
    unit = ""
    for finding in rest[:MAX_ALSO]:
        if finding.rate is None:
            parts.append(f"{noun(finding.metric, finding.kind)} over its ceiling")
            continue
        per = unit_of(finding)
        if unit and per != unit:
            parts[-1] += f" per {unit}"
        parts.append(quantity(finding.metric, finding.kind, finding.rate.value, brief=True))
        unit = per
    text = ", ".join(parts) + (f" per {unit}" if unit else "")
    if len(rest) > MAX_ALSO:
        text += f", and {counted(len(rest) - MAX_ALSO, 'more metric')}"
    lesser = [LESSER.get(outcome, outcome.value) for outcome in verdict.also]
    return Fact("also", "; ".join(part for part in (text, ", ".join(lesser)) if part))


def _limit(verdict: Verdict) -> Fact | None:
    exhausts = first_limit(verdict.findings)
    if stopped := next((one for one in verdict.findings if one.reached), None):
        at, _, happened = stopped.reached.partition(", ")
        # The text of what happened may name the ceiling already.
        ceiling = f", {ceiling_text(exhausts)}" if exhausts and exhausts.ceiling not in happened else ""
        many = quantity(stopped.metric, stopped.kind, float(at), brief=True)
        return Fact("limit", f"reached at {many}{ceiling}: {happened}")
    if exhausts:
        return Fact("limit", _reached(exhausts))
    return Fact("limit", "none known") if verdict.outcome is Outcome.LEAKING else None


def _reached(exhausts: Exhaustion) -> str:
    ceiling, seconds = ceiling_text(exhausts), exhausts.after_seconds
    if exhausts.after_connections is None:
        meanwhile = "whatever the load"
        if exhausts.clients is not None:
            meanwhile = (
                f"while {counted(exhausts.clients, 'client')} stay{'s' * (exhausts.clients == 1)} connected"
            )
        return f"{ceiling} after {about(seconds or 0.0)}, {meanwhile}"
    if round(exhausts.after_connections) <= 0:
        return f"{ceiling} is reached"
    more = counted(number(round(exhausts.after_connections)), "more connection")
    # A forecast of less than a second is not worth a number.
    soon = f", {about(seconds)} at the pace of this load" if seconds and seconds >= 1 else ""
    return f"{ceiling} after {more}{soon}"


def _also_bounded(verdict: Verdict) -> Fact | None:
    """Pools and caches that filled and stopped, and what was released late."""
    pools = [
        bound for bound in verdict.bounds if bound.status == "retention" and not bound.unit.endswith("/hour")
    ]
    # A class whose total has the same explanation would only repeat it.
    totals = {(one.metric, one.explanation) for one in pools if not one.kind}
    pools = [one for one in pools if not one.kind or (one.metric, one.explanation) not in totals]
    retained = [f"{plural(noun(one.metric, one.kind))}: {one.retained}" for one in pools if one.retained]
    return Fact("retained", "; ".join(retained[:2])) if retained else None


def _warnings(verdict: Verdict, rest: str) -> Fact | None:
    if not verdict.warnings:
        return None
    others = counted(len(verdict.warnings) - 1, "more warning")
    more = f" (and {others} {rest})" if len(verdict.warnings) > 1 else ""
    return Fact("warning", f"{_KEY.sub(_named, verdict.warnings[0])}{more}")


def _log(trial: Trial, verdict: Verdict) -> Fact | None:
    """The last line of the log that may name a cause."""
    if verdict.outcome not in _EXPLAINED_BY_LOG or (verdict.crash and verdict.crash.line):
        return None
    if verdict.crash and verdict.crash.signal in _SIGNALS_WITHOUT_MESSAGE:
        return None  # the last line of its log is of something that it survived
    lines, title = log_tail(trial), headline(trial)
    found = failures_before(lines, title) if verdict.outcome is Outcome.UNREADY else causes(lines)
    return Fact("log", found[-1]) if found and found[-1] not in title else None


def _exceptions(trial: Trial) -> Fact | None:
    """The notes that a reader must know beside the verdict: exceptions of the budget that were applied, a service that
    had to be killed, and a log that was cut."""
    notes = of_kind(trial.notes, NoteKind.BUDGET_EXCEPTION, NoteKind.KILLED, NoteKind.LOG_CUT)
    return Fact("note", "; ".join(note.text for note in notes)) if notes else None
