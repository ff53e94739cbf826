"""An SSE event above the limit: reported with its size and with the option that raises the limit."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.cycle import CycleSpec, Ledger
from harness.core.errors import ConfigError
from harness.experiment import trial_cycle
from harness.experiment.guard import guard_once, setup_for
from harness.experiment.options import GuardRequest, request_of
from harness.plugin.arguments import convert
from harness.swarm.launch import Swarm
from harness.swarm.load import LoadOptions
from harness.swarm.setup import SwarmSetup
from tests.edges.servers.sse_scripted import CHUNKED, Connection, serve

SERVICE = Path(__file__).parents[1] / "services" / "asyncio_service.py"
SIZE = 3000


def script(it: Connection) -> None:
    """One small event and one of SIZE bytes: in one line, or in lines of 100 bytes (the data of each and its LF)."""
    line = b"data: " + b"x" * (SIZE - 1) + b"\n"
    lines = (b"data: " + b"x" * 99 + b"\n") * (SIZE // 100)
    it.send(CHUNKED)
    it.chunk(b"data: a\n\n")
    it.chunk((line if it.asked.target == "/line" else lines) + b"\n")


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Ledger]:
    """(path, limit) → what the swarm counted of 4 streams that wait for 2 events."""
    found: dict[tuple[str, int], Ledger] = {}
    with serve(script) as server:
        for limit, processes in ((SIZE - 1, 1), (SIZE, 1), (SIZE - 1, 2)):
            load = LoadOptions(stall_after=10.0, max_event=limit, processes=processes)
            with Swarm(
                SwarmSetup(server.url, replace(load, seed=1)), tmp_path_factory.mktemp("swarm")
            ) as swarm:
                for path in ("/line", "/lines"):
                    spec = CycleSpec(0, 4, 4, 30.0, events=2, paths=(path,))
                    found[f"{path} {processes}", limit] = swarm.cycle(spec)
    return found


@pytest.mark.parametrize("path", ["/line 1", "/lines 1", "/line 2", "/lines 2"])
def test_an_event_one_byte_above_the_limit_fails_with_its_size(
    ledgers: dict[tuple[str, int], Ledger], path: str
) -> None:
    ledger = ledgers[path, SIZE - 1]
    assert ledger.causes == {"limit": 4}
    assert (ledger.completed, ledger.events) == (0, 4)  # the small events count
    detail = ledger.details["limit"]
    assert f"an event with {SIZE} bytes of data or more; expected at most {SIZE - 1}" in detail
    assert "raise max_event (harness guard: --max-event)" in detail
    assert ledger.first_failure == f"limit: {detail}"


@pytest.mark.parametrize("path", ["/line 1", "/lines 1"])
def test_an_event_at_the_limit_is_an_event(ledgers: dict[tuple[str, int], Ledger], path: str) -> None:
    ledger = ledgers[path, SIZE]
    assert (ledger.causes, ledger.details, ledger.completed) == ({}, {}, 4)
    assert ledger.events == 8


def request(tmp_path: Path, max_event: int) -> GuardRequest:
    return request_of(
        url="http://127.0.0.1:{port}/events", command=(sys.executable, str(SERVICE), "{port}", "healthy"),
        connections=10, concurrency=10, dwell=1.0, settle=0.3, cycles=3, max_time=60.0, runtime="none",
        max_event=max_event, hold=0.0, out=tmp_path / "run",
    )  # fmt: skip


@pytest.mark.timeout(120)
def test_the_verdict_names_the_size_and_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The service does not exit: no failed cycle needs to wait for that.
    monkeypatch.setattr(trial_cycle, "EXIT_TIMEOUT", 0.2)
    done = guard_once(request(tmp_path, 2), command="test")
    assert done.verdict.exit_code == 3
    assert "an event with" in done.verdict.explanation
    assert "bytes of data or more; expected at most 2" in done.verdict.explanation
    assert "--max-event" in done.verdict.advice
    assert "request the URL yourself" not in done.verdict.advice


@pytest.mark.parametrize("wrong", [0, -1, (1 << 30) + 1])
def test_a_limit_that_cannot_be_kept_is_a_mistake(wrong: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"max_event={wrong}: expected a size from 1 byte to 1024 MiB"):
        setup_for(request(tmp_path, wrong))
    for right in (1, 1 << 30):
        assert setup_for(request(tmp_path, right)).load.max_event == right


def test_a_test_may_write_the_limit_as_a_size() -> None:
    assert convert("max_event", "4 MiB") == 4 << 20
    assert convert("max_event", 5) == 5
    with pytest.raises(ConfigError, match=r"guard\(max_event=…\) '4 apples': expected a size"):
        convert("max_event", "4 apples")
