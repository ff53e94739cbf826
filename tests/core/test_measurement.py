"""The measurement of a repeat: each figure, and which kinds count as growth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from harness.core.cycle import BrokerCount, Observation
from harness.core.measurement import MIN_GROWTH, Growth, Measurement, measure
from harness.core.metric import Key
from harness.core.record import About, ExitInfo, Trial
from harness.core.verdict import Crash, Finding, Outcome, Rate, Verdict
from tests.core.series import FDS, observation, trial

EVENTFD, TCP_IN, THREADS = Key("fds", "eventfd"), Key("fds", "tcp-in"), Key("threads")
LEAKING = Verdict(Outcome.LEAKING, "it grows")


def cycle(index: int, levels: Mapping[Key, float], requests: int | None, **ledger: object) -> Observation:
    """300 streams, and as many requests at the broker."""
    broker = None if requests is None else BrokerCount(1, 1, requests, requests, 0)
    return observation(index, levels, ledger=ledger, broker=broker)


def grown(
    first: Mapping[Key, float],
    last: Mapping[Key, float],
    *,
    requests: int | None = 600,
    verdict: Verdict = LEAKING,
) -> tuple[Growth, ...]:
    """The reported growth over two cycles of 300 streams each; the first is the base."""
    seen = [cycle(0, first, requests), cycle(1, last, requests)]
    return measure(trial([], observations=seen, verdict=verdict)).growth


def test_a_measurement_has_the_figures_of_its_trial() -> None:
    seen = [
        cycle(0, {}, 10, events=4, stream_seconds=2.0),
        cycle(1, {}, None, events=5),
        cycle(2, {}, 30, events=6),
    ]
    one = trial(
        [], observations=seen, verdict=LEAKING, started=3.0, about=About(confirmed=True, note="as it is")
    )
    assert measure(one) == Measurement("leaking", True, "as it is", 97.0, 900, 40, 15)
    assert not measure(one).crashed
    assert not measure(replace(one, about=About(confirmed=None))).expected


def test_a_trial_that_was_never_judged_is_named() -> None:
    with pytest.raises(ValueError, match=r"^trial scripted was never judged$"):
        measure(trial([10.0]))


def test_a_crash_has_its_time_streams_and_signature() -> None:
    tail = ("x", "OSError: [Errno 24] Too many open files")
    crash = Crash(1, None, "out-of-descriptors", tail[1], 4.567, 120)
    one = replace(
        trial([10.0], started=3.0),
        exit=ExitInfo(1, 4.567, 120, tail),
        verdict=Verdict(Outcome.CRASHED, "", crash=crash),
    )
    found = measure(one)
    assert (found.crashed, found.seconds, found.connections) == (True, 4.57, 120)
    assert found.signature == "out-of-descriptors, exit code 1"
    assert found.seen
    killed = replace(crash, signature=None, signal="SIGKILL")
    assert measure(replace(one, verdict=Verdict(Outcome.CRASHED, "", crash=killed))).signature == (
        "no known signature, SIGKILL"
    )


def test_the_log_of_a_stopped_service_is_searched_for_signatures() -> None:
    tail = ("x", "OSError: [Errno 24] Too many open files")
    stopped = trial([10.0], verdict=LEAKING, about=About(last_lines=tail))
    assert (
        measure(stopped).seen
        == measure(replace(stopped, exit=ExitInfo(1, 1.0, 1, tail), about=About())).seen
        != ()
    )
    assert measure(replace(stopped, exit=ExitInfo(1, 1.0, 1, ()))).seen == (), (
        "of one that exited, its log decides"
    )
    far = ("x" * 500 + tail[1],)
    assert measure(replace(stopped, about=About(last_lines=far))).seen == (), (
        "a line is read up to 500 characters"
    )


def test_only_a_ramp_has_a_pace_and_only_of_cycles_that_a_broker_counted() -> None:
    seen = [
        cycle(0, {}, 100, stream_seconds=20.0),
        cycle(1, {}, None, stream_seconds=20.0),
        cycle(2, {}, 50, stream_seconds=0.0),
    ]
    one = trial([], observations=seen, verdict=LEAKING, about=About(ramp=(1, 2)))
    assert measure(one).pace == ((50, 250.0),)
    assert measure(replace(one, about=About())).pace == ()


@pytest.mark.parametrize(
    ("outcome", "advice", "told"),
    [
        (Outcome.INCONCLUSIVE, "run more", "run more"),
        (Outcome.INCONCLUSIVE, "", "too little"),
        (Outcome.LEAKING, "close it", ""),
    ],
)
def test_only_an_undecided_trial_has_advice(outcome: Outcome, advice: str, told: str) -> None:
    assert measure(trial([10.0], verdict=Verdict(outcome, "too little", advice=advice))).advice == told


def test_growth_is_per_check_and_of_sockets_of_clients_per_connection() -> None:
    first, last = (
        {EVENTFD: 4.0, THREADS: 2.0, FDS: 9.0},
        {EVENTFD: 604.0, THREADS: 302.0, FDS: 1e4, TCP_IN: 150.0},
    )
    assert grown(first, last) == (
        Growth("eventfd", 1.0, "check"),
        Growth("threads", 0.5, "check"),
        Growth("tcp-in", 0.5, "connection"),
    )
    assert grown(first, last, requests=0)[0] == Growth("eventfd", 2.0, "connection")
    assert grown(first, last, requests=None)[0] == Growth("eventfd", 2.0, "connection")
    port = {Key("fds", "tcp-out:9797"): 600.0, Key("threads", "worker"): 900.0}
    assert grown({FDS: 9.0}, port) == (Growth("tcp-out", 1.0, "check"),), (
        "without its port, and threads as a whole"
    )


def test_growth_below_the_least_is_none_and_four_kinds_are_kept() -> None:
    base = {FDS: 9.0}
    assert grown(base, {EVENTFD: 600 * MIN_GROWTH}) == (Growth("eventfd", MIN_GROWTH, "check"),)
    assert grown(base, {EVENTFD: 600 * MIN_GROWTH - 0.1}) == ()
    many = {Key("fds", name): 600.0 * (n + 1) for n, name in enumerate("abcde")}
    assert [one.kind for one in grown(base, many)] == ["e", "d", "c", "b"], "greatest first"


def test_a_bounded_trial_has_no_growth_and_one_level_shows_none() -> None:
    assert grown({FDS: 9.0}, {EVENTFD: 600.0}, verdict=Verdict(Outcome.BOUNDED, "")) == ()
    assert measure(trial([], observations=[cycle(0, {EVENTFD: 600.0}, 1)], verdict=LEAKING)).growth == ()


def test_findings_add_what_was_not_counted_per_check() -> None:
    def finding(metric: str, kind: str, status: str = "leaking") -> Finding:
        return Finding(metric, kind, status, "event", Rate(2.0, 1.0, 3.0, f"{metric}/event"), "")

    found = (
        finding("memory", "objects"), finding("fds", "eventfd"), finding("threads", ""), finding("mappings", ""),
        finding("broker-peers", ""), finding("tasks", "", "suspected"), replace(finding("tasks", "x"), rate=None),
    )  # fmt: skip
    verdict = Verdict(Outcome.LEAKING, "", findings=found)
    objects = Growth("memory objects", 2.0, "event")
    assert grown({EVENTFD: 0.0}, {EVENTFD: 600.0}, verdict=verdict) == (
        Growth("eventfd", 1.0, "check"),
        objects,
    )
    assert grown({}, {}, verdict=verdict) == (
        objects, Growth("fds eventfd", 2.0, "event"), Growth("threads", 2.0, "event"))  # fmt: skip


def test_no_more_than_four_kinds_with_those_of_findings() -> None:
    many = {Key("fds", name): 600.0 * (n + 1) for n, name in enumerate("abcd")}
    extra = Finding("memory", "objects", "leaking", "event", Rate(2.0, 1.0, 3.0, "objects/event"), "")
    assert len(grown({FDS: 9.0}, many, verdict=Verdict(Outcome.LEAKING, "", findings=(extra,)))) == 4


def names(one: Trial) -> list[str]:
    return [grown.kind for grown in measure(one).growth]


def test_cycles_without_levels_are_passed_over_and_the_base_costs_no_checks() -> None:
    seen = [cycle(0, {EVENTFD: 3.0}, 999), cycle(1, {}, 300), cycle(2, {EVENTFD: 303.0}, 300)]
    one = trial([], observations=seen, verdict=LEAKING)
    assert names(one) == ["eventfd"]
    assert measure(one).growth[0].value == 1.0
