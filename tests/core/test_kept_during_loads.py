"""Objects that loads leave without a pause: which of them outlived the retention time is known without a wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.core.judge.counts import assess_counts
from harness.core.judge.moments import moments
from harness.core.metric import Key
from harness.core.record import Trial
from tests.core.series import observation, trial

OBJECTS = Key("memory", "objects")
STREAMS, EACH = 600, 6.0


def loaded(seconds: float, kept: Callable[[float, float], float], cycles: int = 13) -> Trial:
    """Loads of so many seconds each. kept: what is left at a time of the streams that had left at another one."""
    done = []
    for index in range(cycles):
        start = seconds * index
        now = start + seconds
        left = sum(STREAMS * kept(now, seconds * past + seconds - 0.5) for past in range(index + 1))
        one = observation(index, {OBJECTS: 50_000.0 + left}, opened=STREAMS, ledger={"answered": STREAMS})
        done.append(replace(one, started=start, load_ended=now - 0.5, ended=now))
    return replace(trial([], observations=done), retention=60.0)


def status(now: Trial) -> str:
    return assess_counts(now, moments(now))[OBJECTS].status


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(8.0, "leaking"), (4.0, "suspected")],  # the second has shown nothing that is older than a minute
)
def test_objects_that_later_loads_did_not_replace_have_outlived_the_retention_time(
    seconds: float, expected: str
) -> None:
    """Six objects for each stream, of a service that sends an event every half second. The 4,096 streams of a cache
    took 90 of 120 seconds, so that a wait of a minute never fitted in, and the leak was left undecided."""
    assert status(loaded(seconds, lambda now, left: EACH)) == expected


@pytest.mark.parametrize("after", [20.0, 45.0, 58.0])
def test_objects_that_are_released_while_loads_go_on_are_no_leak(after: float) -> None:
    assert status(loaded(8.0, lambda now, left: EACH if now - left < after else 0.0)) != "leaking"


def test_objects_that_scatter_need_a_wait() -> None:
    """A pool of buffers may hold them, which each use renews."""
    assert status(loaded(8.0, lambda now, left: EACH + 3.0 * (int(left) // 8 % 2))) != "leaking"
