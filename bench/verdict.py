"""Measures how long a verdict takes, and the CPU time of the harness while it watches an idle service.

python -m bench.verdict [--json FILE]

Seconds are from the first cycle until the verdict is certain, start-up of the service aside; the search for its place
in the source, which follows, is printed beside it. The share of CPU is that of every process of the harness (itself,
its swarm and their supervisors; not the service) over all settle windows of a run, as a share of one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from harness.core.design import elapsed_seconds
from harness.core.verdict import Outcome
from harness.experiment.guard import Guarded, guard_once
from harness.experiment.levels import LevelReader
from harness.experiment.options import request_of
from harness.experiment.settle import SettleResult

SERVICES = Path(__file__).parents[1] / "tests" / "services"
SHARE = 0.01  # of a core, at most, while the service is idle
PASS = 2.5e-4  # descriptors per connection


@dataclass(frozen=True, slots=True)
class VerdictGoal:
    """One guard. limit: seconds from the first cycle to the verdict. load: options of the guard."""

    name: str
    behaviour: str
    outcome: Outcome
    limit: float
    load: dict[str, Any] = field(default_factory=dict)


PROMISES = (
    VerdictGoal("leak of one descriptor per connection", "eventfd@connection", Outcome.LEAKING, 10.0),
    VerdictGoal("leak of one object per connection", "object@connection", Outcome.LEAKING, 10.0),
    VerdictGoal(
        "pass certified at 2.5e-4 descriptors per connection",
        "healthy",
        Outcome.BOUNDED,
        60.0,
        {"sensitivity": PASS},
    ),
    VerdictGoal(
        "memory verdict without runtime counters, a pass",
        "healthy",
        Outcome.BOUNDED,
        180.0,
        {"runtime": "none", "max_time": 180.0},
    ),
    VerdictGoal(
        "memory verdict without runtime counters, a leak of 4 KiB",
        "malloc@connection",
        Outcome.LEAKING,
        180.0,
        {"runtime": "none", "max_time": 180.0},
    ),
)


def own_processes(target: int) -> list[psutil.Process]:
    """This process and its descendants, without the service's."""
    own = psutil.Process()
    service = {target, *(child.pid for child in psutil.Process(target).children(recursive=True))}
    return [process for process in (own, *own.children(recursive=True)) if process.pid not in service]


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """CPU seconds of these processes so far."""
    used = [process.cpu_times() for process in processes]
    return float(sum(one.user + one.system for one in used))


@contextmanager
def watched() -> Iterator[list[tuple[float, float]]]:
    """Every settling phase meanwhile: its seconds, and the CPU seconds that the harness used in it."""
    windows: list[tuple[float, float]] = []
    real = LevelReader.settle

    def settle(self: LevelReader, tick: Callable[[], None]) -> SettleResult:
        processes = own_processes(self.target.pid)
        began, before = self.context.clock(), cpu_seconds(processes)
        result = real(self, tick)
        if self.target.alive:
            windows.append((self.context.clock() - began, cpu_seconds(processes) - before))
        return result

    LevelReader.settle = settle  # type: ignore[method-assign]
    try:
        yield windows
    finally:
        LevelReader.settle = real  # type: ignore[method-assign]


def guard(promise: VerdictGoal, folder: Path) -> tuple[Guarded, float, float]:
    """The guard, and the seconds from its first cycle until it was certain, and until its place was found too."""
    command = (sys.executable, str(SERVICES / "asyncio_service.py"), "{port}", promise.behaviour)
    request = request_of(
        url="http://127.0.0.1:{port}/events",
        command=command,
        out=folder / "run",
        retention=0.0,
        **promise.load,
    )
    done = guard_once(request, command="bench.verdict")
    return done, elapsed_seconds(done.trial), done.trial.ended - done.trial.observations[0].started


def main() -> None:
    """Guard, one after another, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    shares: list[tuple[float, float]] = []

    def row(metric: str, value: float, unit: str, target: float, right: bool) -> None:
        holds = right and value <= target
        rows.append(
            {
                "metric": metric,
                "value": round(value, 4),
                "unit": unit,
                "rival": "budget",
                "rival_value": target,
                "ratio": round(value / target, 4),
                "target": 1.0,
                "holds": holds,
            }
        )
        print(
            f"{metric:60} {value:8.4g} {unit}, at most {target:g}{'' if holds else '   NOT HELD'}", flush=True
        )

    for promise in PROMISES:
        with tempfile.TemporaryDirectory() as folder, watched() as windows:
            done, seconds, whole = guard(promise, Path(folder))
        right = done.verdict.outcome is promise.outcome
        if not right:
            print(f"expected {promise.outcome.value}, saw {done.verdict.explanation}")
        row(promise.name, seconds, "s", promise.limit, right)
        if done.verdict.outcome is Outcome.LEAKING:
            print(f"    its place in the source after {whole:.4g} s")
        shares += windows
    share = sum(used for _, used in shares) / sum(length for length, _ in shares)
    row("the harness's own share of a core during quiet", share, "cores", SHARE, True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    sys.exit(0 if all(entry["holds"] for entry in rows) else 1)


if __name__ == "__main__":
    main()
