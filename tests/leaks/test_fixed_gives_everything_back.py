"""What CI guards: the fixed reference service keeps descriptors, sockets, threads and memory bounded."""

from __future__ import annotations

import threading
from pathlib import Path

from harness.core.metric import Key
from harness.core.verdict import Outcome
from harness.experiment.reproduce import Wish, describe, setup_for
from harness.experiment.run import Run

MEMORY_PER_CONNECTION = 16 * 1024  # bytes: above any allocator's staircase, far below a leaked stream


def test_fixed_is_bounded(tmp_path: Path) -> None:
    made = Run(command="test", seed=1, out=tmp_path / "run", interrupt=threading.Event())
    trial = made.trial(setup_for(describe()["fixed"], Wish()))
    verdict = trial.verdict
    assert verdict is not None
    assert verdict.outcome is Outcome.BOUNDED, verdict.explain()
    bounds = {(bound.metric, bound.kind): bound for bound in verdict.bounds}
    for metric in ("fds", "threads"):
        assert bounds[metric, ""].at_most <= trial.sensitivity
    loads = [o for o in trial.observations if o.levels]
    assert loads[-1].levels.get(Key("fds", "close-wait"), 0) == 0
    assert loads[-1].levels.get(Key("fds", "tcp-in"), 0) == 0
    assert bounds["memory", "anonymous"].at_most <= MEMORY_PER_CONNECTION
