"""Generated streams, and the events that each implementation finds in them.

A stream is made of lines that are right, nearly right and wrong, with all line ends, bad UTF-8, byte order
marks and NULs, and is cut anywhere. The same seed gives the same streams.
"""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import dataclass

from harness.core.sse.decoder import Decoder

Found = list[list[str]]
"""[type, last event id, data] of each event."""

TYPES = ("message", "status", "漢", "a b", " x", "x:y", "Message")
NAMES = (b"data", b"data", b"data", b"event", b"id", b"retry", b"Data", b"dat", b"data ", b" data", b"\xef\xbb\xbfdata",
         b"x", b"")  # fmt: skip
VALUES = (b"", b" ", b"x", b" x", b"\tx", b"a:b", b"\xff", b"\xe2\x82", b"\xf0\x9f\x99\x82", b"\xed\xa0\x80", b"\0",
          b"1\0", b"7", b"\xef\xbb\xbfx", "\u2028\x85\x0b".encode(), b"y" * 700,
          b"\xc0\xaf", b"0300", b"1_0")  # fmt: skip
ENDS = (b"\n", b"\n", b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r")
REGULAR = (b"data: a\n\n", b"data:b\n\n", b": beat\n\n", b"id: 5\ndata: c\n\n", b"event: status\nid: 6\ndata: d\n\n",
           b"data: e\r\n\r\n", b"data: f\ndata: g\n\n")  # fmt: skip


@dataclass(frozen=True)
class Stream:
    """Bytes, cut into chunks."""

    chunks: tuple[bytes, ...]

    @property
    def whole(self) -> bytes:
        return b"".join(self.chunks)


def generate(count: int, seed: int) -> list[Stream]:
    """Generate a number of streams."""
    rng = random.Random(seed)
    return [_stream(rng) for _ in range(count)]


def _stream(rng: random.Random) -> Stream:
    parts = [b"\xef\xbb\xbf" * rng.choice((1, 1, 2))] if rng.random() < 0.15 else []
    ends = rng.choices(ENDS, k=rng.choice((1, 2, 9)))
    for _ in range(rng.randint(0, 14)):
        if rng.random() < 0.25:
            parts.append(rng.choice(REGULAR) * rng.randint(1, 3))
        else:
            parts.append(_line(rng) + rng.choice(ends))
    if rng.random() < 0.7:
        parts.append(b"\n\ndata: last" + rng.choice(ENDS))
    whole = b"".join(parts)
    places = sorted(rng.sample(range(len(whole) + 1), min(len(whole), rng.choice((0, 1, 3, 8)))))
    cuts = [0, *places, len(whole)]
    return Stream(tuple(filter(None, (whole[a:b] for a, b in itertools.pairwise(cuts)))))


def _line(rng: random.Random) -> bytes:
    name = rng.choice(NAMES)
    colon = rng.choice((b":", b": ", b": ", b""))
    value = rng.choice(TYPES).encode() if name == b"event" and rng.random() < 0.9 else rng.choice(VALUES)
    return name + colon + value


def ours(stream: Stream) -> Found:
    """The events that our decoder finds in each stream."""
    decoder = Decoder()
    return [list(event) for chunk in stream.chunks for event in decoder.feed(chunk)]


def types(streams: list[Stream]) -> list[str]:
    """Every event type that may occur: a browser must register a listener for each."""
    seen = set(TYPES)
    for value in VALUES:
        seen |= {value.decode("utf-8", "replace"), value.removeprefix(b" ").decode("utf-8", "replace")}
    seen |= {found[0] for stream in streams for found in ours(stream)}
    return sorted(seen - {""})


CHROMIUM_LOSES = re.compile(rb"\xef\xbb\xbf(\n|\r(?!\n))")
"""A byte order mark with an empty line right behind: Chromium 156 then loses the event that follows. The standard
(and eventsource-parser) has it dispatched; such streams are counted apart."""


def differences(streams: list[Stream], theirs: list[Found]) -> list[str]:
    """One line for each stream in which the decoder and another implementation find different events."""
    assert len(streams) == len(theirs)
    return [
        f"{stream.chunks!r}\n    ours   {ours(stream)!r}\n    theirs {other!r}"
        for stream, other in zip(streams, theirs, strict=True)
        if ours(stream) != other
    ]
