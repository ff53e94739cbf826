"""At rest means: nothing moved for the window. A gap is never rest."""

from __future__ import annotations

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
