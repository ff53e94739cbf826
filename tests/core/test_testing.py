"""Checks written by hand: the same judge as a guard's, and two snapshots."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import zmq

from harness.core.errors import ConfigError
from harness.no_leaks.check import adopted, grown
from harness.no_leaks.snapshot import Snapshot, Thing
from harness.testing import Ignore, LeaksError, assert_bounded, assert_no_growth, no_leaks, snapshot


@pytest.fixture(autouse=True)
def only_own_objects() -> Iterator[None]:
    """Each check looks through every object of the process: those of earlier tests are left out, for their time."""
    gc.freeze()
    yield
    gc.unfreeze()


def test_readings_passed_to_the_api_are_judged_like_those_of_a_guard() -> None:
    assert assert_bounded({"fds": [10] * 12}, connections=500).bounded
    with pytest.raises(AssertionError, match=r"1\.00 fds per connection"):
        assert_bounded({"fds": [10 + 500 * n for n in range(6)]}, connections=500)
    with pytest.raises(ValueError, match="expected as many"):
        assert_bounded({"fds": [10]}, connections=500)


def test_one_finding_is_reported_once() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_bounded({"fds": [10 + 500 * n for n in range(6)]}, connections=500)
    assert str(caught.value).count("1.00 fds per connection") == 1


def test_two_snapshots_name_what_came() -> None:
    before = snapshot()
    held = os.eventfd(0)
    after = snapshot()
    with pytest.raises(LeaksError, match=r"1 descriptors left:(.|\n)*eventfd"):
        assert_no_growth(before, after)
    assert_no_growth(before, after, ignore=[Ignore("descriptors", "*eventfd*", "this test holds it")])
    os.close(held)
    assert_no_growth(before, snapshot())


@pytest.mark.parametrize(
    ("readings", "more", "said"),
    [
        ({"fd": [1, 1]}, {}, "metric 'fd'*did you mean 'fds'?"),
        ({"my queue": [1, 1]}, {}, "metric 'my queue': expected one of fds*"),
        ({"fds": [1, None]}, {}, "fds: None; expected a list of numbers, none below 0"),
        ({"fds": [1, float("nan")]}, {}, "fds: nan; expected a list of numbers*"),
        ({"fds": [1, -1]}, {}, "fds: -1; *"),
        ({"fds": 10}, {}, "fds: 10; expected a list of numbers*"),
        ([1, 1], {}, "[[]1, 1[]]: expected a verdict, or readings*"),
        (
            {"memory": [1e6, 1e6]},
            {},
            "memory: readings that rarely return to the same value*expected one of broker-peers, fds*",
        ),
        ({"fds": [1, 1]}, {"connections": "many"}, "connections='many': expected how many*"),
        ({"fds": [1, 1]}, {"connections": 0}, "[[]2[]] readings per metric, 0 connections*"),
        ({"fds": [1, 1]}, {"sensitivity": 0}, "sensitivity=0: expected a rate above 0*"),
    ],
)
def test_invalid_readings_are_named(readings: Any, more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        assert_bounded(readings, **{"connections": 1000, **more})
    assert fnmatchcase(str(caught.value), f"*{said}"), caught.value


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Ignore("descriptor", "*", "x"), "kind 'descriptor'; expected * or one of descriptors"),
        (lambda: Ignore("threads", 5, "x"), "expected a shell pattern"),  # type: ignore[arg-type]
        (lambda: Ignore("threads", "*", " "), "no reason given"),
        (lambda: no_leaks().ignore("fds", "*", "x"), "kind 'fds'"),
        (lambda: no_leaks(ignore="threads"), "ignore='threads': expected a list of Ignore"),  # type: ignore[arg-type]
        (lambda: no_leaks(timeout="2s"), "timeout='2s': expected a number of seconds"),  # type: ignore[arg-type]
        (lambda: no_leaks(timeout=-1), "timeout=-1: expected a number of seconds"),
        (lambda: no_leaks(objects=["dict"]), "expected a list of types"),  # type: ignore[list-item]
        (lambda: no_leaks(memory="much"), "expected a size such as"),
        (lambda: snapshot(memory=True), "nothing is traced; call tracemalloc.start() first"),
        (lambda: assert_no_growth(snapshot(), 5), "assert_no_growth(5): expected what snapshot() returned"),  # type: ignore[arg-type]
        (
            lambda: assert_bounded({"fds": [1, 1]}, connections=1, budget="x"),
            "budget='x': expected a mapping",
        ),  # type: ignore[arg-type]
    ],
)
def test_an_invalid_check_is_reported_before_it_runs(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    assert said in str(caught.value)


def test_one_entry_and_one_type_may_stand_alone() -> None:
    with no_leaks(
        ignore=Ignore("descriptors", "*eventfd*", "this test holds it"), objects=Session, memory=65536
    ):  # type: ignore[arg-type]
        held = os.eventfd(0)
    os.close(held)


class Session:
    """Something that must not pile up."""


KEPT: list[object] = []


def hold_object() -> None:
    KEPT.append(Session())


def hold_child() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    KEPT.append(child)
    # The kernel wakes the parent of a vfork before the command line of the new program can be read.
    ends = time.monotonic() + 30.0
    while not Path(f"/proc/{child.pid}/cmdline").read_bytes():
        assert time.monotonic() < ends
        time.sleep(0.001)


def hold_socket() -> None:
    KEPT.append(socket.socket())


def hold_thread() -> None:
    KEPT.append(threading.Event())
    threading.Thread(target=KEPT[-1].wait, name="worker-7", daemon=True).start()  # type: ignore[attr-defined]


def hold_zeromq() -> None:
    KEPT.append(zmq.Context())


def hold_zeromq_socket() -> None:
    KEPT.append(zmq.Context.instance().socket(zmq.DEALER))


def hold_memory() -> None:
    KEPT.append(bytearray(1 << 20))


def let_go() -> None:
    held = KEPT.pop()
    if isinstance(held, subprocess.Popen):
        held.communicate()
    elif isinstance(held, threading.Event):
        held.set()
    elif isinstance(held, socket.socket | zmq.Socket):
        held.close()
    elif isinstance(held, zmq.Context):
        held.term()


@pytest.mark.parametrize(
    ("hold", "kind", "match"),
    [
        (hold_object, "objects", "*.Session*"),
        (hold_child, "children", "*input()"),
        (hold_socket, "descriptors", "*socket:*"),
        (hold_thread, "threads", "worker-*"),
        (hold_zeromq, "zeromq", "*Context"),
        (hold_zeromq_socket, "zeromq", "*Socket type *"),
        (hold_memory, "memory", "*traced memory*"),
    ],
)
def test_each_kind_is_found_and_a_named_ignore_lets_it_stay(
    hold: Callable[[], None], kind: str, match: str
) -> None:
    zmq.Context.instance()  # the one of the process, there before
    asked: dict[str, Any] = {}
    if kind in ("objects", "memory"):  # each is slow, and asked for by itself
        asked |= {"objects": {"objects": [Session]}, "memory": {"memory": "512 KiB"}}[kind]
    with pytest.raises(LeaksError) as caught, no_leaks(timeout=0, **asked):
        hold()
    assert any(fnmatchcase(text, match) for text in caught.value.leaks[kind]), caught.value.leaks
    let_go()
    wrong = Ignore(kind, "something else*", "names another thing")
    with pytest.raises(LeaksError), no_leaks(ignore=[wrong], timeout=0, **asked):
        hold()
    let_go()
    rest = [
        Ignore("descriptors", "*", "of the thing that is held"),
        Ignore("threads", "*ZMQ*", "its context's"),
    ]
    with no_leaks(ignore=[Ignore(kind, match, "this test keeps it"), *rest], **asked):
        hold()
    let_go()


async def test_a_pending_task_is_found_and_one_that_ends_by_itself_is_not() -> None:
    async with no_leaks():
        KEPT.append(asyncio.create_task(asyncio.sleep(0.05)))
    forgotten = None
    with pytest.raises(LeaksError, match="1 tasks"):
        async with no_leaks(timeout=0.1):
            forgotten = asyncio.create_task(asyncio.sleep(60))
    assert forgotten is not None
    forgotten.cancel()


async def test_a_machine_that_stands_still_for_the_whole_timeout_is_no_leak() -> None:
    async with no_leaks(timeout=0.1):
        ends_by_itself = asyncio.create_task(asyncio.sleep(0.05))
        asyncio.get_running_loop().call_later(0, time.sleep, 0.15)
    assert ends_by_itself.done()


class Circle:
    """Closes its descriptor once the collector has found it."""

    def __init__(self) -> None:
        self.descriptor, self.me = os.eventfd(0), self

    def __del__(self) -> None:
        os.close(self.descriptor)


def test_garbage_is_no_leak_without_any_timeout_either() -> None:
    with no_leaks(timeout=0):
        Circle()
    with pytest.raises(LeaksError), no_leaks(timeout=0):
        KEPT.append(Circle())
    KEPT.clear()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_resources_that_multiprocessing_keeps_are_no_leak_of_its_first_user(method: str) -> None:
    """In an interpreter of its own, where nothing has used it yet."""
    code = (
        "import multiprocessing\n"
        "from harness.testing import no_leaks\n"
        "if __name__ == '__main__':\n"
        "    with no_leaks():\n"
        f"        child = multiprocessing.get_context({method!r}).Process(target=print)\n"
        "        child.start(); child.join(); child.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


# -- two snapshots by value


def thing(referred: object = None) -> Thing:
    return Thing("a thing", None if referred is None else lambda: referred)


def holding(kind: str, things: dict[object, Thing], **more: Any) -> Snapshot:
    return Snapshot({kind: things}, **more)  # type: ignore[arg-type]


def test_an_object_at_a_reused_address_is_another_object() -> None:
    one, other = object(), object()
    before = holding("tasks", {4096: thing(one)})
    assert grown(before, holding("tasks", {4096: thing(one)})) == {}
    assert grown(before, holding("tasks", {4096: thing(other)})) == {"tasks": ["a thing"]}
    assert grown(before, holding("tasks", {4097: thing(one)})) == {"tasks": ["a thing"]}
    assert grown(before, holding("tasks", {4096: thing()})) == {}, "nothing tells them apart"


def test_a_task_at_the_address_of_an_earlier_one_is_found() -> None:
    """The real thing: tasks are told apart by a weak reference, not by their address alone."""

    async def main() -> None:
        first = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        tasks = snapshot().things["tasks"]
        assert tasks[id(first)].ref is not None
        assert tasks[id(first)].ref() is first
        first.cancel()

    asyncio.run(main())


def test_a_descriptor_number_that_points_elsewhere_is_another_descriptor(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    held = os.open(first, os.O_CREAT | os.O_RDWR)

    def replace() -> None:
        another = os.open(second, os.O_CREAT | os.O_RDWR)
        os.dup2(another, held)
        os.close(another)

    try:
        with pytest.raises(LeaksError, match=f"fd {held}: {second}"), no_leaks(timeout=0):
            replace()
    finally:
        os.close(held)


@pytest.mark.parametrize(("more", "left"), [(1023, False), (1024, False), (1025, True)])
def test_traced_memory_may_grow_by_what_is_spare_and_not_by_a_byte_more(more: int, left: bool) -> None:
    before, after = holding("threads", {}, memory=5000), holding("threads", {}, memory=5000 + more)
    found = grown(before, after, spare=1024)
    assert found == ({"memory": ["1025 B more traced memory; allowed are 1024 B"]} if left else {})
    with pytest.raises(LeaksError) if left else contextlib.nullcontext():
        assert_no_growth(before, after, memory="1 KiB")
    assert grown(holding("threads", {}), after) == {}, "it was not traced before"


def test_one_more_object_is_one_too_many() -> None:
    before = holding("threads", {}, objects={"x.Session": 3})
    assert grown(before, holding("threads", {}, objects={"x.Session": 3})) == {}
    assert grown(before, holding("threads", {}, objects={"x.Session": 2})) == {}
    found = grown(before, holding("threads", {}, objects={"x.Session": 4}))
    assert found == {"objects": ["x.Session: 1 more (4 in all)"]}


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("fails", ["", "body", "check"])
def test_tracing_continues_afterwards_only_if_it_did_before(before: bool, fails: str) -> None:
    def block() -> None:
        with no_leaks(memory="1 MiB", timeout=0):
            assert tracemalloc.is_tracing()
            if fails == "body":
                raise RuntimeError("the body")
            if fails == "check":
                KEPT.append(bytearray(2 << 20))

    async def in_a_loop() -> None:
        async with no_leaks(memory="1 MiB", timeout=0):
            assert tracemalloc.is_tracing()
            if fails == "body":
                raise RuntimeError("the body")
            if fails == "check":
                KEPT.append(bytearray(2 << 20))

    expected = {
        "": contextlib.nullcontext(),
        "body": pytest.raises(RuntimeError),
        "check": pytest.raises(LeaksError),
    }
    for run in (block, lambda: asyncio.run(in_a_loop())):
        if before:
            tracemalloc.start()
        try:
            with expected[fails]:  # type: ignore[attr-defined]
                run()
            assert tracemalloc.is_tracing() is before
        finally:
            tracemalloc.stop()
            KEPT.clear()


def test_additions_between_two_snapshots_may_stay_and_nothing_else() -> None:
    old, new = {1: thing()}, {1: thing(), 2: thing()}
    base = holding("threads", {9: thing()}, objects={"x": 1}, memory=7)
    taken = adopted(base, holding("threads", old), holding("threads", new))
    assert set(taken.things["threads"]) == {9, 2}
    assert (taken.objects, taken.memory) == ({"x": 1}, 7)


def test_the_error_counts_everything_and_shows_ten_of_each() -> None:
    error = LeaksError({"threads": [f"worker-{n}" for n in range(12)], "tasks": ["one"]}, 2.0)
    lines = str(error).splitlines()
    assert lines[0] == "12 threads, 1 tasks left, 2 s after the end:"
    assert lines[1] == "  12 threads:"
    assert lines[2:12] == [f"    worker-{n}" for n in range(10)]
    assert lines[12:] == ["    and 2 more", "  1 tasks:", "    one"]
    assert str(LeaksError({"tasks": ["one"] * 10})).splitlines()[0] == "10 tasks left:"
    assert "more" not in str(LeaksError({"tasks": ["one"] * 10}))


def test_a_thread_with_a_reused_number_is_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gives a number again, as soon as all others have been used."""
    over = threading.Event()
    first = threading.Thread(name="the first one", target=over.wait)
    first.start()
    try:
        living = threading.enumerate()
        before = snapshot()
        now = threading.Thread(name="the next one", target=len)
        monkeypatch.setattr(now, "_native_id", first.native_id)
        monkeypatch.setattr(threading, "enumerate", lambda: [now if one is first else one for one in living])
        assert grown(before, snapshot())["threads"] == ["the next one (Thread)"]
        monkeypatch.setattr(threading, "enumerate", lambda: living)
        assert "threads" not in grown(before, snapshot())
    finally:
        over.set()
        first.join()


def test_a_child_with_a_reused_pid_is_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    module = sys.modules[Snapshot.__module__]
    read = module._read
    try:
        before = snapshot()
        assert "children" not in grown(before, snapshot())

        def later(path: str) -> str:
            """As of a process that was started a tick later (field 22 of proc_pid_stat(5))."""
            text = read(path)
            if path != f"/proc/{child.pid}/stat":
                return text
            head, end, tail = text.rpartition(")")
            fields = tail.split()
            fields[19] = str(int(fields[19]) + 1)
            return f"{head}{end} {' '.join(fields)}"

        monkeypatch.setattr(module, "_read", later)
        (left,) = grown(before, snapshot())["children"]
        assert left.startswith(f"pid {child.pid}: ")
    finally:
        child.communicate()
