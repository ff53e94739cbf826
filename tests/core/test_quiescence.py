"""At rest means: nothing moved for the window. A gap is never rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.core.quiescence import NeverSettled, Quiescent, Settling, Tracker


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


def test_what_never_rests_is_named() -> None:
    tracker = Tracker(0.0, window=1.0, patience=3.0)
    state: object = None
    for step in range(32):
        state = tracker.feed(step / 10, {"fds": step % 2, "threads": 4})
    assert isinstance(state, NeverSettled)
    assert state.moving == "fds"


def until_rest(counts: Callable[[int], Mapping[str, float]], patience: float = 60.0) -> tuple[float, object]:
    """Ten readings a second of a service until it is at rest or patience is over."""
    tracker = Tracker(0.0, window=1.0, patience=patience)
    step = 0
    while isinstance(state := tracker.feed(step / 10, counts(step)), Settling):
        step += 1
    return step / 10, state


def test_what_comes_back_to_its_floor_again_and_again_is_at_rest_there() -> None:
    seconds, state = until_rest(lambda step: {"fds": 40 + step % 3, "threads": 7})
    assert state == Quiescent({"fds": 40.0, "threads": 7.0}, 0.0, "fds")
    assert seconds == 4.0


def test_a_floor_counts_only_once_what_was_open_has_been_given_back() -> None:
    seconds, state = until_rest(lambda step: {"fds": 40 + step % 3 + max(0, 300 - 10 * step)})
    assert isinstance(state, Quiescent)
    assert state.level == {"fds": 40.0}
    assert seconds >= 3.0 + 2.0, "half of the four windows saw the floor"


def test_a_leak_by_the_clock_has_a_level_too() -> None:
    _, state = until_rest(lambda step: {"fds": 40 + step})
    assert isinstance(state, Quiescent)
    assert state.restless == "fds"
    assert 60 <= state.level["fds"] <= 80


def test_what_sinks_is_never_at_rest() -> None:
    _, state = until_rest(lambda step: {"fds": 10_000 - step}, patience=20.0)
    assert isinstance(state, NeverSettled)


def test_a_somebody_who_is_still_connected_is_never_rest() -> None:
    _, state = until_rest(lambda step: {"fds": 40, "inbound": -float(step)}, patience=20.0)
    assert isinstance(state, NeverSettled)
