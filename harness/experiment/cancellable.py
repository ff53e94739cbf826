"""Runs calls that wait for another process in a thread, so that Ctrl-C need not wait for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TypeVar

from harness.core.errors import Interrupted

POLL = 0.05  # seconds
R = TypeVar("R")
T = TypeVar("T")


def call_cancellable(interrupted: Callable[[], bool], work: Callable[[], R], doing: str) -> R:
    """Return what ``work`` returns, or raise what it raises. Raises Interrupted as soon as ``interrupted()`` is true;
    the thread then finishes unobserved.

    doing: what the user stopped, for the error, such as ``the preflight request``.
    """
    return call_in_turns(interrupted, lambda _: work(), lambda: None, doing)


def call_in_turns(
    interrupted: Callable[[], bool],
    work: Callable[[Callable[[], T]], R],
    turn: Callable[[], T],
    doing: str,
    *,
    linger: float = 0.0,
) -> R:
    """Like ``call_cancellable``, for work that needs some steps done in the calling thread: ``work`` gets a function
    that runs ``turn`` there.

    linger: seconds in which interrupted work may clean up. Its next turn raises Interrupted.
    """
    result: Future[R] = Future()
    turns: SimpleQueue[Future[T] | None] = SimpleQueue()
    returned = Event()
    stopped = Interrupted(f"stopped during {doing}")

    def run_turn() -> T:
        requested: Future[T] = Future()
        turns.put(requested)
        # The caller sets ``returned`` before it empties the queue for the last time. So a request that is put too late
        # for that is noticed here, and no request waits for ever.
        if returned.is_set():
            raise stopped
        return requested.result()

    def run() -> None:
        try:
            result.set_result(work(run_turn))
        except BaseException as error:
            result.set_exception(error)
        # Wakes the caller at once: without it the result would only be noticed after POLL seconds.
        turns.put(None)

    # A daemon, because no thread waits for it after an interruption: it must not keep the process from exiting.
    Thread(target=run, name=f"apart: {doing}", daemon=True).start()
    deadline: float | None = None
    try:
        while True:
            try:
                requested = turns.get(timeout=POLL)
            except Empty:
                if interrupted():
                    deadline = time.monotonic() + linger if deadline is None else deadline
                    if time.monotonic() >= deadline:
                        raise stopped from None
                continue
            if requested is None:
                return result.result()
            if interrupted():
                # The thread must not run another turn, but it may still clean up in the time that ``linger`` gives it.
                requested.set_exception(stopped)
                continue
            try:
                requested.set_result(turn())
            except Exception as error:
                requested.set_exception(error)
    finally:
        returned.set()
        _dismiss(turns, stopped)


def _dismiss(turns: SimpleQueue[Future[T] | None], why: Interrupted) -> None:
    """Raise ``why`` in every thread that still waits for its turn."""
    while True:
        try:
            requested = turns.get_nowait()
        except Empty:
            return
        if requested is not None:
            requested.set_exception(why)
