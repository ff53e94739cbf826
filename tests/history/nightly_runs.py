"""Nightly runs as plain values."""

from __future__ import annotations

import datetime
import random
from collections.abc import Sequence
from dataclasses import replace

from harness.core.history import Measured, RunEntry, TrialEntry

START = datetime.datetime(2026, 1, 1, 2, tzinfo=datetime.UTC)


def measured(rate: float, *, metric: str = "fds", kind: str = "eventfd", half: float = 0.002) -> Measured:
    """One metric with an interval of ± half."""
    status = "leaking" if rate - half > 0.01 else "bounded"
    return Measured(
        metric, kind, status, rate, rate - half, rate + half, f"{metric}/connection", at_most=0.001
    )


def nightly_run(number: int, *metrics: Measured, target: str = "app.py /events", **more: object) -> RunEntry:
    """One nightly run."""
    leaking = any(one.status == "leaking" for one in metrics)
    outcome = "leaking" if leaking else "bounded"
    trial = TrialEntry(
        "soak", target, "", "stream", "300 connections", 1e-3, "python", "3.11.7", outcome, f"it is {outcome}",
        5800, 300.0, metrics,
    )  # fmt: skip
    started = START + datetime.timedelta(days=number)
    entry = RunEntry(
        digest=f"{number:064x}", run_id=f"{started:%Y-%m-%dT%H-%M-%S}-{number}", command="harness soak",
        started_at=started.isoformat(), outcome=outcome, exit_code=int(leaking), kernel="6.1.0",
        machine_class="x86_64, 2 cores, 4 GiB", commit=f"{number:07x}" * 5, branch="main", dirty=False,
        ci_job=f"https://ci.example/{number}", harness_version="0.1.0", path=f"reports/{number}", trials=(trial,),
    )  # fmt: skip
    return replace(entry, **more)  # type: ignore[arg-type]


def nightly_runs(rates: Sequence[float], **more: object) -> list[RunEntry]:
    """One run for each rate of ``fds/eventfd``; ``threads`` stays at zero."""
    return [
        nightly_run(number, measured(rate), measured(0.0, metric="threads", kind=""), **more)  # type: ignore[arg-type]
        for number, rate in enumerate(rates)
    ]


def month(leak_from: int = 18, length: int = 30, seed: int = 1) -> list[RunEntry]:
    """A month with a leak of 0.21 descriptors per connection from one night on."""
    noise = random.Random(seed)
    return nightly_runs([(0.21 if n >= leak_from else 0.0) + noise.gauss(0, 0.0007) for n in range(length)])
