"""The search for the place of a leak never drives the service into the ceiling that the leak would meet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.experiment.inside import ROOM, SMALLEST, attribution_cycle
from tests.core.series import trial


@pytest.mark.parametrize(("nofile", "size"), [(20_000, SMALLEST), (1024, (1024 - 910) // ROOM)])
def test_cycles_of_attribution_fit_below_the_nearest_ceiling(nofile: int, size: int) -> None:
    leaking = trial([310, 610, 910])
    limited = replace(leaking, target=replace(leaking.target, limits={"RLIMIT_NOFILE": float(nofile)}))
    chosen = attribution_cycle(limited)
    assert chosen is not None
    assert chosen[0].connections == size


def test_with_no_room_at_all_none_is_run() -> None:
    leaking = trial([310, 610, 910])
    limited = replace(leaking, target=replace(leaking.target, limits={"RLIMIT_NOFILE": 930.0}))
    assert attribution_cycle(limited) is None
