"""Each limit of the test for anonymous memory, with a series just inside it and one just outside."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from harness.core.cycle import Phase
from harness.core.judge.assessed import Allowed, Assessed
from harness.core.judge.memory import MEMORY, assess_memory, gives_back, joined, rising, sign_evidence
from harness.core.judge.moment import Moment
from harness.core.judge.moments import Series

LEAKING, OPEN, PASS = "leaking", "undecided", "bounded"
MIB = 1 << 20
BLOCK = 2048
LATE = 9000.0  # connections: the warm-up is over


def levels(rises: Sequence[float]) -> list[float]:
    found = [2e7]
    for value in rises:
        found.append(found[-1] + value)
    return found


def blocks(
    rises: Sequence[float], *, before: float = LATE, clients: float = BLOCK, allowed: Allowed | None = None
) -> Assessed:
    """The judgement of cycles of so many clients each, of 3 s; ``before`` came in a warm-up."""
    found = []
    for index, level in enumerate(levels(rises)):
        served = before + clients * index
        done = {"connection": served, "answered": served, "cycle": index + 1.0, "reading": index + 1.0}
        phase = Phase.LOAD if index else Phase.WARMUP
        at = 3.0 * (index + 1)
        found.append(Moment(phase, {MEMORY: level}, {**done, "time": at}, 50, at - 2, at - 1))
    one = assess_memory(found, MEMORY, allowed or Allowed())
    assert one is not None
    return one


def series(rises: Sequence[float], clients: float = 300) -> Series:
    return Series(MEMORY, tuple(levels(rises)), tuple({"connection": float(clients)} for _ in rises), 50)


UP = 1e6


def rising_except(length: int, falls: int, of: float = UP) -> list[float]:
    """A number of blocks that rise, except for some."""
    rises = [of] * length
    for index in range(falls):
        rises[3 * index + 1] = 0.0
    return rises


@pytest.mark.parametrize(
    ("length", "still", "why"),
    [
        (24, 4, "rose in 20 of the last 24 blocks"),
        (24, 5, "rose by 8 MB in the last 24 s"),
        (20, 2, "rose in 18 of the last 20 blocks"),
        (16, 1, "rose in 15 of the last 16 blocks"),
        (12, 0, "rose in 12 of the last 12 blocks"),
        (11, 0, "rose in 11 of 11 blocks after the warm-up"),
    ],
)
def test_a_leak_rises_in_nearly_every_block(length: int, still: int, why: str) -> None:
    assert why in blocks(rising_except(length, still)).why


@pytest.mark.parametrize(
    ("length", "still", "status"), [(12, 1, LEAKING), (11, 1, OPEN), (16, 2, LEAKING), (15, 2, OPEN)]
)
def test_rising_blocks_are_a_leak_at_odds_of_100(length: int, still: int, status: str) -> None:
    """Odds of 103, 60, 151 and 89."""
    assert blocks(rising_except(length, still)).status == status


def test_the_odds_of_signs_are_those_of_the_bets() -> None:
    assert sign_evidence([True, True, False]) == pytest.approx(1.7 * 1.7 * 0.3)
    assert sign_evidence([]) == 1.0


@pytest.mark.parametrize(("before", "status"), [(9000, LEAKING), (8999, OPEN), (6952, OPEN), (0, OPEN)])
def test_blocks_within_the_warm_up_are_no_evidence_of_a_leak(before: float, status: str) -> None:
    assert blocks([UP] * 12, before=before).status == status


@pytest.mark.parametrize(("before", "counted"), [(8999, 11), (6952, 11), (6951, 10), (0, 7)])
def test_the_warm_up_is_over_after_9000_connections(before: float, counted: int) -> None:
    assert f"rose in {counted} of {counted} blocks" in blocks([UP] * 12, before=before).why


@pytest.mark.parametrize(
    ("rises", "status"), [((1, 1, 1, 0), OPEN), ((1, 1, 0, 0), PASS), ((1, 0, 0), OPEN), ((1, 0, 1, 0), OPEN)]
)
def test_a_pass_takes_four_blocks_of_which_the_last_two_stand_still(
    rises: tuple[int, ...], status: str
) -> None:
    assert blocks([UP * rise for rise in rises]).status == status


@pytest.mark.parametrize(("rise", "status"), [(128 * BLOCK, OPEN), (128 * BLOCK + 1, LEAKING)])
def test_a_block_rises_above_128_bytes_a_connection(rise: float, status: str) -> None:
    assert blocks([rise] * 12).status == status


@pytest.mark.parametrize(("rise", "status"), [(128 * 1024, PASS), (128 * 1024 + 1, OPEN)])
def test_a_block_at_the_end_counts_when_it_is_half_as_long(rise: float, status: str) -> None:
    """Its own connections say how much it must rise; 1,024 are half a block."""
    one = series([0.0, 0.0, rise], 1024)
    assert [span["connection"] for span in joined(one, BLOCK).spans] == [2048, 1024]
    assert blocks([0.0] * 6 + [rise], clients=1024).status == status


@pytest.mark.parametrize(("clients", "spans"), [(1024, [2048.0] * 2), (1023, [3069.0, 1023.0])])
def test_cycles_are_joined_to_blocks_of_2048_connections(clients: int, spans: list[float]) -> None:
    found = [span["connection"] for span in joined(series([1.0] * 4, clients), BLOCK).spans]
    assert found == (spans if clients == 1024 else [3069.0])
    assert BLOCK * 1024 == 2 * MIB  # two arenas of the asked leak


@pytest.mark.parametrize(("rise", "status"), [(128 * BLOCK, OPEN), (128 * BLOCK + 1, LEAKING)])
def test_granted_growth_is_no_rise_of_a_block(rise: float, status: str) -> None:
    granted = Allowed(connection=1024.0)
    assert blocks([1024.0 * BLOCK + rise] * 12, allowed=granted).status == status


@pytest.mark.parametrize(("share", "status"), [(0.59, OPEN), (0.6, LEAKING), (0.65, LEAKING)])
def test_a_climb_whose_second_half_is_slower_is_settling(share: float, status: str) -> None:
    assert blocks([UP] * 6 + [UP * share] * 6).status == status


@pytest.mark.parametrize(("back", "collected"), [(2.0, False), (2.15, False), (2.25, True)])
def test_a_climb_that_gives_back_a_fifth_is_a_heap_that_is_collected(back: float, collected: bool) -> None:
    """11 of 12 blocks rise; 18 %, 19.5 % and 20.5 % of that fall at once."""
    rises = [UP] * 12
    rises[5] = -UP * back
    assert gives_back(rises) is collected


def test_the_bound_holds_an_arena() -> None:
    """One MiB over the connections of the blocks that stood still."""
    assert blocks([0.0] * 4).at_most == pytest.approx(MIB / (4 * BLOCK))
    assert blocks([0.0] * 8).at_most == pytest.approx(MIB / (8 * BLOCK))


@pytest.mark.parametrize(("cycles", "status"), [(5, OPEN), (6, LEAKING)])
def test_growth_far_above_any_allocator_is_a_leak_after_six_cycles(cycles: int, status: str) -> None:
    assert blocks([20_000.0 * 300] * cycles, before=0, clients=300).status == status


@pytest.mark.parametrize(("each", "status"), [(16_383, OPEN), (16_384, LEAKING)])
def test_growth_far_above_any_allocator_is_16_kib_per_connection(each: float, status: str) -> None:
    assert blocks([each * 300.0] * 6, before=0, clients=300).status == status


@pytest.mark.parametrize(("total", "status"), [(8 * MIB - 12, OPEN), (8 * MIB + 12, LEAKING)])
def test_growth_far_above_any_allocator_is_8_mib_in_all(total: float, status: str) -> None:
    assert blocks([total / 6] * 6, before=0, clients=60).status == status


@pytest.mark.parametrize(
    ("rises", "grown"),
    [
        ([65_536] * 8, 524_288),
        ([65_535] * 8, 0),  # half a MiB
        ([1e5] * 7, 0),  # too few cycles
        ([1e5] * 7 + [-1e5], 6e5),
        ([1e5] * 6 + [-1e4] * 2, 0),
        ([-9e6] + [1e5] * 8, 8e5),  # long ago
    ],
)
def test_memory_that_climbs_in_nearly_every_cycle_is_no_pass(rises: list[float], grown: float) -> None:
    assert rising(series(rises)) == grown


def test_memory_that_climbs_over_time_keeps_a_pass_open() -> None:
    """Too little for each connection, and up in every cycle."""
    assert blocks([0.0] * 8).status == PASS
    one = blocks([100_000.0] * 8)
    assert (one.status, one.growing) == (OPEN, True)
    assert "whatever its load" in one.why


@pytest.mark.parametrize(
    ("rises", "growing"),
    [
        ([2.8e5] * 3, False),
        ([2.8e5] * 4, True),
        ([2.8e5, 2.8e5, 0, 2.8e5, 2.8e5], False),
        ([2.8e5, 0, 2.8e5, 2.8e5, 2.8e5], True),
    ],
)
def test_four_blocks_after_the_warm_up_that_rise_to_the_end_are_suspicious(
    rises: list[float], growing: bool
) -> None:
    one = blocks(rises)
    assert (one.status, one.growing) == (OPEN, growing)


@pytest.mark.parametrize(("later", "growing"), [(MIB - 1, False), (MIB, True)])
def test_more_than_an_arena_in_a_straight_line_is_no_pass_during_the_warm_up(
    later: float, growing: bool
) -> None:
    rises = [0.0] * 3 + [later / 4, later * 3 / 8, later * 3 / 8]
    assert blocks(rises, before=-1e6).growing is growing


@pytest.mark.parametrize(("noise", "growing"), [(8e5, True), (1e6, False)])
def test_a_climb_during_the_warm_up_is_three_times_its_error(noise: float, growing: bool) -> None:
    found = [level + noise * (0, 1, -0.3, -0.7, 0.5)[i % 5] for i, level in enumerate(levels([4e5] * 12))]
    rises = [after - before for before, after in pairwise(found)]
    assert blocks(rises, before=-1e6).growing is growing


@pytest.mark.parametrize(
    ("rises", "growing"),
    [
        ([0.6, 0.6, 0.6, 0.6], True),
        ([0.5, 0.5, 0.5, 0.49], False),  # less than an arena in the second half
        ([5.0, 5.0, 1.7, 1.7], True),
        ([5.0, 5.0, 1.6, 1.6], False),  # less than a quarter of all
        ([0.6, 0.6, 2.0, -0.9], True),
        ([0.6, 0.6, 2.0, -1.1], False),  # given back
        ([4.0, 4.0, 4.0], True),  # the middle one counts for half
    ],
)
def test_memory_that_grows_until_the_end_of_a_short_run_is_no_pass(rises: list[float], growing: bool) -> None:
    """Too few connections for a single block: a Go server that leaked a goroutine for each passed like this."""
    one = blocks([value * MIB for value in rises], before=300, clients=300)
    assert (one.status, one.growing) == (OPEN, growing)
    assert ("until the last of them" in one.why) is growing


@pytest.mark.parametrize("rises", [[-8.0, -2.0, 3.0, 3.0], [-3.0, -3.0, 3.0, 3.0]])
def test_memory_that_fell_and_rises_again_is_not_said_to_have_risen_by_less_than_nothing(
    rises: list[float],
) -> None:
    """A Ruby service whose children exited "rose by -0.406 MB"."""
    one = blocks([value * MIB for value in rises], before=300, clients=300)
    assert (one.status, one.growing) == (OPEN, True)
    assert one.why.startswith(
        "rose by 6.29 MB in the second half of 1,200 connections, to no more than it was at first: "
    )
    assert "until the last of them" not in one.why


def test_granted_growth_is_no_growth_of_a_short_run() -> None:
    granted = Allowed(connection=4 * MIB / 300)
    assert not blocks([4.0 * MIB] * 4, before=300, clients=300, allowed=granted).growing


@pytest.mark.parametrize(
    ("length", "each", "status"),
    [(7, 4.1 * MIB, LEAKING), (6, 4.1 * MIB, OPEN), (7, 3.9 * MIB, OPEN), (7, 1e6, OPEN)],
)
def test_seven_blocks_that_rise_evenly_by_several_arenas_are_a_leak(
    length: int, each: float, status: str
) -> None:
    one = blocks([each + (index % 2) * 3e4 for index in range(length)])
    assert one.status == status
    if status == LEAKING:
        assert one.low <= each / BLOCK <= one.high


def test_seven_blocks_that_slow_down_are_not() -> None:
    assert blocks([value * MIB for value in (12, 12, 12, 12, 4.2, 4.2, 4.2)]).status == OPEN


@pytest.mark.parametrize(
    ("rises", "steep"),
    [
        ([4.2, 4.5, 4.1], True),
        ([4.2, 0.5, 4.1], False),
        ([4.2, 0.5, 8.1], False),
        ([5.2, 3.5, 5.1], True),
        ([9.0, 4.2, 4.1], False),
        ([3.0, 3.0, 3.0], False),
    ],
)
def test_a_steep_climb_beyond_the_warm_up_is_growth(rises: list[float], steep: bool) -> None:
    """Plain growth that is not certain yet is no pass: 2 kB per connection after WARM connections. Less steep growth
    counts only as long as it continues."""
    one = blocks([value * MIB for value in rises])
    assert (one.status, one.growing) == (OPEN, True)
    assert ("until the last of them" in one.why) is not steep


def test_a_heap_that_was_collected_in_one_block_takes_more_in_the_next() -> None:
    assert blocks([value * MIB for value in (9, 9.5, 9, 9.2, 9, 15, 3)]).status == LEAKING
    assert blocks([value * MIB for value in (9, 9.5, 9, 9.2, 9, 4.4, 3)]).status == OPEN
