"""A class of descriptors that has stopped growing, in a service that notices departures late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.core.cycle import Phase
from harness.core.judge.counts import assess_counts
from harness.core.judge.moment import Moment
from harness.core.judge.stopped_classes import stopped_classes
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.verdict import Outcome
from tests.core.series import FDS, observation, trial

DEVICE, SOCKETS = Key("fds", "device"), Key("fds", "close-wait")


def late(devices: Sequence[float]) -> Trial:
    """Loads of 100, 300, 600 and 2,500 streams whose sockets stay until seconds after the last client, and a wait of
    more than a minute; ``devices`` were kept after each load."""
    seen = []
    for index, (opened, kept) in enumerate(zip((100, 300, 600, 2500), devices, strict=True)):
        levels = {FDS: 10.0 + opened + kept, DEVICE: 2.0 + kept, SOCKETS: float(opened)}
        phase = Phase.WARMUP if index < 2 else Phase.LOAD
        seen.append(observation(index, levels, phase=phase, opened=opened))
    for _ in range(30):
        levels = {FDS: 10.0 + devices[-1], DEVICE: 2.0 + devices[-1], SOCKETS: 0.0}
        seen.append(observation(len(seen), levels, phase=Phase.RETENTION, opened=0))
    start = {FDS: 10.0, DEVICE: 2.0, SOCKETS: 0.0}
    return replace(trial([], observations=seen, retention=60.0), initial=start)


def test_a_cache_of_descriptors_that_is_full_is_no_leak_beside_late_sockets() -> None:
    """A C service with a tick of 3 s and a cache of 700 was called leaking, 0.20 descriptors per answered stream: an
    average over streams of which the last 2,584 had added nothing."""
    seen = late([100, 400, 700, 700])
    total = assess_counts(seen)[FDS]
    assert total.status == "undecided"
    assert "700 are device, of which the last 2,500 answered streams added none" in total.why
    assert judge(seen).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("devices", [[100, 400, 1000, 3500], [20, 80, 200, 700]])
def test_what_grew_with_each_load_is_a_leak_beside_late_sockets(devices: list[float]) -> None:
    assert assess_counts(late(devices))[FDS].status == "leaking"
    assert judge(late(devices)).outcome is Outcome.LEAKING


def moments(kept: Sequence[Sequence[float]], each: float = 300.0) -> list[Moment]:
    """Moments after ``each`` more answered streams, with the levels of two classes."""
    return [
        Moment(Phase.LOAD, {DEVICE: one, SOCKETS: other, FDS: one + other}, {"answered": each * n}, 50)
        for n, (one, other) in enumerate(kept)
    ]


@pytest.mark.parametrize(
    ("kept", "stopped"),
    [
        ([(0, 0), (90, 0), (90, 0), (90, 0)], True),
        ([(0, 0), (30, 0), (60, 0), (90, 0), (90, 0), (90, 0)], True),
        ([(0, 0), (30, 0), (60, 0), (90, 0), (90, 0)], False),  # a quarter of the streams says too little
        ([(0, 0), (4, 0), (4, 0), (4, 0)], False),  # so do four units
        ([(0, 0), (90, 50), (90, 90), (90, 140)], False),  # the other class is most of it, and grows
        ([(0, 0), (90, 20), (90, 40), (90, 60)], True),
    ],
)
def test_most_of_what_remained_must_have_stopped_over_a_third_of_the_streams(
    kept: list[tuple[float, float]], stopped: bool
) -> None:
    found = moments(kept)
    assert bool(stopped_classes(found, FDS, 0, len(found) - 1)) is stopped
    assert stopped_classes(found, DEVICE, 0, len(found) - 1) == "", "a class has no classes"
