"""``SseUser``: each way to disconnect, on the wire."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.edges.servers.sse_client import Driver, driver, secured
from tests.edges.servers.sse_scripted import STREAM, Connection, serve

EVENT = STREAM + b"data: x\n\n"


@pytest.fixture(scope="module")
def ask() -> Iterator[Driver]:
    with driver() as found:
        yield found


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return secured(tmp_path_factory.mktemp("tls"))


WAYS = {"fin": "fin", "rst": "rst", "half-close": "fin", "stall": "rst"}


def left(user: Any, path: str, way: str) -> str:
    """Runs in the driver: read one event, then disconnect in a given way."""
    import gevent

    with user.sse(path, disconnect=way) as stream:
        next(stream)
    while stream._stream is not None:
        gevent.sleep(0.01)
    return way


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_user_disconnects_in_the_requested_way(
    ask: Driver, pem: tuple[Path, ssl.SSLContext], way: str, secure: bool
) -> None:
    def script(it: Connection) -> str:
        it.send(EVENT)
        it.wait_gone()
        return it.kernel_end()

    cert, context = pem
    with serve(script, tls=context if secure else None) as server:
        ask(left, server.url, "/", way, options={"ca": str(cert)})
        server.wait(lambda: server.returned)
    # By the kernel's state (tcp_states.h), CLOSE_WAIT 8 after a FIN, CLOSE 7 after a RST: TLS hides which it was.
    assert server.returned == [WAYS[way]]


def test_a_client_closes_with_fin_while_the_service_still_sends(ask: Driver) -> None:
    """What has not been read would make close(2) send RST."""

    def script(it: Connection) -> str:
        it.send(EVENT)
        it.sock.setblocking(False)
        beats, end = b":\n" * 32_768, time.monotonic() + 10.0
        while time.monotonic() < end:
            try:
                it.sock.send(beats)
            except BlockingIOError:
                pass
            except OSError:
                return it.wait_gone()  # the kernel still shows a FIN that came before the RST
            try:
                if not it.sock.recv(1):
                    return "fin"
            except BlockingIOError:
                pass
            except OSError:
                return "rst"
        return "silence"

    with serve(script) as server:
        for number in range(5):
            ask(left, server.url, "/", "fin")
            server.wait(lambda number=number: len(server.returned) > number)
    assert server.returned == ["fin"] * 5


def left_early(user: Any, path: str) -> list[Any]:
    """Runs in the driver: the result of a stream that is closed before it begins."""
    with user.sse(path, disconnect="rst-early") as stream:
        return list(stream)


def test_a_user_may_disconnect_before_its_stream_begins(ask: Driver) -> None:
    with serve(lambda it: it.wait_gone()) as server:
        got = ask(left_early, server.url, "/")
        server.wait(lambda: server.returned)
    assert (got.value, server.returned, server.connections) == ([], ["rst"], 1)
    assert got.errors == {}
    assert got.entries["life /"][:2] == [1, 0]
