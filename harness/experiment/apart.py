"""What waits for somebody else (a network, an interpreter) is done in a thread apart: who stops the run does not
wait for it."""

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


def unless(interrupted: Callable[[], bool], work: Callable[[], R], doing: str) -> R:
    """What ``work`` returns or raises. Raises Interrupted as soon as ``interrupted()``: it is left to its own end.

    doing: what the user stopped, such as ``the first look at the stream``.
    """
    return by_turns(interrupted, lambda _: work(), lambda: None, doing)


def by_turns(
    interrupted: Callable[[], bool],
    work: Callable[[Callable[[], T]], R],
    turn: Callable[[], T],
    doing: str,
    *,
    linger: float = 0.0,
) -> R:
    """As ``unless``, for work that now and then needs something done here: what it is given runs ``turn`` in the
    calling thread.

    linger: seconds in which interrupted work may put away what it took out. Its next turn raises Interrupted.
    """
    result: Future[R] = Future()
    wanted: SimpleQueue[Future[T] | None] = SimpleQueue()
    left = Event()
    stopped = Interrupted(f"stopped during {doing}")

    def hand_over() -> T:
        asked: Future[T] = Future()
        wanted.put(asked)
        if left.is_set():  # nobody looks any more
            raise stopped
        return asked.result()

    def run() -> None:
        try:
            result.set_result(work(hand_over))
        except BaseException as error:
            result.set_exception(error)
        wanted.put(None)

    Thread(target=run, name=f"apart: {doing}", daemon=True).start()
    deadline: float | None = None
    try:
        while True:
            try:
                asked = wanted.get(timeout=POLL)
            except Empty:
                if interrupted():
                    deadline = time.monotonic() + linger if deadline is None else deadline
                    if time.monotonic() >= deadline:
                        raise stopped from None
                continue
            if asked is None:
                return result.result()
            if interrupted():
                asked.set_exception(stopped)
                continue
            try:
                asked.set_result(turn())
            except Exception as error:
                asked.set_exception(error)
    finally:
        left.set()
        _dismiss(wanted, stopped)


def _dismiss(wanted: SimpleQueue[Future[T] | None], why: Interrupted) -> None:
    """Whoever still waits for a turn is told that there will be none."""
    while True:
        try:
            asked = wanted.get_nowait()
        except Empty:
            return
        if asked is not None:
            asked.set_exception(why)
