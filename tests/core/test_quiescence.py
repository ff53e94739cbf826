"""A service has settled when nothing changed during the window. With a gap it has not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from harness.core.quiescence import NeverSettled, Quiescent, Settling, Tracker, _climbs


def feed(tracker: Tracker, readings: list[tuple[float, float | None]]) -> object:
    state: object = None
    for at, value in readings:
        state = tracker.feed(at, {"fds": value})
    return state


def test_unchanged_for_the_window_is_quiescent() -> None:
    state = feed(Tracker(0.0, window=1.0), [(0.0, 7), (0.5, 7), (1.0, 7)])
    assert state == Quiescent({"fds": 7.0}, 0.0)


def test_a_change_restarts_the_window_and_is_the_lag() -> None:
    tracker = Tracker(0.0, window=1.0)
    assert isinstance(feed(tracker, [(0.0, 9), (0.6, 7), (1.0, 7), (1.5, 7)]), Settling)
    assert tracker.feed(1.6, {"fds": 7}) == Quiescent({"fds": 7.0}, 0.6)


def test_a_gap_restarts_the_window() -> None:
    tracker = Tracker(0.0, window=1.0)
    assert isinstance(feed(tracker, [(0.0, 7), (0.5, None), (1.0, 7), (1.4, 7)]), Settling)
    assert isinstance(tracker.feed(2.0, {"fds": 7}), Quiescent)


def test_a_count_that_never_rests_is_named() -> None:
    tracker = Tracker(0.0, window=1.0, timeout=3.0)
    state: object = None
    for step in range(32):
        state = tracker.feed(step / 10, {"fds": step % 2, "threads": 4})
    assert isinstance(state, NeverSettled)
    assert state.moving == "fds"


def until_rest(counts: Callable[[int], Mapping[str, float]], timeout: float = 60.0) -> tuple[float, object]:
    """Ten readings a second of a service until it has settled or the timeout is over."""
    tracker = Tracker(0.0, window=1.0, timeout=timeout)
    step = 0
    while isinstance(state := tracker.feed(step / 10, counts(step)), Settling):
        step += 1
    return step / 10, state


def test_counts_that_return_to_their_minimum_are_settled_there() -> None:
    seconds, state = until_rest(lambda step: {"fds": 40 + step % 3, "threads": 7})
    assert state == Quiescent({"fds": 40.0, "threads": 7.0}, 0.0, "fds")
    assert seconds == 4.0


def test_a_floor_counts_only_once_what_was_open_has_been_given_back() -> None:
    seconds, state = until_rest(lambda step: {"fds": 40 + step % 3 + max(0, 300 - 10 * step)})
    assert isinstance(state, Quiescent)
    assert state.level == {"fds": 40.0}
    assert seconds >= 3.0 + 2.0, "half of the four windows saw the floor"


def test_a_leak_over_time_has_a_level_too() -> None:
    _, state = until_rest(lambda step: {"fds": 40 + step})
    assert isinstance(state, Quiescent)
    assert state.fluctuating == "fds"
    assert 60 <= state.level["fds"] <= 80


def test_a_falling_count_never_settles() -> None:
    _, state = until_rest(lambda step: {"fds": 10_000 - step}, timeout=20.0)
    assert isinstance(state, NeverSettled)


def test_a_connected_client_prevents_settling() -> None:
    _, state = until_rest(lambda step: {"fds": 40, "inbound": -float(step)}, timeout=20.0)
    assert isinstance(state, NeverSettled)


def stepping(before: float, after: float) -> Callable[[int], Mapping[str, float]]:
    """A floor that is never held, with one step after two of the four windows."""
    return lambda step: {"fds": (before if step < 20 else after) + step % 2}


@pytest.mark.parametrize(
    ("before", "inside", "outside"),
    [
        (1000.0, 1020.0, 1021.0),  # 2 % of the level
        (1000.0, 980.0, 979.0),
        (10.0, 11.0, 12.0),  # or one unit
        (10.0, 9.0, 8.0),
    ],
)
def test_a_floor_may_differ_by_two_percent_or_one_unit(before: float, inside: float, outside: float) -> None:
    seconds, state = until_rest(stepping(before, inside))
    assert seconds == 4.0
    assert state == Quiescent({"fds": inside}, 0.0, "fds")
    later, state = until_rest(stepping(before, outside))
    assert later > seconds, "the lower floor has to reach into the first half, the higher one to leave it"
    assert isinstance(state, Quiescent)
    assert state.level == {"fds": outside}


@pytest.mark.parametrize(
    ("floor", "even"),
    [
        ([1000.0, 1100.0, 1150.0, 1250.0], True),  # steps of 50 to 100: half of the largest apart
        ([1000.0, 1100.0, 1149.0, 1250.0], False),
        ([10.0, 11.0, 13.0, 14.0], True),  # one unit apart
        ([10.0, 11.0, 13.5, 14.5], False),
        ([10.0, 11.0, 11.0, 12.0], False),  # a quarter without a step
    ],
)
def test_a_slope_is_even_within_half_of_its_largest_step_or_one_unit(floor: list[float], even: bool) -> None:
    assert _climbs(floor) is even


def test_the_documented_window_and_timeout_hold_without_being_given() -> None:
    tracker = Tracker(0.0)
    assert isinstance(feed(tracker, [(0.0, 7), (1.9, 7)]), Settling)
    assert isinstance(tracker.feed(2.0, {"fds": 7}), Quiescent)
    tracker = Tracker(0.0)
    assert isinstance(feed(tracker, [(0.0, None), (59.9, None)]), Settling)
    assert isinstance(tracker.feed(60.0, {"fds": None}), NeverSettled)


def test_the_floor_has_a_window_of_its_own() -> None:
    tracker = Tracker(0.0, window=1.0, floor_window=2.0)
    step = 0
    while isinstance(tracker.feed(step / 10, {"fds": step % 2}), Settling):
        step += 1
    assert step / 10 == 8.0


def test_only_recent_movement_is_named() -> None:
    tracker = Tracker(0.0, window=1.0)
    for at, fds, threads in ((0.0, 1, 1), (0.1, 2, 1), (0.2, 2, 2), (2.15, 2, 3)):
        state = tracker.feed(at, {"fds": fds, "threads": threads})
    assert isinstance(state, Settling)
    assert state == Settling(2.15, "threads")
    tracker.feed(2.2, {"fds": 3, "threads": 3})
    state = tracker.feed(2.3, {"fds": 3, "threads": 4})
    assert state == Settling(2.3, "fds, threads")
