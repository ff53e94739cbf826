"""A decoder that knows the usual shapes of events finds the same events as one that does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.core.sse.decoder import Decoder
from harness.core.sse.shapes import SHAPES

LINES = st.sampled_from(
    [
        b"data: a\n",
        b"data:\n",
        b"data: \xc3\n",
        b"id: 7\n",
        b"id: 9\n",
        b"id: 9\0\n",
        b"id\n",
        b"event: x\n",
        b"event:\n",
        b": beat\n",
        b"retry: 5\n",
        b"\n",
        b"\r\n",
    ]
)
STREAMS = st.lists(LINES, max_size=24).map(b"".join)


@given(shape=st.sampled_from(list(SHAPES.values())), stream=STREAMS, cut=st.integers(0, 200))
def test_the_expected_shape_changes_no_event(shape: object, stream: bytes, cut: int) -> None:
    plain, shaped = Decoder(check_ids=True), Decoder(check_ids=True, shape=shape)  # type: ignore[arg-type]
    for chunk in (stream[:cut], stream[cut:]):
        assert plain.feed(chunk) == shaped.feed(chunk)
    for name in ("comments", "last_event_id", "retry"):
        assert getattr(plain, name) == getattr(shaped, name), name
    for name in ("missed", "repeated", "disordered"):
        assert getattr(plain.ids, name) == getattr(shaped.ids, name), name


def test_a_decoder_hands_on_the_shape_it_has_found() -> None:
    for fields, shape in SHAPES.items():
        decoder = Decoder()
        decoder.feed(b"".join(name.encode() + b": 1\n" for name in fields) + b"\n")
        assert decoder.shape is shape
