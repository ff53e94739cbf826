"""Other Python decoders of server-sent events, each called so that it is as fast as it can be.

Each takes the chunks of one stream and returns how many events (or comments) it made of them.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Any

import requests
import requests_sse
import sseclient
from httpx_sse._decoders import SSEDecoder, SSELineDecoder
from ld_eventsource.reader import _BufferedLineReader, _SSEReader


def launchdarkly(chunks: list[bytes]) -> int:
    return sum(1 for _ in _SSEReader(_BufferedLineReader.lines_from(chunks)).events_and_comments())


def httpx_sse(chunks: list[bytes]) -> int:
    text = codecs.getincrementaldecoder("utf-8")("replace").decode  # as httpx.Response.iter_text
    lines = SSELineDecoder().decode
    event = SSEDecoder().decode
    found = 0
    for chunk in chunks:
        for line in lines(text(chunk)):
            if event(line) is not None:
                found += 1
    return found


class _Chunks(list[bytes]):
    def close(self) -> None:
        """SSEClient wants a stream."""


def sseclient_py(chunks: list[bytes]) -> int:
    return sum(1 for _ in sseclient.SSEClient(_Chunks(chunks)).events())


class _Ended(Exception):
    """Instead of the reconnection at the end of the stream."""


class _Raw:
    """What requests reads a body from."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        return iter(self.chunks)


class _Session:
    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    def request(self, **_: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = 200
        response.url = "http://localhost/"
        response.headers["Content-Type"] = "text/event-stream"
        response.raw = _Raw(self.chunks)
        return response


def requests_sse_(chunks: list[bytes]) -> int:
    def ended() -> None:
        raise _Ended

    source = requests_sse.EventSource("http://localhost/", session=_Session(chunks), on_error=ended)
    source.connect()
    found = 0
    try:
        for _ in source:
            found += 1
    except _Ended:
        return found
    raise AssertionError("the stream did not end")


RIVALS = {
    "launchdarkly-eventsource": launchdarkly,
    "httpx-sse": httpx_sse,
    "sseclient-py": sseclient_py,
    "requests-sse": requests_sse_,
}
