"""Why a run is inconclusive, what weakens its result, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.core import design
from harness.core.cycle import Ledger, Phase
from harness.core.judge.assessed import Assessed
from harness.core.judge.counts import CERTIFIED
from harness.core.judge.diagnose import growth_text, per
from harness.core.judge.following import only_follows
from harness.core.judge.retained import retention_of
from harness.core.judge.stalled import answered_without_event, without_events
from harness.core.judge.tested_series import BURST_POOL
from harness.core.judge.unnoticed import premature, settle_for, slowest_close
from harness.core.metric import Key, rank
from harness.core.note import NoteKind, of_kind
from harness.core.record import Trial
from harness.core.stats.distributions import NO_GROWTH
from harness.core.units import counted, duration_text
from harness.core.verdict import Waiting

FDS = Key("fds")
# An interpreter maps an arena now and then, so only a certain leak counts.
JUDGED_ONLY_IF_CERTAIN = ("mappings",)
LARGER_LEAK = 0.01  # per answered stream: takes a tenth of the streams of the default sensitivity
MAX_ADVISED_TIME = 24 * 3600.0  # seconds: beyond it the advice is another one than more time
RAISE_RATE_LIMIT = (
    "raise the service's limit for the test, or spread the load over client addresses: "
    "--source-addresses 127.0.0.2-127.0.0.200"
)
RESUME = "continue it with harness soak --resume FOLDER, the folder of its report"
RUN_AGAIN = "run it again and let it finish; everything measured so far is kept"
STALLED, DRIPPING = "stalled", "dripping"  # causes of a stall (harness.http.causes)
CANCELLED = "cancelled"  # the cause of streams that the harness ended itself, because the run was stopped
RAISE_MAX_EVENT = "if such events are intended, increase --max-event (pytest: max_event)"
BURST_SECONDS = 3.0  # duration of a short burst of clients, with its settling
MAX_NAMED = 10  # lost load generators that are named
MAX_CLOSE = 1.1  # times the latest release up to which the slowest close was that release
SETTLING = 15.0  # seconds that the readings around a wait take
SEARCHING = 20.0  # seconds of a search for the place (MAX_SEARCH of harness.core.time_left)


@dataclass(frozen=True, slots=True)
class Caveat:
    """Why a run is inconclusive, and the next step. weak: nothing grew, but a bound is weaker than asked.
    waiting: set where only the age of the growth is missing for a leak."""

    why: str
    advice: str
    weak: bool = False
    waiting: Waiting | None = None


def caveat_of(trial: Trial, results: Mapping[Key, Assessed]) -> Caveat | None:
    """The most important reason not to certify a pass; None when there is none."""
    if trial.interrupted:
        return Caveat("the run was interrupted", RESUME if trial.about.soak else RUN_AGAIN)
    total = ledger_total(trial)
    open_ = _open(results)
    suspected = [one for one in open_.values() if one.status == "suspected"]
    if total.rate_limited and open_ and not suspected:
        return Caveat(
            f"rate limited: 429 or 503 refused {counted(total.rate_limited, 'stream')}", RAISE_RATE_LIMIT
        )
    silent = without_events(trial)
    if total.opened and (total.failed - total.rate_limited - silent) * 2 > total.opened:
        worst = max(total.causes.items(), key=lambda item: (item[1], item[0]), default=("unknown", 0))
        return Caveat(failures_text(total) + _no_answers_at_last(trial), _failure_advice(total, worst[0]))
    if suspected:
        key = min(
            (k for k, one in open_.items() if one.status == "suspected"), key=lambda k: (rank(k), str(k))
        )
        if not only_follows(key, results):
            return _suspected(trial, key, open_[key])
    if silent:
        return _without_events(trial, silent)
    first = _undecided(trial, results)
    # What grows must then outlive the retention time, while its place is searched.
    wait = trial.retention + SEARCHING + SETTLING if first and not first.weak and trial.retention else 0.0
    if first and not _released_late(trial, results) and (slow := settle_for(trial.observations, wait)):
        late = slowest_close(trial.observations)
        return Caveat(
            f"{first.why}; the service closed connections up to {late:.0f} s after the clients had disconnected",
            f"allow that much time: {slow}",
        )
    return first


def _without_events(trial: Trial, silent: int) -> Caveat:
    """The caveat of a service that answers and sends no event while clients stay. Without waiting for one they stay for
    the dwell, and the loads take as long as before."""
    loads = [o for o in trial.observations if o.ledger.opened and o.spec.phase is not Phase.SEARCH]
    dwell = max(o.spec.dwell for o in loads)
    answered = sum(o.ledger.answered or 0 for o in loads)
    spent = design.spent_seconds(trial)
    needed = spent * max(1.0, NO_GROWTH / trial.sensitivity / max(1, answered)) + trial.retention + SETTLING
    which = "none" if silent >= answered else f"only {answered - silent:,}"
    return Caveat(
        f"{which} of the {counted(answered, 'answered stream', ',')} got an event within {dwell:g} s (--dwell)",
        f"if its events may be rarer, do not wait for one: --events 0 {time_option(trial)} "
        f"{duration_text(math.ceil(needed / 60) * 60)}; or pass a --dwell longer than the time to the first event. "
        "If it should have sent one: look for buffering, a lock, an upstream that does not answer",
    )


def _released_late(trial: Trial, results: Mapping[Key, Assessed]) -> bool:
    """Whether the slowest closes were late releases, such as those of an idle pool, and no connections of clients whose
    departure was not noticed: then no longer time to settle is needed. Nor does it help where the next request closes
    them, as in libmicrohttpd with a thread for each connection."""
    if any(one.release and one.release.by_request for one in results.values()):
        return True
    latest = max((one.release.after for one in results.values() if one.release), default=0.0)
    return slowest_close(trial.observations) <= MAX_CLOSE * latest and not premature(trial.observations)


def failures_text(total: Ledger) -> str:
    """``361 of 700 streams failed: 301 status-503, 60 reset (DETAIL)``. Streams that only stalled may have been
    answered, so they have not failed: ``60 of 700 streams stalled``."""
    if total.causes and set(total.causes) <= {STALLED, DRIPPING}:
        return f"{total.failed:,} of {counted(total.opened, 'stream', ',')} stalled"
    causes = ", ".join(
        f"{count:,} {cause}" + (f" ({total.details[cause]})" if cause in total.details else "")
        for cause, count in sorted(total.causes.items(), key=lambda item: (-item[1], item[0]))
    )
    return f"{total.failed:,} of {counted(total.opened, 'stream', ',')} failed: {causes or 'unknown'}"


def _no_answers_at_last(trial: Trial) -> str:
    """Whether the service stopped answering at all: from its state now, it may look as if it had never answered."""
    loads = [
        one.ledger for one in trial.observations if one.ledger.opened and one.spec.phase is not Phase.SEARCH
    ]
    answered = sum(one.events for one in loads)
    if not loads or not answered or loads[-1].events:
        return ""
    return f"; none of the last {counted(loads[-1].opened, 'stream', ',')} was answered"


def _failure_advice(total: Ledger, worst: str) -> str:
    """The advice for a load of which more than half failed. worst: the most frequent cause."""
    if "--max-event" in total.details.get(worst, ""):
        return RAISE_MAX_EVENT
    if total.failed >= total.opened:
        return "request the URL yourself first: the load must reach the service before it can be judged"
    lower = "reduce --concurrency if the load is too much for it"
    _, answers, status = worst.partition("status-")
    if answers:
        meant = f"if this status is intended, pass --expect {status}"
        return f"check the service's log for why it answers {status}; {lower}; {meant}"
    return f"check the service's log for why streams fail after others were answered; {lower}"


def _undecided(trial: Trial, results: Mapping[Key, Assessed]) -> Caveat | None:
    """The caveat of metrics that remain undecided although the load reached the service."""
    unsettled = [o for o in trial.observations if o.complete and not o.settled]
    if unsettled and len(unsettled) * 2 >= len(trial.observations):
        return Caveat(
            f"{len(unsettled)} of {counted(len(trial.observations), 'cycle')} never settled "
            f"({unsettled[-1].unsettled} moved)",
            "increase --settle, or stop background work during the test",
        )
    if not any(key.metric in CERTIFIED for key in results):
        return Caveat("no two cycles were completed and read", _more_of_the_same(trial))
    open_ = _open(results)
    if open_:
        key = max(open_, key=lambda k: _importance(k, open_[k]))
        one = open_[key]
        advice = _longer(trial, key, one) if one.growing else _weak(trial, one)
        if one.slowing:
            advice += f"; if one is kept for each user, declare how many there are in the budget (pools, {key.metric})"
        return Caveat(f"{key}: {one.why}", advice, weak=not one.growing)
    return None


def _importance(key: Key, one: Assessed) -> tuple[float, float, bool, bool, str]:
    """The order of undecided metrics. Of those that grow a cause comes first. Of bounds that are too weak the weakest
    does, because it decides how much time is needed; of several such, that of all descriptors, or of another total."""
    if one.growing:
        return -rank(key), one.at_most, False, False, str(key)
    return -math.inf, one.at_most, key == FDS, not key.kind, str(key)


def _open(results: Mapping[Key, Assessed]) -> dict[Key, Assessed]:
    """The results that prevent a pass: undecided growth; without any, exact counts whose bound is too weak."""
    growing = {
        key: one
        for key, one in results.items()
        if one.growing
        and one.status in ("undecided", "suspected")
        and key.metric not in JUDGED_ONLY_IF_CERTAIN
    }
    return growing or {
        key: one for key, one in results.items() if one.status == "undecided" and key.metric in CERTIFIED
    }


def time_option(trial: Trial) -> str:
    """The option that gives a run of this kind more time."""
    return "--duration" if trial.about.soak else "--max-time"


def _suspected(trial: Trial, key: Key, one: Assessed) -> Caveat:
    """The caveat of growth that certainly follows a driver, but is not yet older than the retention time."""
    retention = retention_of(trial, key)
    age = one.idle_evidence.age if one.idle_evidence else 0.0
    needed = math.ceil((design.spent_seconds(trial) + retention + SETTLING) / 10) * 10
    waiting = Waiting(age, retention)
    return Caveat(
        f"suspected: {growth_text(one.rate, key)} per {per(one.factor)}, {waiting.text()}",
        f"allow more time: {time_option(trial)} {duration_text(needed)}; "
        "or use --retention 0 if nothing may be released late",
        waiting=waiting,
    )


def _longer(trial: Trial, key: Key, one: Assessed) -> str:
    """The advice for undecided growth: as much time again, because the evidence grows with the cycles."""
    option = time_option(trial)
    if one.per_burst:
        bursts = sum(1 for o in trial.observations if o.ledger.opened)
        each = max(1.0, one.total / max(1, bursts))
        needed = (
            design.spent_seconds(trial)
            + (BURST_POOL - min(one.total, BURST_POOL)) / each * BURST_SECONDS
            + SETTLING
        )
        time = duration_text(math.ceil(needed / 10) * 10)
        return (
            f"allow time for it to fill: {option} {time} for a pool of {BURST_POOL:g}; or declare its size in the "
            f"budget (pools, {key.metric})"
        )
    spent = design.spent_seconds(trial)
    needed = spent + 2 * one.release.after + SETTLING if one.release else 2.5 * spent
    return f"allow more time: {option} {duration_text(needed)}; a pool stops growing, a leak does not"


def _weak(trial: Trial, one: Assessed) -> str:
    """The advice for a bound that is weaker than asked: it shrinks in proportion to the streams, or faster."""
    if not math.isfinite(one.at_most) or one.at_most <= trial.sensitivity:
        return _more_of_the_same(trial)
    needed = design.spent_seconds(trial) * one.at_most / trial.sensitivity + SETTLING
    time = f"{time_option(trial)} {duration_text(math.ceil(needed / 10) * 10)}"
    larger = _upwards(one.at_most)
    if larger >= 1.0:  # all that it could exclude is a leak of more than everything that a stream has
        return f"allow more time: {time}; or open more streams in it: --connections, --concurrency"
    look = f"look only for larger leaks: --sensitivity {larger:g}"
    if needed > MAX_ADVISED_TIME:
        return f"{look}; the bound that was asked for would take {time}"
    return f"allow more time: {time}; or {look}"


def _more_of_the_same(trial: Trial) -> str:
    """The advice for a run that is too short for any bound: as many cycles again, with the waits beside them."""
    needed = math.ceil((2.5 * design.spent_seconds(trial) + SETTLING) / 10) * 10
    time = f"allow more time: {time_option(trial)} {duration_text(needed)}"
    larger = "; or look only for larger leaks: --sensitivity 1/100"
    return f"{time}{larger if trial.sensitivity < LARGER_LEAK else ''}"


def _upwards(value: float) -> float:
    """The value, rounded up to one significant digit."""
    step = 10.0 ** math.floor(math.log10(value))
    return math.ceil(value / step) * step


def warnings_of(trial: Trial) -> list[str]:
    """The warnings that go with a verdict."""
    found = []
    if any(o.ledger.saturated for o in trial.observations):
        found.append("the load generator was the bottleneck in at least one cycle")
    lost = lost_workers(trial)
    found.extend(lost[:MAX_NAMED])
    if len(lost) > MAX_NAMED:
        found.append(f"{len(lost) - MAX_NAMED} more workers were lost")
    unreadable = sorted({reason for o in trial.observations if o.census for reason in o.census.unreadable})
    found.extend(f"not read: {reason}" for reason in unreadable[:5])
    unsettled = [o.spec.index for o in trial.observations if o.complete and not o.settled]
    if unsettled:
        found.append(f"cycles that never settled: {', '.join(map(str, unsettled[:10]))}")
    ended = [event for o in trial.observations if o.complete for event in o.events]
    if ended:
        found.append(
            f"processes started or exited ({len(ended)}): {'; '.join(ended[:3])}; an exited process no longer holds "
            "what it leaked, so a leak may look smaller than it is"
        )
    total = ledger_total(trial)
    if total.rate_limited:
        found.append(
            f"{counted(total.rate_limited, 'stream')} got status 429 or 503: rate-limited streams do not count"
        )
    if total.failed and not trial.exit and total.failed > answered_without_event(trial):
        found.append(failures_text(total))
    return found


def lost_workers(trial: Trial) -> list[str]:
    """The load generators that were lost, each with its cycle and its number of streams."""
    found: dict[str, str] = {}
    for seen in trial.observations:
        for note in of_kind(seen.ledger.notes, NoteKind.WORKER_LOST):
            worker = str(note.data.get("worker", ""))
            found.setdefault(worker, f"cycle {seen.spec.index}: {note.text}")
    return list(found.values())


def ledger_total(trial: Trial) -> Ledger:
    """The sum of the ledgers, without cycles in which allocations were traced, which slows the service. Streams that
    the harness cancelled when the run was stopped are no failures of the service."""
    loads = [o.ledger for o in trial.observations if o.spec.phase is not Phase.SEARCH]
    causes: dict[str, int] = {}
    details: dict[str, str] = {}
    for ledger in loads:
        details = {**ledger.details, **details}
        for cause, count in ledger.causes.items():
            causes[cause] = causes.get(cause, 0) + count
    cancelled = causes.pop(CANCELLED, 0)
    return Ledger(
        opened=sum(x.opened for x in loads),
        completed=sum(x.completed for x in loads),
        failed=sum(x.failed for x in loads) - cancelled,
        events=sum(x.events for x in loads),
        rate_limited=sum(x.rate_limited for x in loads),
        seconds=math.fsum(x.seconds for x in loads),
        causes=causes,
        details=details,
    )


def connections_per_second(trial: Trial) -> float | None:
    """Connections per second of the whole load, to estimate when a ceiling is reached."""
    total = ledger_total(trial)
    return total.opened / total.seconds if total.seconds > 0 and total.opened else None
