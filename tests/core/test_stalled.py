"""Services that run and send nothing: which cycles count, and which figures are reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.core.cycle import Observation, Phase
from harness.core.judge.assessed import Assessed
from harness.core.judge.hourly import growth_so_far, restarts_text, so_far, time_text
from harness.core.judge.stalled import ran_out, stalled, without_events
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import About, Restart
from harness.core.sample import Census
from harness.core.verdict import Bound, Outcome, Verdict
from tests.core.series import FDS, observation, trial


def cycle(index: int, stalls: int = 0, events: int = 0, *, opened: int = 300, **more: int) -> Observation:
    return observation(index, {}, opened=opened, ledger={"stalls": stalls, "events": events, "causes": more})


def stalled_text(*cycles: Observation) -> str | None:
    return stalled(trial([], observations=list(cycles)))


def test_streams_without_any_event_are_counted() -> None:
    assert (
        stalled_text(cycle(0, 150), cycle(1, 200))
        == "350 of 600 streams stalled: the process is running, but sent no event"
    )
    assert (
        stalled_text(cycle(0, 1, opened=1))
        == "1 of 1 stream stalled: the process is running, but sent no event"
    )
    assert stalled_text(cycle(0, 100, timeout=60), cycle(1, 0)) == (
        "160 of 600 streams stalled: the process is running, but sent no event"
    )


@pytest.mark.parametrize(
    ("stalls", "events", "text"),
    [
        ((150, 150), 7, "300 of 600 streams stalled: the process is running, but sent only 14 events"),
        ((300, 0), 1, "300 of 600 streams stalled: the process is running, but sent only 2 events"),
        ((149, 149), 7, None),
        ((149, 149), 0, None),
        ((150, 149), 7, None),
    ],
)
def test_half_of_the_streams_must_have_stalled(stalls: Sequence[int], events: int, text: str | None) -> None:
    assert stalled_text(*(cycle(n, each, events) for n, each in enumerate(stalls))) == text


@pytest.mark.parametrize(
    ("stalls", "found"),
    [
        ((0, 0, 0, 0, 300, 300), (1200, 2)),
        ((0, 0, 0, 0, 0, 300, 300, 300), (1500, 3)),
        ((0, 300, 0, 0, 0, 0, 300, 300), (1800, 2)),
        ((0, 0, 0, 0, 0, 300), None),
        ((0, 0, 0, 300, 300, 0), None),
        ((0, 0, 300, 0, 0, 300), None),
        ((0, 0, 0), None),
    ],
)
def test_events_that_stop_are_reported_with_the_connections_before(
    stalls: Sequence[int], found: tuple[int, int] | None
) -> None:
    text = stalled_text(*(cycle(n, each, 300) for n, each in enumerate(stalls)))
    assert (text is None) is (found is None)
    if text and found:
        assert text.startswith(
            f"events stopped after {found[0]} connections: {found[1]} cycles in a row stalled"
        )


def test_cycles_that_prove_nothing_are_left_out() -> None:
    mute = cycle(0, 300)
    for changes in ({"fault": "silence"}, {"mode": "request"}, {"phase": Phase.SEARCH}):
        assert stalled_text(replace(mute, spec=replace(mute.spec, **changes))) is None  # type: ignore[arg-type]
    assert stalled_text(replace(mute, ledger=replace(mute.ledger, opened=0))) is None
    assert stalled_text(mute) is not None


@pytest.mark.parametrize(
    ("line", "runs_out"),
    [
        ("OSError: [Errno 24] Too many open files", True),
        ("Segmentation fault (core dumped)", False),
        ("all is well", False),
    ],
)
def test_an_exhausted_resource_is_reported_with_the_line_of_the_log(line: str, runs_out: bool) -> None:
    long = f"{line}{'x' * 200}"
    text = ran_out(trial([], about=About(last_lines=("first", long))))
    assert (text is not None) is runs_out
    if text:
        assert text.endswith(f": {long[:120]}")


@pytest.mark.parametrize(("open_", "full"), [(399, False), (400, True)])
def test_a_silent_service_at_its_limit_of_descriptors_is_reported_with_it(open_: int, full: bool) -> None:
    """It logged nothing, accepted nobody, and the advice was to look for buffering."""
    seen = [
        replace(one, census=Census(0.0, per_process={"7": open_}))
        for one in [*(cycle(n, 0, 300) for n in range(4)), cycle(4, 300), cycle(5, 300)]
    ]
    one = trial([], observations=seen)
    verdict = judge(replace(one, target=replace(one.target, limits={"RLIMIT_NOFILE": 400.0})))
    assert verdict.outcome is Outcome.STALLED
    said = "a process had 400 descriptors open without clients, and RLIMIT_NOFILE allows 400"
    assert (said in (verdict.stalled or "")) == full
    assert ("close it" in verdict.advice, "buffering" in verdict.advice) == (full, not full)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (96.4, "96 s"),
        (119.9, "120 s"),
        (120.0, "2.0 minutes"),
        (3599.0, "60.0 minutes"),
        (3600.0, "1.0 h"),
        (28_800.0, "8.0 h"),
    ],
)
def test_a_time_is_reported_in_its_unit(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def bound(metric: str, kind: str, at_most: float, per: str = "hour") -> Bound:
    return Bound(metric, kind, "bounded", at_most, f"{Key(metric, kind).unit}/{per}")


def test_bounds_per_hour_are_reported_for_totals_and_for_kinds_without_one() -> None:
    limits = [
        bound("fds", "", 0.376),
        bound("fds", "pipe", 9.0),
        bound("threads", "", 12.4),
        bound("tasks", "asyncio-task", 1.0),
        bound("memory", "anonymous", 131_000.0),
        bound("processes", "", 5.0, "answered-stream"),
    ]
    assert so_far(limits, 28_800.0) == (
        "over 8.0 h at most 0.38 fds, 12 threads, 1 tasks/asyncio-task and 131 kB of memory/anonymous per hour (95 %)"
    )
    assert so_far(limits[:1], 60.0) == "over 60 s at most 0.38 fds per hour (95 %)"
    assert so_far(limits[-1:], 60.0) == ""


@pytest.mark.parametrize(
    ("results", "connections", "text"),
    [
        (
            {FDS: Assessed("bounded", 5e-4, "")},
            6000.0,
            "no growth over 6,000 connections: at most 0.0005 per connection (95 %)",
        ),
        (
            {FDS: Assessed("bounded", 5e-4, ""), Key("threads"): Assessed("undecided", 0.01, "")},
            1.0,
            "no growth over 1 connection: at most 0.01 per connection (95 %)",
        ),
        (
            {FDS: Assessed("bounded", 5e-4, ""), Key("fds", "pipe"): Assessed("undecided", 7.0, "")},
            60.0,
            "no growth over 60 connections: at most 0.0005 per connection (95 %)",
        ),
        (
            {
                FDS: Assessed("bounded", 5e-4, ""),
                Key("memory", "anonymous"): Assessed("undecided", 7.0, "x", growing=True),
            },
            60.0,
            "memory/anonymous: x; no growth of descriptors over 60 connections: at most 0.0005 per connection (95 %)",
        ),
        ({FDS: Assessed("suspected", 5e-4, "grew by 9")}, 60.0, "fds: grew by 9"),
        (
            {
                FDS: Assessed("undecided", 5e-4, "grew", growing=True),
                Key("threads"): Assessed("undecided", 1.0, "too", growing=True),
            },
            60.0,
            "fds: grew",
        ),
        ({FDS: Assessed("bounded", 5e-4, "")}, 0.0, ""),
        ({FDS: Assessed("undecided", float("inf"), "")}, 60.0, ""),
        ({}, 60.0, ""),
    ],
)
def test_the_bounds_of_an_interrupted_run_are_reported(
    results: dict[Key, Assessed], connections: float, text: str
) -> None:
    assert growth_so_far(results, connections) == text


@pytest.mark.parametrize(
    ("gaps", "words"), [((), None), ((90.0,), "once, with 90 s"), ((90.0, 60.0), "2 times, with 2.5 minutes")]
)
def test_interruptions_are_reported_with_their_time(gaps: tuple[float, ...], words: str | None) -> None:
    one = replace(trial([10.0]), restarts=tuple(Restart(1, 2.0, gap) for gap in gaps))
    found = restarts_text(one)
    assert (found == []) if words is None else (len(found) == 1 and words in found[0])


def rare(index: int, served: int = 0, *, unanswered: int = 0, opened: int = 200, **spec: int) -> Observation:
    """A cycle whose clients got a response head at once, a comment, and an event or none before they left after 1 s."""
    answered = opened - unanswered
    stalls = opened - served
    counts = {
        "stalls": stalls, "events": served, "answered": answered, "unanswered": unanswered, "comments": answered,
        "failed": stalls, "causes": {"stalled": stalls},
    }  # fmt: skip
    made = observation(index, {FDS: 10.0}, opened=opened, ledger=counts)
    return replace(made, spec=replace(made.spec, **spec))  # type: ignore[arg-type]


def verdict_on(*cycles: Observation) -> Verdict:
    return judge(trial([], observations=list(cycles)))


def test_a_service_that_answers_and_sends_no_event_is_not_shown_to_stall() -> None:
    """Its notifications came every 12 to 30 s, and no client stayed for more than 2 s: that was called its fault."""
    verdict = verdict_on(*map(rare, range(6)))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.stalled is None
    assert verdict.explanation == "none of the 1,200 answered streams got an event within 1 s (--dwell)"
    assert "--events 0 --max-time 60s;" in verdict.advice
    assert "or pass a --dwell longer" in verdict.advice
    assert not any("1,200" in warning for warning in verdict.warnings), "answered streams have not failed"


def test_with_events_0_a_cycle_whose_clients_wait_all_the_same_proves_nothing() -> None:
    """The plan checks with a few clients whether growth follows the events: none of them got any."""
    cycles = [
        replace(rare(n, events=0), ledger=replace(rare(n).ledger, stalls=0, failed=0, causes={}))
        for n in range(6)
    ]
    verdict = verdict_on(*cycles, rare(6, opened=50, events=20))
    assert verdict.outcome is not Outcome.STALLED
    assert "--dwell" not in verdict.explanation
    assert not any("stalled" in warning for warning in verdict.warnings)


def test_a_broadcast_that_few_clients_live_to_see_is_no_stall_either() -> None:
    verdict = verdict_on(*(rare(index, 40) for index in range(6)))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.explanation == "only 240 of the 1,200 answered streams got an event within 1 s (--dwell)"


@pytest.mark.parametrize(
    ("cycles", "why"),
    [
        ([rare(n, unanswered=200) for n in range(6)], "the whole response is buffered, the head too"),
        ([rare(n, unanswered=5) for n in range(6)], "some heads are missing as well"),
        ([rare(n, 200 if n < 3 else 0) for n in range(6)], "events came at first, and stopped"),
        ([rare(n, 40 if n < 3 else 0) for n in range(6)], "rare events came at first, and stopped"),
        ([rare(n, 200 if n < 1 else 20) for n in range(6)], "most streams got events at first"),
        ([rare(n, 40, events=5) for n in range(6)], "streams may have stalled after their first event"),
        (
            [replace(o := rare(n), ledger=replace(o.ledger, answered=None)) for n in range(6)],
            "an older record",
        ),
    ],
)
def test_a_service_that_does_not_answer_or_that_stops_is_stalled_as_before(
    cycles: Sequence[Observation], why: str
) -> None:
    assert without_events(trial([], observations=list(cycles))) == 0, why
    assert verdict_on(*cycles).outcome is Outcome.STALLED, why


def test_a_leak_of_a_service_without_events_is_found_all_the_same() -> None:
    leaky = [replace(rare(n), levels={FDS: 10.0 + 200 * n}) for n in range(6)]
    assert verdict_on(*leaky).outcome is Outcome.LEAKING


def test_streams_that_stalled_are_not_said_to_have_failed() -> None:
    """They may have been answered, and the evidence then counts them as answered streams."""
    verdict = verdict_on(*(rare(n, 200 if n < 3 else 0) for n in range(6)))
    assert "600 of 1,200 streams stalled" in verdict.warnings


@pytest.mark.parametrize(
    ("answered", "unanswered", "events", "named"),
    [
        ((65, 5), (175, 45), (79, 37), True),
        ((240, 5), (0, 45), (77, 37), False),
        ((65, 0), (175, 50), (79, 0), False),
    ],
)
def test_fewer_workers_than_clients_are_named_as_the_cause_of_a_stall(
    answered: tuple[int, int], unanswered: tuple[int, int], events: tuple[int, int], named: bool
) -> None:
    """Puma with five threads, of which each serves one of 50 clients, was said to buffer. A service that answers all
    its clients and sends them nothing has enough workers, and one that answers nobody any more has another fault."""
    cycles = [
        observation(
            n, {FDS: 9.0}, opened=opened,
            ledger={
                "answered": answered[n], "unanswered": unanswered[n], "stalls": max(unanswered[n], opened // 2 + 1),
                "events": events[n], "causes": {"stalled": opened // 2 + 1},
            },
        )
        for n, opened in enumerate((300, 50))
    ]  # fmt: skip
    verdict = judge(trial([], observations=cycles))
    assert verdict.outcome is Outcome.STALLED
    assert ("50 clients at once were more than it serves" in verdict.advice) is named
    assert "check that the handler sends as it goes" in verdict.advice
