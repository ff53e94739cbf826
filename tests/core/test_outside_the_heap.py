"""Memory outside the heap of a runtime, which its own counter reads: Node's buffers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.verdict import Outcome
from tests.core.series import FDS, observation, trial

EXTERNAL, HEAP, OBJECTS = (
    Key("memory", "external-bytes"),
    Key("memory", "heap-bytes"),
    Key("memory", "objects"),
)


def growing(each: float) -> list[dict[Key, float]]:
    """Levels of a Node whose buffers grow by so many bytes per stream, 300 to 2,400 streams a cycle."""
    return [
        {FDS: 20.0, OBJECTS: 8_000.0, HEAP: 4.2e6 + 900.0 * (index % 3), EXTERNAL: 1.8e6 + each * opened}
        for index, opened in enumerate((300, 600, 900, 1_200, 1_800, 3_000, 3_600, 6_000, 8_400))
    ]


@pytest.mark.parametrize(("each", "outcome"), [(4_000.0, Outcome.LEAKING), (0.0, Outcome.BOUNDED)])
def test_buffers_outside_the_heap_are_judged_although_no_object_was_added(
    each: float, outcome: Outcome
) -> None:
    """One transcript that every stream makes longer is the same number of objects all the time."""
    sizes = (300, 300, 300, 300, 600, 1_200, 600, 2_400, 2_400)
    cycles = [
        observation(index, levels, opened=opened, ledger={"answered": opened})
        for index, (levels, opened) in enumerate(zip(growing(each), sizes, strict=True))
    ]
    verdict = judge(replace(trial([], observations=cycles), retention=0.0))
    assert verdict.outcome is outcome, verdict.explanation
    if outcome is Outcome.LEAKING:
        (finding,) = verdict.findings
        assert (finding.metric, finding.kind, finding.driver) == ("memory", "external-bytes", "connection")
        assert finding.rate is not None
        assert finding.rate.low <= each <= finding.rate.high
