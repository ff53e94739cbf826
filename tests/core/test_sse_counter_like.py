"""A counter that was told what events look like counts as one that was not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.core.sse.decoder import Counter

LINES = st.sampled_from(
    [
        b"data: a\n",
        b"data:\n",
        b"id: 7\n",
        b"id: 9\n",
        b"id\n",
        b"event: x\n",
        b": beat\n",
        b"retry: 5\n",
        b"\n",
        b"\r\n",
    ]
)
STREAMS = st.lists(LINES, max_size=24).map(b"".join)


@given(before=STREAMS, stream=STREAMS, cut=st.integers(0, 200))
def test_what_a_counter_expects_changes_no_count(before: bytes, stream: bytes, cut: int) -> None:
    other = Counter(check_ids=True)
    other.feed(before)
    plain, told = Counter(check_ids=True), Counter(check_ids=True, like=other)
    for chunk in (stream[:cut], stream[cut:]):
        assert plain.feed(chunk) == told.feed(chunk)
    for name in (
        "events",
        "ids",
        "comments",
        "bytes",
        "missed",
        "repeated",
        "disordered",
        "last_event_id",
        "retry",
    ):
        assert getattr(plain, name) == getattr(told, name), name
