"""Anonymous memory that goes with descriptors or threads which are released late is not growth of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.cycle import Phase
from harness.core.judge.counts import assess_counts
from harness.core.judge.following import held_for_departed
from harness.core.judge.memory import MEMORY
from harness.core.judge.memory_over_time import memory_of
from harness.core.judge.moments import moments
from harness.core.judge.trial import judge
from harness.core.record import Trial
from harness.core.verdict import Outcome
from tests.core.series import FDS, observation, trial

STACK = 16_384.0
LOADS = (300, 600, 1200, 2400)


def ticking(stays: float) -> Trial:
    """Each stream holds a descriptor and a stack until the service writes to it next, and ``stays`` bytes for good. All
    has been released once, and the last load is still held."""
    seen, streams = [], 0
    for index, opened in enumerate(LOADS):
        streams += opened
        phase = Phase.WARMUP if index == 0 else Phase.LOAD
        held = {FDS: 4.0 + opened, MEMORY: 4e6 + STACK * opened + stays * streams}
        seen.append(observation(len(seen), held, phase=phase, opened=opened, ledger={"answered": opened}))
        if index == len(LOADS) - 1:
            break
        free = {FDS: 4.0, MEMORY: 4e6 + stays * streams}
        seen.append(observation(len(seen), free, phase=Phase.IDLE, opened=0, ledger={"answered": 0}))
    return replace(trial([], observations=seen, retention=60.0), initial={FDS: 4.0, MEMORY: 4e6})


@pytest.mark.parametrize(
    ("stays", "growing"), [(0.0, False), (4_000.0, False), (4_200.0, True), (8_000.0, True)]
)
def test_only_what_is_left_after_the_release_is_growth(stays: float, growing: bool) -> None:
    """Up to 4 kB per stream healthy services climb while they warm up."""
    one = ticking(stays)
    found, results = moments(one), assess_counts(one)
    memory = memory_of(one, found)
    assert memory is not None
    assert memory.growing, "16 kB per stream are held at the end"
    left = held_for_departed(found, memory, results)
    assert left.growing is growing
    assert ("which is released late" in left.why) is not growing


def test_without_a_release_memory_is_judged_as_it_is() -> None:
    one = ticking(0.0)
    seen = tuple(replace(o, levels={**o.levels, FDS: 4.0}) for o in one.observations)
    still = replace(one, observations=seen)
    memory = memory_of(still, moments(still))
    assert memory is not None
    assert held_for_departed(moments(still), memory, assess_counts(still)) is memory


def test_a_healthy_service_with_a_slow_tick_passes() -> None:
    """Its memory is named in a warning, with the bound that it has."""
    assert judge(replace(ticking(0.0), sensitivity=0.01)).outcome is Outcome.BOUNDED
    assert judge(replace(ticking(8_000.0), sensitivity=0.01)).outcome is Outcome.INCONCLUSIVE
