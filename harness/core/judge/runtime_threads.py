"""Threads that the runtime of a service starts by itself: they are no leak of the service."""

from __future__ import annotations

from dataclasses import replace

from harness.core.judge.assessed import Assessed
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.stats.distributions import poisson_interval

# Threads that a runtime starts by itself, to compile, or when all of its threads wait in the kernel, as on a busy
# machine: on two cores Go went from 5 to 8 and stayed there, once from 11 to 22 in one cycle of 2,200 streams that each
# opened a file; a JVM went from 24 to 32. Python starts none.
OF_RUNTIME = {"go": 8.0, "jvm": 16.0, "node": 8.0}
MAX_RISING_CYCLES = 2  # cycles; growth per stream at this rate would occur in more of them
THREADS = (Key("threads"), Key("tasks", "java-thread"))
# Expected leaks that all fail to appear with a probability of 5 % (the rule of three).
MIN_EXPECTED_LEAKS = 3.0


def bound_runtime_threads(trial: Trial, key: Key, one: Assessed, rises: int, peak: int) -> Assessed:
    """Attribute threads that follow no driver to the runtime, once as many streams as a pass needs were answered: a few
    threads, or at most one for each stream open at once if they appeared in MAX_RISING_CYCLES cycles.

    rises: cycles in which their number rose. peak: most streams open at once.
    """
    most = OF_RUNTIME.get(trial.target.runtime, 0.0) if runs_threads(trial, key) else 0.0
    if most and rises <= MAX_RISING_CYCLES:
        most = max(most, float(peak))
    if (
        one.status != "undecided"
        or not 0 < one.total <= most
        or one.exposure * trial.sensitivity < MIN_EXPECTED_LEAKS
    ):
        return one
    _, _, high = poisson_interval(one.total, one.exposure)
    why = f"grew by {one.total:g}, as threads of the {trial.target.runtime} runtime itself do"
    return replace(one, status="bounded", at_most=high, why=why, growing=False)


def runs_threads(trial: Trial, key: Key) -> bool:
    """Whether the key counts threads that the runtime starts by itself."""
    return key in THREADS and trial.target.runtime in OF_RUNTIME
