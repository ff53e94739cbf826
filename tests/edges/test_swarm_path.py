"""The path of one byte, as docs/architecture.md shows it, is the path that a byte takes."""

from __future__ import annotations

import re
import socket
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import gevent

from harness.core.sse.decoder import Decoder
from harness.http.endpoint import Endpoint
from harness.http.request import Request
from harness.http.route import Address, Route
from harness.swarm.stream import Stream
from harness.swarm.stream_spec import Report, StreamSpec
from harness.swarm.tally import Tally
from harness.swarm.timer_wheel import TimerWheel

ROOT = Path(__file__).parents[2]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"id: 1\ndata: x\n\n"


def documented() -> list[tuple[str, str]]:
    """(function, file) of each step."""
    text = (ROOT / "docs" / "architecture.md").read_text().partition("## The path of one byte")[2]
    block = re.search(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block
    return [(line.split()[0], line.split()[1]) for line in block[1].splitlines()]


class Owner:
    """As a cycle of the pool: counts a stream that is over in the ledger."""

    def __init__(self) -> None:
        self.wheel = TimerWheel()
        self.loop = gevent.get_hub().loop
        self.tally = Tally()
        self.events = 0

    def on_opened(self, stream: Stream) -> None: ...
    def on_head(self, stream: Stream) -> None: ...
    def on_gap(self, report: Report, seconds: float, events: int) -> None: ...
    def on_redirect(self, stream: Stream, request: Request) -> None: ...

    def on_first_event(self, report: Report) -> None:
        self.events += 1

    def on_closed(self, stream: Stream) -> None:
        self.tally.close(stream.report, stream.decoder)


def test_a_byte_passes_the_functions_that_are_documented(tmp_path: Path) -> None:
    steps = documented()
    assert len(steps) <= 5
    passed: list[tuple[str, str]] = []

    def watch(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code in (Decoder.feed.__code__, Tally.close.__code__):
            stack = []
            at: FrameType | None = frame
            while at is not None and at.f_code.co_name != "run":
                stack.append((at.f_code.co_qualname, str(Path(at.f_code.co_filename).relative_to(ROOT))))
                if at.f_code.co_name == "_readable" or code is Tally.close.__code__:
                    break
                at = at.f_back
            passed.extend(reversed(stack))

    owner = Owner()
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        request = Request(Endpoint.parse("http+unix://" + path.replace("/", "%2F") + "/"))
        route = Route((Address(socket.AF_UNIX, path),))
        stream = Stream(owner, StreamSpec("/"), request, route, Decoder(check_ids=True))
        peer, _ = listener.accept()
        with peer:
            peer.sendall(HEAD + b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
            sys.setprofile(watch)
            try:
                deadline = time.monotonic() + 10.0
                while not owner.events and time.monotonic() < deadline:
                    gevent.sleep(0.01)
                stream.disconnect()
            finally:
                sys.setprofile(None)
    assert owner.tally.outcome(1.0).ledger.events == 1
    assert passed == steps
