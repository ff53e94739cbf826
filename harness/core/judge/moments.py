"""The settled moments of a trial, and what the clients had done by each: the input of every test.

From moment to moment the tests compare the growth of a count with the number of connections, events, seconds, … in
between. Cycles that never settled have no level, but the sums include what their clients did, so spans across them
are correct.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from harness.core.census_diff import UNCLASSIFIED
from harness.core.cycle import Ledger, Observation, Phase
from harness.core.judge.expiry import without_requests
from harness.core.judge.moment import Moment
from harness.core.judge.unnoticed import premature
from harness.core.metric import Judged, Key
from harness.core.record import Trial
from harness.core.segments import segments

MAX_LEVEL = 2.0**64
LONG_STREAM_EVENTS = 10.0  # events a stream
TRACED = ("memory", "mappings", "idle-cpu")
ABORTS = ("rst", "rst-early", "half-close")  # ways to leave that are neither an orderly close nor a stall

# What may drive a growth, in the order of preference if the data cannot distinguish them: the published name of the
# driver, its sum in the ledger, and the words for one unit of it.
DRIVERS: tuple[tuple[str, str, str], ...] = (
    ("connection", "connection", "connection"),
    ("answered-stream", "answered", "answered stream"),
    ("client", "client", "distinct client"),
    ("event", "event", "event"),
    ("event", "stream-second", "second of an open stream"),
    ("abort", "abort", "aborted stream"),
    ("slow-reader", "stall", "stalled reader"),
    ("abort", "not-fin", "stream not closed in order"),
    ("abort", "reset", "stream that was reset"),
    ("abort", "rst-early", "request reset before its answer"),
    ("abort", "rst", "stream reset midway"),
    ("abort", "half-close", "half-closed stream"),
    ("broker-timeout", "broker-timeout", "broker timeout"),
    ("invalid-request", "invalid", "invalid request"),
    ("refused-stream", "refused", "refused stream"),
    ("time", "time", "second"),
)
WORDS = {factor: words for _, factor, words in DRIVERS}
NAMES = {factor: name for name, factor, _ in DRIVERS}


MIN_KEPT_SHARE = 0.5  # share of the growth that must be left for a rate


@dataclass(frozen=True, slots=True)
class Series:
    """One count over its moments. levels: one more than ``spans``. spans: what was done between two
    levels. peak: most streams open at once. before: levels of the warm-up, to recognise a pool."""

    key: Key
    levels: tuple[float, ...]
    spans: tuple[Mapping[str, float], ...]
    peak: int
    before: tuple[float, ...] = ()

    @property
    def increments(self) -> list[float]:
        """Growth from each level to the next."""
        return [after - before for before, after in pairwise(self.levels)]

    def column(self, factor: str) -> list[float]:
        """The amount of one factor in each span."""
        return [span.get(factor, 0.0) for span in self.spans]

    def since(self, span: int) -> Series:
        """The part of the series from one span on."""
        return replace(self, levels=self.levels[span:], spans=self.spans[span:])

    def for_rate(self, factor: str) -> Series:
        """The series from which the rate per unit of a driver is taken. Per event that is the same without the growth
        and the events of hold cycles in which clients did not read, if most of the growth is left: how many events the
        service sent to them is not known, so the rate would be too high."""
        if factor != "event":
            return self
        unread = [span.get("unread", 0.0) > 0 for span in self.spans]
        if not any(unread):
            return self
        dropped = [
            value if left_out else 0.0 for value, left_out in zip(self.increments, unread, strict=True)
        ]
        levels = [level - gone for level, gone in zip(self.levels, [0.0, *accumulate(dropped)], strict=True)]
        spans = tuple(
            {**span, "event": 0.0} if left_out else span
            for span, left_out in zip(self.spans, unread, strict=True)
        )
        most = levels[-1] - levels[0] >= MIN_KEPT_SHARE * (self.levels[-1] - self.levels[0])
        return replace(self, levels=tuple(levels), spans=spans) if most else self


def _cycle_totals(observation: Observation) -> dict[str, float]:
    """The sums of what the clients and the broker did in one cycle. ``answered``: streams that reached the handler."""
    ledger = observation.ledger
    modes = ledger.by_mode
    stalls = float(modes.get("stall", 0))
    known = sum(modes.get(mode, 0) for mode in ABORTS)
    aborts = float(known if modes else max(0.0, ledger.aborts - stalls))
    return {
        "connection": float(ledger.opened),
        "answered": answered(ledger),
        "served": served_streams(observation),
        "unanswered": float(ledger.unanswered),
        "refused": float(ledger.refused or ledger.rate_limited),
        "accepted": answered(ledger) + float(ledger.reset or modes.get("rst-early", 0)),
        "event": float(ledger.events),
        "abort": aborts,
        "not-fin": aborts + stalls,
        # A stalled reader disconnects with a reset too, because its buffers are full.
        "reset": float(modes.get("rst", 0) + modes.get("rst-early", 0)) + stalls,
        "stream-second": ledger.stream_seconds,
        # Streams that lasted for many events: growth that needs several events per stream occurs only with them.
        "long": answered(ledger) if ledger.events >= LONG_STREAM_EVENTS * max(1.0, answered(ledger)) else 0.0,
        "stall": stalls,
        **({"unread": float(observation.spec.stalled)} if observation.spec.phase is Phase.HOLD else {}),
        **{mode: float(modes.get(mode, 0)) for mode in ABORTS},
        "broker-timeout": float(observation.broker.unanswered) if observation.broker else 0.0,
        "invalid": float(ledger.invalid),
        "cycle": 1.0 if ledger.opened else 0.0,
    }


def answered(ledger: Ledger) -> float:
    """Streams of one cycle that the service answered: the exposure. A record of an older harness does not
    count them; there every stream counts that neither failed nor was reset before its answer."""
    if ledger.answered is not None:
        return float(ledger.answered)
    early = ledger.by_mode.get("rst-early", 0)
    unserved = max(0, ledger.failed - ledger.stalls)  # a stalled stream has reached the handler
    return float(max(0, ledger.opened - unserved - early))


def served_streams(observation: Observation) -> float:
    """The streams of a cycle that got what they waited for. A service sends the response head before its handler asks a
    pool for a connection, so that its clients are answered and get no event once the pool is empty. One that sends an
    event every few seconds stalls as well, but its clients got some."""
    ledger = observation.ledger
    if observation.spec.mode != "stream" or observation.spec.fault:
        return answered(ledger)
    silent = ledger.stalls - ledger.unanswered if ledger.eventless is None else ledger.eventless
    return max(0.0, answered(ledger) - max(0, silent)) if ledger.events else 0.0


def moments(trial: Trial) -> tuple[Moment, ...]:
    """Every settled moment of a trial in order, with the level before the first client. Those of a resumed trial are
    joined (``_join_processes``): levels and sums continue from process to process."""
    return _join_processes([_moments_of_process(part) for part in segments(trial)])


def _without_unserved_search(seen: Sequence[Observation]) -> Sequence[Observation]:
    """The observations without a search at the end of which no stream was answered: on a starved machine a traced
    service answers no client, and what leaks with its streams then seems to have stopped."""
    last = seen[-1] if seen else None
    if last is None or last.spec.phase is not Phase.SEARCH or not last.ledger.opened or answered(last.ledger):
        return seen
    return seen[:-1]


def _moments_of_process(trial: Trial) -> tuple[Moment, ...]:
    """The moments of a trial whose service ran in one process all the time. ``time`` is seconds since the run's start.
    A level that no counter can have (not a number, or beyond 64 bits, from a damaged file) counts as not
    read.

    If a service never answers, such as one that buffers whole streams, every request that waited counts as
    exposure.
    """
    done: dict[str, float] = {}
    found: list[Moment] = []
    searches = 0
    never = not any(answered(o.ledger) for o in trial.observations)
    if trial.initial and trial.observations:
        first = {key: level for key, level in trial.initial.items() if abs(level) < MAX_LEVEL}
        found.append(Moment(Phase.WARMUP, first, {"time": trial.observations[0].started}, 0))
    # A trial that waits for the retention time observes late closes; others leave such levels out.
    early = premature(trial.observations) if trial.retention <= 0 else frozenset()
    for index, observation in enumerate(_without_unserved_search(trial.observations)):
        did = _cycle_totals(observation)
        if never:
            did["answered"] = did["unanswered"] or did["connection"]
        traced = observation.spec.phase is Phase.SEARCH
        if traced:
            searches += 1
            did["answered"] = did["connection"]  # a traced service may answer after the client has left
        for factor, amount in did.items():
            done[factor] = done.get(factor, 0.0) + amount
        done["client"] = max(done.get("client", 0.0), float(observation.ledger.clients))
        levels = {
            key: level
            for key, level in observation.levels.items()
            # Tracing allocations uses memory and CPU time, so these levels are meaningless during a search.
            if abs(level) < MAX_LEVEL and not (traced and key.metric in TRACED)
        }
        if levels and observation.settled and index not in early:
            done["reading"] = done.get("reading", 0.0) + 1.0
            spec = observation.spec
            now = {**done, "time": observation.ended}
            peak = min(spec.concurrency, spec.connections) if spec.connections else 0
            left = observation.load_ended if observation.load_ended is not None else observation.ended
            began = observation.started if observation.ledger.opened else left
            found.append(
                Moment(spec.phase, levels, now, peak, began, left, observation.idle_counts, searches)
            )
    return without_requests(found, trial.retention)


def _join_processes(parts: Sequence[tuple[Moment, ...]]) -> tuple[Moment, ...]:
    """One sequence of moments over several processes. The base of each later process, the end of its warm-up, is
    aligned with the last moment before it. So growth within a process counts, and neither growth across a restart nor
    what was done during the warm-up of a new process does."""
    whole = parts[0]
    for part in parts[1:]:
        _, rest = split_warmup(part)
        if not whole or len(rest) < 2:
            whole = whole or part
            continue
        # Each level and each sum of the new process is shifted by its distance from the last moment of the old one.
        base, last = rest[0], whole[-1]
        names = {key for moment in (*whole, *rest) for key in moment.levels}
        shift = {key: (_last_level(whole, key) or 0.0) - (_last_level([base], key) or 0.0) for key in names}
        later = last.at - base.at
        whole += tuple(
            Moment(
                moment.phase,
                {key: level + shift[key] for key in names if (level := level_of(moment, key)) is not None},
                {
                    name: amount - base.done.get(name, 0.0) + last.done.get(name, 0.0)
                    for name, amount in {**dict.fromkeys(last.done, 0.0), **base.done, **moment.done}.items()
                },
                moment.peak,
                moment.began + later,
                moment.left + later,
                tuple((at + later, fds, threads) for at, fds, threads in moment.idle_counts),
                moment.searches - base.searches + last.searches,
                moment.asked,
                moment.unsure,
            )
            for moment in rest[1:]
        )
    return whole


def _last_level(found: Sequence[Moment], key: Key) -> float | None:
    return next((level for moment in reversed(found) if (level := level_of(moment, key)) is not None), None)


def split_warmup(found: Sequence[Moment]) -> tuple[Sequence[Moment], Sequence[Moment]]:
    """The warm-up, and the moments that are judged. The first of these is the base: the last one of the warm-up. A
    trial that ended during its warm-up is judged from its first cycle on."""
    later = [index for index, moment in enumerate(found) if moment.phase is not Phase.WARMUP]
    if not any(found[index].phase is not Phase.IDLE for index in later):
        return found[:1], found
    base = max(0, later[0] - 1)
    return found[: base + 1], found[base:]


def level_of(moment: Moment, key: Key) -> float | None:
    """The level of a key. A class of descriptors that does not occur in a census is zero. Without a census, or with one
    that could not read the classes, it is a gap."""
    if key in moment.levels:
        return moment.levels[key]
    total = moment.levels.get(Key(key.metric))
    if not key.kind or total is None or Key(key.metric, UNCLASSIFIED) in moment.levels:
        return None
    classified = any(other.metric == key.metric and other.kind for other in moment.levels)
    return 0.0 if classified or not total else None


def series(found: Sequence[Moment], key: Key) -> Series | None:
    """One key's series over the judged moments; None with fewer than two readings."""
    warm, rest = split_warmup(found)
    read = [(moment, level) for moment in rest if (level := level_of(moment, key)) is not None]
    if len(read) < 2:
        return None
    spans = tuple(_span(before, after) for (before, _), (after, _) in pairwise(read))
    jumps = [
        max(0.0, after_level - level) if _of_search(before, after) else 0.0
        for (before, level), (after, after_level) in pairwise(read)
    ]
    unseen = [0.0, *accumulate(jumps)]  # growth while allocations are traced proves nothing, but a fall does
    return Series(
        key=key,
        levels=tuple(level - jump for (_, level), jump in zip(read, unseen, strict=True)),
        spans=spans,
        peak=max(moment.peak for moment, _ in read),
        before=tuple(
            level for moment in warm if moment.peak and (level := level_of(moment, key)) is not None
        ),
    )


def _of_search(before: Moment, after: Moment) -> bool:
    """Whether allocations were traced between two moments, or right before them without a client since: a traced
    service may finish its work late."""
    late = before.phase is Phase.SEARCH and not after.peak
    return after.searches != before.searches or late


def _span(before: Moment, after: Moment) -> dict[str, float]:
    """Amount of each factor between two moments. A sum that fell comes from a damaged file and counts as 0. Work done
    while allocations were traced also counts as 0, because its growth is excluded too."""
    if after.searches != before.searches:
        return dict.fromkeys(after.done, 0.0)
    earlier = before.done.get
    return {factor: max(0.0, amount - earlier(factor, 0.0)) for factor, amount in after.done.items()}


def keys(found: Sequence[Moment], judged_as: Judged | None = None) -> list[Key]:
    """Keys that at least two moments read, in a fixed order."""
    seen: dict[Key, int] = {}
    for moment in found:
        for key in moment.levels:
            seen[key] = seen.get(key, 0) + 1
    return sorted(
        key for key, times in seen.items() if times >= 2 and (judged_as is None or key.judged is judged_as)
    )
