"""Clients that stay connected, for real: stalled readers are felt, and levels are read meanwhile."""

from __future__ import annotations

import socket
import statistics
import sys
import threading
from itertools import combinations
from pathlib import Path

import pytest

from harness.core.cycle import CycleSpec, Phase
from harness.core.judge.while_connected import grown
from harness.core.metric import Key
from harness.core.plan import Stop
from harness.core.record import Trial
from harness.experiment.guard import guard_once
from harness.experiment.options import request_of
from tests.edges.command_line import wait_for
from tests.edges.swarm_cycles import swarm_of

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
EVENT = b"data: " + b"x" * 16_000 + b"\n\n"
FELT = 400_000  # bytes: 80 kB were measured, and 2 MB with the segments of loopback

# One event of 20 ms, and 20 kB kept for each as long as its stream lives.
RETAINS = """
import asyncio, sys
async def serve(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nConnection: close\\r\\n\\r\\n")
    history = []
    try:
        while not reader.at_eof():
            history.append("x" * 20_000)
            writer.write(b"data: x\\n\\n")
            await writer.drain()
            await asyncio.sleep(0.02)
    except OSError:
        pass
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(main())
"""


def hold(connections: int, stalled: int, dwell: float) -> CycleSpec:
    return CycleSpec(
        0, connections, connections, dwell, events=0, paths=("/events",), phase=Phase.HOLD, stalled=stalled
    )


class Flood:
    """Sends without an end, and counts what each client took until its buffers were full."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.full = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._flood, args=(client,), daemon=True).start()

    def _flood(self, client: socket.socket) -> None:
        number = len(self.taken)
        self.taken.append(0)
        client.settimeout(1.0)
        try:
            client.recv(65536)
            client.sendall(HEAD)
            while self.taken[number] < 50_000_000:
                self.taken[number] += client.send(EVENT)
        except TimeoutError:
            self.full += 1
        except OSError:
            pass
        client.close()

    def close(self) -> None:
        self._listener.close()


@pytest.mark.parametrize("stalled", [0, 1])
def test_a_stalled_reader_blocks_the_service_and_one_that_reads_does_not(
    tmp_path: Path, stalled: int
) -> None:
    flood = Flood()
    try:
        with swarm_of(flood.url, tmp_path, stall_after=30.0) as swarm:
            ledger = swarm.cycle(hold(1, stalled, 2.0))
        assert (ledger.opened, ledger.answered, ledger.failed) == (1, 1, 0)
        (taken,) = flood.taken
        if stalled:
            wait_for(lambda: flood.full == 1, "the service has felt it")
            assert taken < FELT
            assert ledger.by_mode == {"stall": 1}
        else:
            assert taken > FELT
            assert flood.full == 0
    finally:
        flood.close()


def test_levels_are_read_while_clients_stay_and_show_what_each_event_retains(tmp_path: Path) -> None:
    def once(trial: Trial) -> CycleSpec | Stop:
        # A busy machine reads the heap up to half a second after it has counted the events.
        return Stop("done") if trial.observations else hold(20, 0, 8.0)

    request = request_of(
        "http://127.0.0.1:{port}/events", command=(sys.executable, "-c", RETAINS, "{port}"), connections=20,
        settle=0.3, max_time=30.0, out=tmp_path / "out",
    )  # fmt: skip
    done = guard_once(request, command="test", steps=once)
    (seen,) = done.trial.observations
    assert len(seen.connected) >= 5
    counts = [reading.events or 0 for reading in seen.connected]
    assert 0 < counts[0] < counts[-1] <= seen.ledger.events
    heap = next(one for one in grown(seen) if one.key == Key("memory", "heap-bytes"))
    assert heap.lasting
    assert heap.clients == 20
    # The heap is read up to a second after its events were counted if the machine is busy, so the first and the last
    # reading alone are not exact. The median slope of all pairs (Theil and Sen) leaves single late readings out.
    levels = [reading.levels[heap.key] for reading in seen.connected]
    slopes = [
        (levels[late] - levels[early]) / (counts[late] - counts[early])
        for early, late in combinations(range(len(counts)), 2)
        if counts[late] > counts[early]
    ]
    assert statistics.median(slopes) == pytest.approx(20_000, rel=0.1)
    assert heap.total / heap.events == pytest.approx(20_000, rel=0.3)
