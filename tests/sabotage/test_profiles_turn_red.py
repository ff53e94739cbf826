"""The reference service's crashing profiles turn red, each for its own reason."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.record import Trial
from harness.core.verdict import Outcome
from harness.experiment.reproduce import LoadOverrides, confirmed, describe, setup_for
from harness.experiment.run import Run


def run(name: str, tmp_path: Path) -> tuple[Trial, bool, str]:
    spec = describe()[name]
    made = Run(command="test", seed=1, out=tmp_path / "run", interrupt=threading.Event())
    # Each crashes long before that; a busy machine is slower.
    trial = made.trial(setup_for(spec, LoadOverrides(max_seconds=90.0)))
    good, why = confirmed(replace(trial), spec)
    return trial, good, why


def test_original_crashes_by_exhaustion(tmp_path: Path) -> None:
    trial, good, why = run("original", tmp_path)
    assert trial.verdict is not None
    assert trial.verdict.outcome is Outcome.CRASHED, trial.verdict.explain()
    assert good, why
    assert trial.exit is not None
    assert any("Too many open files" in line for line in trial.exit.log_tail)
    assert trial.verdict.crash is not None
    assert trial.verdict.crash.grown.get("fds/eventfd", 0) > 50, "sockets had piled up before it died"


def test_upstream_crashes_inside_libzmq(tmp_path: Path) -> None:
    trial, good, why = run("upstream", tmp_path)
    assert trial.verdict is not None
    assert trial.verdict.outcome is Outcome.CRASHED, trial.verdict.explain()
    assert good, why
    assert trial.exit is not None
    assert trial.exit.returncode in (-6, -8, -11)


@pytest.mark.parametrize("name", ["solution-1", "solution-3"])
def test_the_attempted_solutions_still_crash(name: str, tmp_path: Path) -> None:
    trial, good, why = run(name, tmp_path)
    assert trial.verdict is not None
    assert trial.verdict.outcome is Outcome.CRASHED, trial.verdict.explain()
    assert good, why
