"""A service with fewer workers than clients: how many it serves at once, and what plan and verdict make of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from harness.core.cycle import CycleSpec, Ledger, Observation, Phase
from harness.core.judge.at_once import as_served, at_once
from harness.core.judge.trial import judge, suspicion
from harness.core.plan import Goal, Stop, next_step
from harness.core.record import Restart, Trial
from harness.core.verdict import Outcome
from tests.core.series import FDS, trial

GOAL = Goal(connections=300, concurrency=50, dwell=2.0, paths=("/",), disconnect="mixed", max_seconds=120.0)
SECONDS_EACH = 1.0  # of a stream, until its worker is free again
TIMEOUT = 2.0  # seconds that a client waits


def served(
    step: CycleSpec, workers: int, start: float, level: Callable[[int], float], before: int
) -> Observation:
    """What a service with so many workers makes of one cycle: a client that waits longer than TIMEOUT leaves."""
    size, wide = step.connections, max(1, min(step.concurrency, step.connections))
    if not size:
        answered, seconds = 0, step.dwell
    elif not step.events:
        answered, seconds = min(size, workers), step.dwell
    elif wide <= workers:
        answered, seconds = size, SECONDS_EACH * size / wide
    else:
        bursts = -(-size // wide)
        answered = min(size, bursts * int(workers * TIMEOUT / SECONDS_EACH))
        seconds = bursts * TIMEOUT
    missed = size - answered
    stalls = missed if step.events else 0
    return Observation(
        spec=step,
        ledger=Ledger(
            opened=size, completed=size - stalls, failed=stalls, events=answered, stalls=stalls, seconds=seconds,
            causes={"stalled": stalls} if stalls else {}, answered=answered, unanswered=missed, peak=wide,
            first_event_p99=0.2 if answered else None,
        ),
        levels={FDS: level(before + answered)},
        started=start,
        ended=start + seconds + 0.5,
        load_ended=start + seconds,
    )  # fmt: skip


def play(workers: int, level: Callable[[int], float] = lambda _: 10.0, goal: Goal = GOAL) -> Trial:
    """A run with the plan against a service with so many workers. level: its descriptors after so many answers."""
    now, streams, clock = trial([], observations=[], retention=goal.retention), 0, 0.0
    for _ in range(60):
        step = next_step(now, goal)
        if not isinstance(step, CycleSpec):
            assert isinstance(step, Stop)
            break
        assert step.index == len(now.observations)
        seen = served(step, workers, clock, level, streams)
        streams, clock = streams + (seen.ledger.answered or 0), seen.ended
        now = replace(now, observations=(*now.observations, seen))
    return now


@pytest.mark.parametrize("workers", [2, 5, 8])
def test_the_clients_at_once_are_as_many_as_there_are_workers(workers: int) -> None:
    """Puma, Sinatra and Waitress with their default threads were "stalled", and nothing was said of leaks."""
    ran = play(workers)
    found = at_once(ran)
    assert found is not None
    assert (found.clients, found.asked) == (workers, 50)
    assert all(o.spec.concurrency <= workers for o in ran.observations[2:])
    verdict = judge(ran)
    assert verdict.outcome is not Outcome.STALLED
    assert f"it served {workers} of 50 clients at once" in verdict.warnings[0]
    assert not any("stalled" in one for one in verdict.warnings[1:]), (
        "what the waiting clients met is no failure"
    )


def test_a_leak_of_a_service_with_few_workers_is_found_at_its_rate() -> None:
    ran = play(5, lambda answered: 10.0 + 2 * answered)
    verdict = judge(ran)
    assert verdict.outcome is Outcome.LEAKING
    assert verdict.findings[0].rate is not None
    assert verdict.findings[0].rate.value == pytest.approx(2.0, rel=0.02)
    # What the cycles with too many clients left behind is not followed: its age would be 32 s.
    assert suspicion(replace(ran, retention=60.0)) == (
        "suspected: +2.00 fds per connection; waiting 26 of 60 s for its release"
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_a_service_that_serves_one_client_at_once_or_none_is_stalled(workers: int) -> None:
    """It may hold a lock while a client is connected."""
    ran = play(workers)
    assert at_once(ran) is None
    assert judge(ran).outcome is Outcome.STALLED


@pytest.mark.parametrize("workers", [30, 50, 400])
def test_a_service_that_serves_most_clients_is_loaded_as_asked(workers: int) -> None:
    ran = play(workers)
    assert at_once(ran) is None
    assert all(o.spec.events for o in ran.observations if o.spec.phase is Phase.WARMUP)


def test_a_cycle_of_the_same_size_each_time_stays_so() -> None:
    """Without --vary the user gets exactly the load that was asked for."""
    ran = play(5, goal=replace(GOAL, vary=False))
    assert {(o.spec.concurrency, o.spec.events) for o in ran.observations} == {(50, 1)}
    assert judge(ran).outcome is Outcome.STALLED


def warm(index: int, at_once: int, answered: int, *, events: int = 1, opened: int = 60) -> Observation:
    missed = opened - answered
    counts = {
        "opened": opened,
        "answered": answered,
        "unanswered": missed,
        "events": answered,
        "stalls": missed,
    }
    spec = CycleSpec(index, opened, at_once, 2.0, events=events, phase=Phase.WARMUP)
    return Observation(
        spec=spec, ledger=Ledger(**counts), levels={FDS: 9.0}, started=index, ended=index + 1.0
    )


@pytest.mark.parametrize(
    ("answered", "clients", "since"),
    [((60,), 8, 2), ((59, 60), 8, 2), ((58, 60), 4, 3), ((40, 40, 60), 2, 4), ((40, 40, 40, 40), 1, 6)],
)
def test_clients_that_still_wait_halve_the_clients_at_once(
    answered: Sequence[int], clients: int, since: int
) -> None:
    """A worker that notices late that its client has left is not free for the next one."""
    cycles = [warm(0, 50, 12), warm(1, 50, 8, events=0, opened=50)]
    cycles += [warm(n, 8, many) for n, many in enumerate(answered, 2)]
    found = at_once(trial([], observations=cycles))
    assert found is not None
    assert (found.clients, found.since) == (clients, since)


def test_a_resumed_soak_keeps_its_processes_apart() -> None:
    cycles = [warm(0, 50, 12), warm(1, 50, 8, events=0, opened=50), *(warm(n, 8, 60) for n in range(2, 8))]
    whole = replace(trial([], observations=cycles), restarts=(Restart(5, 2.0, 1.0),))
    kept = as_served(whole)
    assert [o.spec.index for o in kept.observations] == [2, 3, 4, 5, 6, 7]
    assert kept.restarts[0].after == 3
