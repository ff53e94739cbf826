"""The time in which a service closes sockets is learned from the closes, and not from other changes of its counts."""

from __future__ import annotations

import pytest

from harness.core.sample import Sample
from harness.experiment.close_times import MAX_LONG_WINDOW, MAX_WINDOW, CloseTimes


def lane(counts: dict[float, int], until: float, step: float = 0.1) -> list[Sample]:
    """Samples with the descriptors of ``counts`` (from second → count)."""
    found, now = [], 0
    while now * step <= until:
        at = now * step
        found.append(
            Sample(at, fds=next(n for since, n in reversed(counts.items()) if since <= at + 1e-9), threads=5)
        )
        now += 1
    return found


def learned(counts: dict[float, int], until: float) -> CloseTimes:
    closes = CloseTimes(1.0, base=8.0)
    closes.clients_disconnected(10.0)
    closes.update_from(lane(counts, until), until)
    return closes


def test_the_latest_close_since_the_last_client_left_is_learned() -> None:
    closes = learned({0.0: 58, 10.0: 50, 14.0: 30, 19.4: 8}, 30.0)
    assert closes.slowest == pytest.approx(9.4, abs=0.11)
    assert closes.long_window == MAX_LONG_WINDOW
    assert learned({0.0: 58, 10.3: 8}, 30.0).long_window == 1.0


def test_fluctuation_is_no_late_close() -> None:
    polls = {round(10 + 0.2 * n, 1): 8 + 3 * (n % 2) for n in range(150)}
    assert learned({0.0: 58, **polls}, 40.0).slowest < 0.5


def test_a_straggler_is_no_late_close() -> None:
    assert learned({0.0: 308, 10.2: 9, 35.0: 8}, 40.0).slowest < 0.5


def test_no_close_time_is_learned_before_the_first_client() -> None:
    closes = CloseTimes(1.0)
    assert closes.update_from(lane({0.0: 58, 5.0: 8}, 10.0), 10.0) == 0.0


def test_counts_that_are_back_need_only_a_short_window_and_others_the_time_requested() -> None:
    closes = CloseTimes(62.0, base=8.0)
    assert (closes.window, closes.long_window) == (MAX_WINDOW, 62.0)
    assert closes.is_released(8.0)
    assert not closes.is_released(9.0)
    assert not closes.is_released(None)


def test_a_level_read_too_early_is_dropped_as_a_base() -> None:
    closes = CloseTimes(1.0, base=8.0)
    for fds in (100.0, 350.0):
        closes.add_level(fds, fds - 8, stable=True)
    assert closes.is_released(350.0)
    closes.clients_disconnected(10.0)
    closes.update_from(lane({0.0: 350, 18.0: 100}, 20.0), 20.0)
    assert not closes.is_released(101.0)
    closes.add_level(308.0, 300.0, stable=False)
    assert not closes.is_released(308.0)
    closes.add_level(308.0, 300.0, stable=True)
    assert closes.is_released(308.0)
