"""The simulated services of ``bench.detector``: their levels show what was planted."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from bench import _kinds, _kinds_held_back, _kinds_outside
from bench._clock import CycleSums, Load, Start, service
from bench._detector_cells import GROUPS
from bench._services import FDS, PAUSE, Kind, SimulatedService, run
from bench._shapes_leaks import buffered, in_bursts, leak, refusing, steadily
from bench._shapes_memory import recorded
from bench._shapes_timed import burst_pool, idle_pool, janitor, late_fixed, swept, tenants
from bench.detector import options_of, per_second, rows_chosen
from harness.core.cycle import CycleSpec, Observation, Phase
from harness.core.verdict import Rate


def load(index: int, connections: int = 300, concurrency: int = 50) -> CycleSpec:
    return CycleSpec(index, connections, concurrency, 0.3)


def idle(index: int, seconds: float) -> CycleSpec:
    return CycleSpec(index, 0, 50, seconds, phase=Phase.IDLE)


def world(*parts: Start, seed: int = 1) -> SimulatedService:
    return SimulatedService(Kind("test", service(*parts)), random.Random(seed))


def grown(observation: Observation, before: float) -> float:
    return observation.levels[FDS] - before


def base(made: SimulatedService) -> float:
    return made.initial()[FDS]


@pytest.mark.parametrize("seconds", [2.0, 10.0, 60.0])
def test_a_late_release_is_retained_for_its_time_and_then_freed(seconds: float) -> None:
    made = world(late_fixed(seconds))
    low = base(made)
    first = made.cycle(load(0))
    assert grown(first, low) == 300
    left = first.load_ended or 0.0
    before = made.cycle(idle(1, left + seconds - made.at - 2.5)) if seconds > 5 else None
    assert before is None or grown(before, low) == 300
    assert grown(made.cycle(idle(2, seconds)), low) == 0
    again = made.cycle(load(3))
    assert grown(again, low) == 300, "the second cohort is one of its own"


TRACES = [
    *(Path(_kinds.__file__).parent / "traces").glob("*.json"),
    *_kinds_held_back.TRACES_HELD_BACK.glob("*.json"),
]


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
def test_a_recorded_server_never_leaves_the_levels_that_were_read(trace: Path) -> None:
    """A trace that is continued by its own steps from a random place adds up to a leak which the server does not have,
    if its last level is above the others: 848 B per connection in ``node-garbage``."""
    read = json.loads(trace.read_text())["levels"].get("memory/anonymous")
    assert read, "the trace has no levels of anonymous memory"
    start = random.Random(7)
    level = recorded(trace.stem, traces=trace.parent)(start)
    did = CycleSums(0, 1500, 0, 0, 0, 0, 1.0, 0)
    seen = [level(did, start) for _ in range(150)]
    late = read[len(read) // 2 :]
    assert all(min(read) <= one <= max(read) for one in seen)
    assert all(min(late) <= one <= max(late) for one in seen[20:]), "the second half is what is repeated"
    assert len(set(seen)) > 1


def test_a_release_is_seen_while_no_client_is_there() -> None:
    made = world(late_fixed(5.0))
    first = made.cycle(load(0))
    made.cycle(idle(1, 8.0))
    falls = [at for at, fds, _ in made.idle_counts if fds == base(world(late_fixed(5.0)))]
    assert falls
    assert falls[0] == pytest.approx((first.load_ended or 0.0) + 5.0, abs=0.2)


def test_a_sweep_releases_everything_at_one_moment() -> None:
    made = world(swept(30.0))
    low = base(made)
    made.cycle(load(0))
    made.cycle(idle(1, 31.0))
    counts = [fds for _, fds, _ in made.idle_counts]
    assert counts == [low + 300, low]


def test_a_level_is_read_only_once_a_release_in_progress_has_ended() -> None:
    made = world(late_fixed(2.0))
    slow = made.cycle(load(0, connections=6000))  # lasts longer than a release takes
    assert (slow.load_ended or 0.0) - slow.started > 5
    assert slow.settled
    assert slow.ended - (slow.load_ended or 0.0) >= 2.9
    assert grown(slow, base(world(late_fixed(2.0)))) == 0


def test_a_pool_takes_the_same_in_each_burst_and_a_leak_follows_the_streams() -> None:
    made, low = world(burst_pool(7, 20)), base(world(burst_pool(7, 20)))
    levels = [grown(made.cycle(load(i, n)), low) for i, n in enumerate((100, 900, 300, 300))]
    assert levels == [7, 14, 20, 20]
    made = world(leak(0.5, draw=steadily))
    low = base(made)
    assert [grown(made.cycle(load(i, n)), low) for i, n in enumerate((100, 900))] == [50, 500]


def test_idle_threads_end_after_their_timeout_alone() -> None:
    made = world(idle_pool(20, 200, idle=60.0, least=10.0), seed=3)
    low = base(made)
    for index in range(3):
        made.cycle(load(index))
    assert grown(made.cycle(idle(3, 30.0)), low) >= 40
    assert grown(made.cycle(idle(4, 40.0)), low) == 10


@pytest.mark.parametrize(("skew", "most"), [(0.0, 120), (1.0, 110)])
def test_tenants_are_finite_and_the_rare_ones_come_late(skew: float, most: int) -> None:
    made = world(tenants(120, skew))
    low = base(made)
    first = grown(made.cycle(load(0, 200)), low)
    assert 30 < first < most
    assert grown(made.cycle(load(1, 20_000)), low) == 120


def test_a_janitor_frees_by_count() -> None:
    made = world(janitor(1000))
    low = base(made)
    levels = [grown(made.cycle(load(i, 300)), low) for i in range(8)]
    assert max(levels) < 1000
    assert sum(after < before for before, after in pairwise(levels)) == 2


def test_bursts_come_by_their_size() -> None:
    made = world(leak(0.1, draw=in_bursts(10)))
    low = base(made)
    levels = [grown(made.cycle(load(i, 1000)), low) for i in range(5)]
    assert all(level % 10 == 0 for level in levels)
    assert 250 < levels[-1] < 800


def test_refused_connections_are_no_exposure() -> None:
    made = world(refusing(0.3), leak(1.0, "answered", steadily))
    low = base(made)
    seen = made.cycle(CycleSpec(0, 1000, 50, 0.3, disconnect="mixed"))
    ledger = seen.ledger
    assert ledger.answered is not None
    assert grown(seen, low) == ledger.answered
    assert (ledger.opened, ledger.reset) == (1000, 200)
    assert ledger.opened == ledger.completed + ledger.failed
    assert ledger.opened == ledger.answered + ledger.refused + ledger.reset
    assert ledger.statuses == {429: ledger.refused}
    assert ledger.rate_limited == ledger.refused > 150


def test_a_cap_answers_with_its_status_for_good() -> None:
    made = world(leak(1.0, "answered", steadily, cap=500))
    low = base(made)
    first, second, third = (made.cycle(load(i)) for i in range(3))
    assert grown(first, low) == 300
    assert grown(second, low) == grown(third, low) == 500
    assert second.ledger.opened_before_failure == 200
    assert second.ledger.answered_after_failure == 0
    assert second.ledger.first_failure == "status-500"
    assert third.ledger.answered == 0


def test_cycles_take_the_time_of_real_ones() -> None:
    made = world()
    first, second = made.cycle(load(0)), made.cycle(load(1))
    assert first.ended - (first.load_ended or 0.0) == pytest.approx(1.05, abs=0.1)
    assert second.started - first.ended == pytest.approx(PAUSE)


def test_streams_end_over_the_whole_load_and_all_of_them_end() -> None:
    did = CycleSums(0, 500, 500, 0, 0, 0, 6.0, 500, answered=400)
    ends = list(Load(did, 10.0, 15.0, 50).departures(400))
    assert sum(count for _, count in ends) == 400
    assert ends[0][0] == pytest.approx(10.6, abs=0.2)
    assert ends[-1][0] == 15.0


def test_a_hold_shows_what_clients_hold_while_they_are_connected() -> None:
    made = world(buffered(10.0, 50.0, cap=100.0))
    low = base(made)
    hold = CycleSpec(0, 50, 50, 5.0, events=0, phase=Phase.HOLD, stalled=25)
    seen = made.cycle(hold)
    levels = [reading.levels[FDS] - low - 50 for reading in seen.connected]
    assert levels[0] == 0
    assert levels[4] == pytest.approx(25 * 20 + 25 * 100), "after two seconds, the stalled ones are full"
    assert grown(seen, low) == 0, "freed at the disconnect"
    assert seen.ledger.events == 25 * 50


@pytest.mark.parametrize("kinds", [_kinds_outside.HEALTHY_OUTSIDE, _kinds_outside.LEAKING_OUTSIDE])
def test_the_same_seed_gives_the_same_run(kinds: tuple[Kind, ...]) -> None:
    for kind in kinds[::12]:
        short = replace(kind, goal=replace(kind.goal, max_seconds=30.0))
        assert run(short, 7) == run(short, 7)


def test_half_of_the_rows_are_held_back_and_no_name_is_there_twice() -> None:
    kinds = [kind for group in GROUPS.values() for kind in group]
    held = [kind for kind in kinds if kind.held_back]
    assert 2 * len(held) >= len(kinds)
    names = [f"{group}: {kind.name}" for group, rows in GROUPS.items() for kind in rows]
    assert len(set(names)) == len(names)


def test_rows_held_back_run_only_when_requested() -> None:
    def held(choice: str) -> set[bool]:
        return {GROUPS[group][index].held_back for group, index in rows_chosen("", choice)}

    assert held("without") == {False}
    assert held("only") == {True}
    assert held("with") == {False, True}
    names = {GROUPS[g][i].name for g, i in rows_chosen("^healthy counts: swept every [36]0 s$", "with")}
    assert names == {"swept every 30 s", "swept every 60 s"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rows", "("], "--rows '('"),
        (["--runs", "0"], "--runs 0"),
        (["--jobs", "0"], "--jobs 0"),
        (["--held-back", "some"], "some"),
    ],
)
def test_a_wrong_option_is_named(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        options_of(arguments)
    assert words in capsys.readouterr().err


def test_a_rate_per_hour_is_measured_by_the_second() -> None:
    assert per_second(Rate(10_800.0, 7200.0, 14_400.0, "fds/hour")) == (2.0, 4.0)
    assert per_second(Rate(3.0, 2.0, 4.0, "fds/connection")) == (2.0, 4.0)


def test_held_back_seeds_are_never_those_of_other_rows() -> None:
    assert _kinds_held_back.FIRST_SEED > 3000
    assert not any(kind.held_back for kind in (*_kinds.HEALTHY_COUNTS, *_kinds_outside.HEALTHY_OUTSIDE))
