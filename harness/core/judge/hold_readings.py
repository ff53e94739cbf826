"""The hold cycles of a trial, and which of their readings count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from harness.core.cycle import Observation, Phase, Reading
from harness.core.judge.continuing import MIN_READINGS
from harness.core.record import Trial

# Share of a hold, from its start, in which connections are set up and first buffers are allocated.
SETTLE_SHARE = 0.25
MAX_SETTLE_SECONDS = 5.0


def holds(trial: Trial) -> list[Observation]:
    """The hold cycles, including one that was cut short, because its readings are valid."""
    return [o for o in trial.observations if o.spec.phase is Phase.HOLD and o.connected]


def settled_readings(seen: Observation) -> Sequence[Reading]:
    """The readings of a hold that count."""
    began = seen.started
    left = seen.load_ended if seen.load_ended is not None else seen.ended
    settling = min(MAX_SETTLE_SECONDS, SETTLE_SHARE * (left - began))
    return _connected([r for r in seen.connected if r.at >= began + settling], seen)


def readable(seen: Observation) -> bool:
    """Whether enough readings of a hold count for it to show anything."""
    return len(settled_readings(seen)) >= MIN_READINGS


def _connected(read: Sequence[Reading], seen: Observation) -> Sequence[Reading]:
    """The readings that a busy service certainly answered while its clients were connected: a late one may have been
    answered after the first client had disconnected."""
    slowest = max((after.at - before.at for before, after in pairwise(read)), default=0.0)
    end = seen.started + seen.spec.dwell if seen.spec.dwell > 0 else math.inf
    early = [reading for reading in read if reading.at + slowest <= end]
    return early if len(early) >= MIN_READINGS else read
