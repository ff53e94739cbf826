"""One cycle after another: the ledger agrees with an independent count, and every way to disconnect is visible in the
packets."""

from __future__ import annotations

import csv
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.cycle import DISCONNECT_MODES, Ledger
from harness.swarm.launch import Swarm
from harness.target.spawn import free_port
from tests.edges.servers.counting_server import HEAD, CountingServer
from tests.edges.servers.sse_scripted import Connection, serve
from tests.edges.swarm_cycles import agree, spec, swarm_at, swarm_of

HOLD = 1.2  # the server needs 0.1 of them to be sure whether the client still reads
DEADLINE = 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[CountingServer]:
    with CountingServer() as found:
        yield found


@pytest.fixture(scope="module")
def web() -> int:
    return free_port()


@pytest.fixture(scope="module")
def swarm(server: CountingServer, web: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    folder = tmp_path_factory.mktemp("swarm")
    with swarm_at(server, folder, linger=HOLD, web_port=web) as found:
        yield found


def test_the_ledger_agrees_exactly_with_an_independent_count(
    swarm: Swarm, server: CountingServer, web: int
) -> None:
    server.clear()
    before = rows(web)
    ledger = swarm.cycle(spec(100, 20, paths=("/a", "/b"), disconnect="mixed"))
    count = agree(ledger, server)
    assert ledger.opened == ledger.completed == 100
    assert ledger.failed == 0
    assert ledger.causes == {}
    assert ledger.by_path == {"/a": 50, "/b": 50}
    assert ledger.by_mode == dict.fromkeys(DISCONNECT_MODES, 20)  # equal parts
    assert ledger.aborts == 80
    assert ledger.answered == 80
    assert ledger.answered_by_mode == dict.fromkeys(set(DISCONNECT_MODES) - {"rst-early"}, 20)
    assert (ledger.reset, ledger.refused, ledger.unanswered) == (20, 0, 0)
    assert ledger.peak == count.peak
    assert ledger.events == 80 * 3  # all but those that disconnected early
    assert ledger.stalls == ledger.ids_missed == ledger.ids_repeated == ledger.ids_disordered == 0
    assert count.peak == 20  # constant concurrency: reached, never passed
    assert ledger.stream_seconds <= 20 * ledger.seconds
    # Locust's own tables, over its web UI, say the same.
    after = rows(web)
    added = {name: after[name] - before.get(name, 0) for name in after}
    assert added["life"] == added["connect"] == 100
    assert added["headers"] == added["first event"] == added["Total"] == 80  # the first event is the response
    assert added["gap"] == 80 * 2


def rows(web: int) -> dict[str, int]:
    """Locust's counts by entry, summed over paths."""
    with urllib.request.urlopen(f"http://127.0.0.1:{web}/stats/requests/csv", timeout=DEADLINE) as answer:
        lines = answer.read().decode().splitlines()
    found: dict[str, int] = {}
    for row in csv.DictReader(lines):
        name = "Total" if row["Name"] == "Aggregated" else row["Type"]
        found[name] = found.get(name, 0) + int(row["Request Count"])
    return found


@pytest.mark.parametrize("mode", DISCONNECT_MODES)
def test_each_way_to_disconnect_is_seen_on_the_wire(swarm: Swarm, server: CountingServer, mode: str) -> None:
    server.clear()
    ledger = swarm.cycle(spec(20, disconnect=mode))
    agree(ledger, server)
    assert dict(server.count.by_end) == {mode: 20}
    if mode in ("half-close", "stall"):
        assert ledger.completed == 20
    if mode == "stall":  # silent for its time before the reset
        assert ledger.stream_seconds >= 20 * HOLD


@pytest.mark.parametrize("mode", ["fin", "rst", "rst-early", "stall"])
def test_a_stream_that_never_begins_is_held_closed_in_its_mode_and_counted_as_stalled(
    swarm: Swarm, server: CountingServer, mode: str
) -> None:
    server.clear()
    ledger = swarm.cycle(spec(8, 4, dwell=0.3, paths=("/mute",), disconnect=mode))
    count = server.settle(8)
    early = mode == "rst-early"  # it has disconnected before the server could see it
    assert ledger.by_mode == {mode: 8}
    assert ledger.answered == 0
    assert (ledger.unanswered, ledger.reset) == ((0, 8) if mode == "rst-early" else (8, 0))
    # No head was sent: every RST is early.
    assert count.by_end == {"fin" if mode == "fin" else "rst-early": 8}
    assert (ledger.stalls, ledger.failed) == ((0, 0) if early else (8, 8))
    assert ledger.causes == ({} if early else {"stalled": 8})
    assert early or ledger.stream_seconds >= 8 * 0.3
    assert (ledger.opened, ledger.open_now, ledger.events) == (8, 0, 0)


def test_a_head_that_arrives_slowly_is_distinguished_from_silence(tmp_path: Path) -> None:
    """Held for its dwell as a silent one is; bytes that never make a whole head are not a sign of life."""
    with serve(drips) as server, swarm_of(server.url, tmp_path, stall_after=1.0) as found:
        ledger = found.cycle(spec(4, 4, dwell=1.5))
    assert (ledger.causes, ledger.stalls, ledger.by_mode) == ({"dripping": 4}, 4, {"fin": 4})
    assert ledger.stream_seconds >= 4 * 1.5


def drips(it: Connection) -> str:
    """A byte of a header at a time, until the client has gone."""
    it.send(b"HTTP/1.1 200 OK\r\nX: ")
    return it.drip()


@pytest.mark.parametrize(("path", "cause"), [("/limited", "rate-limited-429"), ("/busy", "rate-limited-503")])
def test_rate_limits_are_causes_of_their_own(
    swarm: Swarm, server: CountingServer, path: str, cause: str
) -> None:
    server.clear()
    ledger = swarm.cycle(spec(10, paths=("/a", path)))
    server.settle()
    assert ledger.causes == {cause: 5}
    assert (ledger.completed, ledger.failed, ledger.rate_limited) == (5, 5, 5)
    assert (ledger.answered, ledger.refused, ledger.statuses) == (5, 5, {int(cause[-3:]): 5})
    assert ledger.first_failure == cause
    assert any(note.text.startswith("rate limited: 5 streams, Retry-After '7'") for note in ledger.notes)


def test_streams_that_the_service_ends_are_completed(swarm: Swarm, server: CountingServer) -> None:
    server.clear()
    ledger = swarm.cycle(spec(10, events=0, paths=("/ended",)))
    agree(ledger, server)
    assert ledger.by_mode == {"ended": 10}
    assert ledger.aborts == 0


def test_ids_that_are_missing_repeated_or_out_of_order_are_in_the_ledger(tmp_path: Path) -> None:
    ids = b"".join(b"id: %d\ndata: x\n\n" % number for number in (1, 2, 5, 5, 4, 6))
    with answering(HEAD + ids) as url, swarm_of(url, tmp_path) as found:
        ledger = found.cycle(spec(5, 1, events=6))
    assert (ledger.ids_missed, ledger.ids_repeated, ledger.ids_disordered) == (10, 5, 5)


def test_an_idle_cycle_opens_nothing(swarm: Swarm, server: CountingServer) -> None:
    server.clear()
    ledger = swarm.cycle(spec(0, 1, dwell=0.2))
    assert (ledger.opened, server.count.accepted) == (0, 0)
    assert ledger.seconds >= 0.2


def test_a_cancelled_cycle_disconnects_at_once_and_keeps_its_count(
    swarm: Swarm, server: CountingServer
) -> None:
    server.clear()
    seen: list[Ledger] = []
    ledger = swarm.cycle(
        spec(100, 10, events=0, dwell=60.0),
        progress=seen.append,
        cancelled=lambda: bool(seen) and seen[-1].open_now == 10,
    )
    count = server.settle(10)
    assert ledger.opened == count.accepted == 10
    assert (ledger.open_now, ledger.completed, ledger.causes) == (0, 0, {"cancelled": 10})
    assert "cancelled" in [note.text for note in ledger.notes]
    assert dict(count.by_end) == {"fin": 10}


def test_a_service_that_has_exited_ends_the_cycle_early(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with swarm_of(f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path) as found:
            ledger = found.cycle(spec(10_000, 50))
    assert set(ledger.causes) == {"refused"}
    assert 5 <= ledger.opened < 1000  # not hammered
    assert ledger.failed == ledger.opened
    assert any("stopped early: every connection was refused" in note.text for note in ledger.notes)


class answering:  # noqa: N801 - used as a function
    """A server that sends the same bytes to everyone and waits for them to go."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._listener = socket.create_server(("127.0.0.1", 0))

    def _run(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(DEADLINE)
                peer.recv(65536)
                peer.sendall(self._data)
                try:
                    while peer.recv(4096):
                        pass
                except OSError:
                    pass

    def __enter__(self) -> str:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(DEADLINE)


def test_a_burst_is_no_larger_than_asked(tmp_path: Path) -> None:
    """A service that answers nothing gets two streams in each tenth of a second, and not all forty at once."""

    def mute(it: Connection) -> str:
        return it.wait_gone()

    seen: list[tuple[float, int]] = []
    with serve(mute) as server, swarm_of(server.url, tmp_path, burst=2) as found:
        found.wait_ready()
        began = time.monotonic()
        ledger = found.cycle(
            spec(40, 40, events=0, dwell=1.0),
            progress=lambda now: seen.append((time.monotonic() - began, now.opened)),
        )
    assert ledger.opened == 40
    assert all(opened <= 2 * (seconds / 0.1 + 1) for seconds, opened in seen), seen
    assert len({opened for _, opened in seen}) > 2, "it was still opening when progress was told"
