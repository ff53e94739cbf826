"""Work in a thread that can be cancelled: its result, its errors, and a cancellation that does not wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from harness.core.errors import Interrupted, ProbeError
from harness.experiment.cancellable import call_cancellable, call_in_turns

DEADLINE = 30.0


def never() -> bool:
    return False


def test_the_result_and_the_error_of_the_work_are_passed_on() -> None:
    assert call_cancellable(never, lambda: 3, "this") == 3
    with pytest.raises(ProbeError, match="mine"):
        call_cancellable(never, lambda: (_ for _ in ()).throw(ProbeError("mine")), "this")


def test_a_cancellation_does_not_wait_for_work_that_hangs() -> None:
    release, stop = threading.Event(), threading.Event()

    def work() -> None:
        stop.set()
        release.wait(DEADLINE)

    with pytest.raises(Interrupted, match="stopped during the long one"):
        call_cancellable(stop.is_set, work, "the long one")
    assert not release.is_set()
    release.set()


def test_calls_from_the_work_run_in_the_callers_thread_and_their_errors_reach_the_work() -> None:
    here: list[threading.Thread] = []

    def turn() -> int:
        here.append(threading.current_thread())
        if len(here) == 2:
            raise ProbeError("cut short")
        return 5

    def work(hand_over: Callable[[], int]) -> str:
        assert threading.current_thread() is not threading.main_thread()
        first = hand_over()
        try:
            hand_over()
        except ProbeError as error:
            return f"{first}, then {error}"
        return "no error"

    assert call_in_turns(never, work, turn, "this") == "5, then cut short"
    assert here == [threading.main_thread()] * 2


def test_interrupted_work_gets_no_further_call_and_may_clean_up() -> None:
    stop, put_away, turns = threading.Event(), threading.Event(), []

    def turn() -> None:
        turns.append(1)
        stop.set()

    def work(hand_over: Callable[[], None]) -> None:
        try:
            while True:
                hand_over()
        finally:
            put_away.set()

    with pytest.raises(Interrupted):
        call_in_turns(stop.is_set, work, turn, "this", linger=DEADLINE)
    assert put_away.is_set()
    assert len(turns) == 1


def test_a_late_result_is_dropped_and_blocks_no_thread() -> None:
    stop, go_on, notified = threading.Event(), threading.Event(), threading.Event()

    def work(hand_over: Callable[[], None]) -> None:
        stop.set()
        go_on.wait(DEADLINE)
        try:
            hand_over()
        except Interrupted:
            notified.set()

    with pytest.raises(Interrupted):
        call_in_turns(stop.is_set, work, lambda: None, "this")
    go_on.set()
    assert notified.wait(DEADLINE)
