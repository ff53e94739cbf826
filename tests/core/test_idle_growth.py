"""Growth over time beside a leak per stream, in one count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.core.cycle import Phase
from harness.core.judge.assessed import Assessed
from harness.core.judge.idle_growth import idle_growth
from harness.core.judge.moments import moments
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.plan import Goal
from harness.core.record import Trial
from harness.core.second_cause import reading_for_second_cause, was_asked
from harness.core.verdict import Outcome
from tests.core.series import FDS, observation, trial

DEVICE, EVENTFD = Key("fds", "device"), Key("fds", "eventfd")


def leak_and(idle: Sequence[float], each: float = 0.2) -> Trial:
    """``each`` descriptors per stream, and ``idle`` more at each reading without clients."""
    seen, held = [], 0.0
    for index, opened in enumerate((100, 300, 300, 600, 2400)):
        held += each * opened
        levels = {FDS: 10.0 + held, DEVICE: held}
        seen.append(
            observation(index, levels, phase=Phase.WARMUP if index < 2 else Phase.LOAD, opened=opened)
        )
    for more in idle:
        held += more
        seen.append(observation(len(seen), {FDS: 10.0 + held, DEVICE: held}, phase=Phase.RETENTION, opened=0))
    return replace(trial([], observations=seen, retention=60.0), initial={FDS: 10.0, DEVICE: 0.0})


@pytest.mark.parametrize(
    ("idle", "told"),
    [
        ([1.0, 0.0] * 15, True),
        ([1.0] * 5 + [0.0] * 25, False),  # too few
        ([5.0, 4.0, 3.0] + [0.0] * 27, False),  # what streams had left to do
        ([2.0, 0.0, -1.0, 0.0] * 8, False),  # it falls as well
    ],
)
def test_growth_without_clients_is_told_beside_a_leak_per_stream(idle: list[float], told: bool) -> None:
    """Ruby: 0.2 files per stream, and one every 2.5 s. Only the first was told."""
    verdict = judge(leak_and(idle))
    assert verdict.outcome is Outcome.LEAKING
    assert verdict.findings[0].driver != "time"
    texts = [text for text in verdict.warnings if "also grew without clients" in text]
    assert bool(texts) is told
    assert len(texts) <= 1, "the classes speak for their total"
    if told:
        assert texts[0].startswith("fds/device also grew without clients, about ")
        assert " per hour (15 in " in texts[0]
        assert verdict.warnings[0] == texts[0], "the terminal shows the first warning only"


def test_growth_over_time_alone_is_a_finding_and_no_warning() -> None:
    verdict = judge(leak_and([1.0] * 60, each=0.0))
    assert not [text for text in verdict.warnings if "also grew" in text]


@pytest.mark.parametrize(("status", "told"), [("suspected", True), ("undecided", True), ("leaking", False)])
def test_growth_of_another_class_over_time_is_told_unless_it_is_a_finding(status: str, told: bool) -> None:
    """asyncio: two pipes per connection, and an eventfd a second. The run ended when the pipes were certain."""
    found = moments(with_eventfds([1.0] * 12))
    leaking = Assessed("leaking", 1.0, "rose", 740.0, 3700.0, rate=0.2)
    results = {FDS: leaking, DEVICE: leaking, EVENTFD: Assessed(status, 1.0, "rose", 12.0, 3700.0, "time")}
    texts = idle_growth(results, found)
    assert list(texts) == ([EVENTFD] if told else [])
    assert all(text.startswith(f"{key} also grew") for key, text in texts.items())


def test_sockets_that_change_their_class_are_no_growth() -> None:
    wait, gone = Key("fds", "close-wait"), Key("fds", "rowless-socket")
    seen = leak_and([0.0] * 30)
    more = [
        replace(o, levels={**o.levels, wait: float(60 - 2 * n), gone: float(2 * n)})
        if o.spec.phase is Phase.RETENTION
        else replace(o, levels={**o.levels, wait: 60.0, gone: 0.0})
        for n, o in enumerate(seen.observations, -5)
    ]
    now = replace(seen, observations=tuple(more), initial={**seen.initial, wait: 60.0, gone: 0.0})
    assert not [text for text in judge(now).warnings if "also grew" in text]


def with_eventfds(idle: Sequence[float]) -> Trial:
    """A leak of devices with the streams, and eventfds that grow at the readings without clients."""
    seen = leak_and(idle)
    more = [
        replace(
            o,
            levels={
                FDS: o.levels[FDS],
                DEVICE: min(o.levels[DEVICE], 740.0),
                EVENTFD: o.levels[DEVICE] - 740.0,
            },
        )
        if o.spec.phase is Phase.RETENTION
        else replace(o, levels={**o.levels, EVENTFD: 0.0})
        for o in seen.observations
    ]
    return replace(seen, observations=tuple(more), initial={**seen.initial, EVENTFD: 0.0})


GOAL = Goal(300, 50, 1.0, ("/",), max_seconds=600.0, retention=60.0)
LEAK = Assessed("leaking", 1.0, "rose", 740.0, 3700.0, rate=0.2)


@pytest.mark.parametrize(
    ("eventfds", "seconds", "reads"),
    [
        ("undecided", 600.0, True),
        ("suspected", 600.0, True),
        ("leaking", 600.0, False),
        ("undecided", 10.0, False),
    ],
)
def test_the_time_that_is_left_is_spent_on_the_second_cause(
    eventfds: str, seconds: float, reads: bool
) -> None:
    """asyncio: the run ended with the pipes after 79 of 120 s, and the eventfds were in no finding."""
    seen = with_eventfds([1.0] * 12)
    results = {FDS: LEAK, DEVICE: LEAK, EVENTFD: Assessed(eventfds, 1.0, "rose", 12.0, 3700.0, "time")}
    step = reading_for_second_cause(seen, replace(GOAL, max_seconds=seconds), results, moments(seen))
    assert (step is not None) is reads
    assert step is None or (step.phase, step.connections) == (Phase.RETENTION, 0)


def test_a_count_that_leaks_with_the_streams_needs_no_time_for_its_second_cause() -> None:
    """It has a finding and a warning already. Ruby, a file per five streams and one every 2.5 s: 45 s were lost."""
    seen = leak_and([1.0, 0.0] * 15)
    results = {FDS: LEAK, DEVICE: LEAK}
    assert idle_growth(results, moments(seen))
    assert reading_for_second_cause(seen, GOAL, results, moments(seen)) is None


def test_the_requests_that_end_a_wait_come_once() -> None:
    """Between readings for the second cause, the plan had sent 300 and 700 requests again and again."""
    seen = leak_and([0.0] * 20)
    last = seen.observations[-1].levels
    asked = observation(len(seen.observations), last, phase=Phase.RETENTION, opened=300)
    quiet = observation(len(seen.observations) + 1, last, phase=Phase.RETENTION, opened=0)
    assert not was_asked(seen)
    assert not was_asked(replace(seen, observations=(*seen.observations, asked)))
    assert was_asked(replace(seen, observations=(*seen.observations, asked, quiet)))
    load = observation(len(seen.observations) + 2, last, phase=Phase.LOAD, opened=300)
    assert not was_asked(replace(seen, observations=(*seen.observations, asked, quiet, load)))
