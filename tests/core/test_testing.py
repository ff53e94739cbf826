"""Checks written by hand: the same judge as a guard's, and two snapshots."""

from __future__ import annotations

import asyncio
import os

import pytest
import zmq

from harness.testing import Ignore, LeaksError, assert_bounded, assert_no_growth, no_leaks, snapshot


def test_own_readings_are_judged_as_a_guards_are() -> None:
    assert assert_bounded({"fds": [10] * 12}, connections=500).bounded
    with pytest.raises(AssertionError, match=r"1\.00 fds per connection"):
        assert_bounded({"fds": [10 + 500 * n for n in range(6)]}, connections=500)
    with pytest.raises(ValueError, match="expected as many"):
        assert_bounded({"fds": [10]}, connections=500)


def test_two_snapshots_name_what_came() -> None:
    before = snapshot()
    held = os.eventfd(0)
    after = snapshot()
    with pytest.raises(LeaksError, match=r"1 descriptors left:(.|\n)*eventfd"):
        assert_no_growth(before, after)
    assert_no_growth(before, after, ignore=[Ignore("descriptors", "*eventfd*", "this test holds it")])
    os.close(held)
    assert_no_growth(before, snapshot())
    with pytest.raises(ValueError, match="no reason"):
        Ignore("threads", "*", " ")


class Session:
    """Something that must not pile up."""


KEPT: list[object] = []


def hold_object() -> None:
    KEPT.append(Session())


def hold_socket() -> None:
    KEPT.append(zmq.Context())


def hold_memory() -> None:
    KEPT.append(bytearray(1 << 20))


@pytest.mark.parametrize(
    ("hold", "kind"), [(hold_object, "objects"), (hold_socket, "zeromq"), (hold_memory, "memory")]
)
def test_objects_sockets_and_traced_memory_are_found(hold: object, kind: str) -> None:
    assert callable(hold)
    with pytest.raises(LeaksError) as caught, no_leaks(objects=[Session], memory="512 KiB", patience=0.1):
        hold()
    assert kind in caught.value.leaks
    held = KEPT.pop()
    if isinstance(held, zmq.Context):
        held.term()


async def test_a_forgotten_task_is_found_and_one_that_ends_by_itself_is_not() -> None:
    async with no_leaks():
        KEPT.append(asyncio.create_task(asyncio.sleep(0.05)))
    forgotten = None
    with pytest.raises(LeaksError, match="1 tasks"):
        async with no_leaks(patience=0.1):
            forgotten = asyncio.create_task(asyncio.sleep(60))
    assert forgotten is not None
    forgotten.cancel()
