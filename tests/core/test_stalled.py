"""Services that run and send nothing: which cycles count, and which figures are reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.core.cycle import Observation, Phase
from harness.core.judge.assessed import Assessed
from harness.core.judge.hourly import growth_so_far, restarts_text, so_far, time_text
from harness.core.judge.stalled import ran_out, stalled
from harness.core.metric import Key
from harness.core.record import About, Restart
from harness.core.verdict import Bound
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
    text = ran_out(trial([], about=About(last_words=("first", long))))
    assert (text is not None) is runs_out
    if text:
        assert text.endswith(f": {long[:120]}")


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
