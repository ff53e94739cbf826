"""A small sample of ``make conformance``: the decoder and others agree on generated streams."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.conformance import chromium, node
from bench.conformance.oracle import Absent
from bench.conformance.streams import CHROMIUM_LOSES, Found, Stream, differences, generate, ours
from tests.core.sse_plain import interpret

SAMPLE = generate(400, seed=20)


def answers(ask: Callable[[list[Stream]], list[Found]], sample: list[Stream]) -> list[Found]:
    """What the other one makes of the sample."""
    try:
        return ask(sample)
    except Absent as error:  # not installed here: this sample cannot run, and make conformance fails
        pytest.skip(str(error))


@pytest.mark.conformance
def test_eventsource_parser_agrees() -> None:
    assert differences(SAMPLE, answers(node.ask, SAMPLE)) == []


@pytest.mark.conformance
def test_chromium_agrees() -> None:
    sample = [stream for stream in SAMPLE if not CHROMIUM_LOSES.match(stream.whole)]
    assert differences(sample, answers(chromium.ask, sample)) == []


def test_the_standard_in_plain_words_agrees() -> None:
    streams = generate(3000, seed=21)
    found: list[Found] = [[list(event) for event in interpret(stream.whole).events] for stream in streams]
    assert differences(streams, found) == []


def test_the_streams_are_many_and_the_same_for_a_seed() -> None:
    assert generate(50, seed=3) == generate(50, seed=3) != generate(50, seed=4)
    events = [event for stream in SAMPLE for event in ours(stream)]
    assert len(events) > 1000
    assert len({kind for kind, _, _ in events}) >= 5
    assert any(b"\r" in stream.whole for stream in SAMPLE)
    assert any(len(stream.chunks) > 3 for stream in SAMPLE)


def test_a_difference_is_seen() -> None:
    stream = Stream((b"data: a\n\n",))
    assert differences([stream], [[["message", "", "a"]]]) == []
    for wrong in ([], [["message", "", "b"]], [["message", "1", "a"]], [["x", "", "a"]]):
        assert len(differences([stream], [wrong])) == 1
