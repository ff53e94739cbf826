"""The figures of a guard and a soak, from the first reading to the verdict."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.experiment.guard import guard_once
from harness.experiment.options import request_of
from harness.target.spawn import free_port
from tests.edges.command_line import SERVICES, SMALL, URL, harness
from tests.export.collector import collector
from tests.export.test_exports import Seen, scraped

SERVICE = (sys.executable, str(SERVICES / "plain_sse.py"), "{port}")
QUICK = {
    "connections": 60, "concurrency": 60, "dwell": 0.3, "settle": 0.15, "sensitivity": 0.1, "stall_after": 10.0,
    "retention": 0.0, "hold": 0.0, "runtime": "none",
}  # fmt: skip
pytestmark = pytest.mark.timeout(200)


@contextlib.contextmanager
def scraper(address: str, every: float = 0.2) -> Iterator[list[Seen]]:
    """A Prometheus, as far as an exporter notices: every scrape that was answered."""
    seen: list[Seen] = []
    over = threading.Event()

    def collect() -> None:
        while not over.wait(every):
            with contextlib.suppress(OSError, urllib.error.URLError):
                seen.append(scraped(address))

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_a_guard_publishes_levels_rates_and_its_verdict(tmp_path: Path) -> None:
    port = free_port()
    with collector() as far, scraper(f"http://127.0.0.1:{port}/metrics") as seen:
        done = guard_once(
            request_of(
                URL, command=[*SERVICE, "eventfd"], out=tmp_path / "run", prometheus=f"127.0.0.1:{port}",
                otlp=far.url, **QUICK,
            ),
            command="test",
        )  # fmt: skip
    assert done.verdict.outcome == "leaking"
    assert done.run.failures == []
    (finding,) = [one for one in done.verdict.findings if one.kind == "eventfd"]
    assert finding.rate
    labels = tuple(sorted(("fds", "eventfd", finding.driver or "", finding.rate.unit, "leaking")))
    last, there = seen[-1], far.points()
    # The process ends with its verdict: the scraper that came regularly still got it.
    assert last["harness_verdict"]["leaking",] == there["harness_verdict"]["leaking",] == 1.0
    assert last["harness_exit_code"] == {(): 1.0}
    for name, value in (
        ("harness_growth", finding.rate.value),
        ("harness_growth_low", finding.rate.low),
        ("harness_growth_high", finding.rate.high),
    ):
        assert last[name][labels] == there[name][labels] == pytest.approx(value)
    opened = sum(one.ledger.opened for one in done.trial.observations)
    assert last["harness_streams_opened_total"] == {(): opened}
    assert there["harness_streams_opened"] == {(): opened}
    assert last["harness_cycles_total"] == {(): len(done.trial.observations)}
    levels = done.trial.observations[-1].levels
    assert set(last["harness_level"].values()) <= set(levels.values())
    # Before the end there were readings and phases, and no verdict.
    early = [one for one in seen if "harness_verdict" not in one]
    assert any(total(one, "harness_fds") > 3 for one in early)
    assert {phase for one in early for (phase,) in one.get("harness_phase", {})} >= {"settling"}
    counts = [total(one, "harness_streams_opened_total") for one in seen]
    assert counts == sorted(counts), "a counter never falls"
    (info,) = last["harness_run_info"]
    assert done.run.record.run_id in info
    assert "guard" in info


def total(seen: Seen, name: str) -> float:
    return sum(seen.get(name, {}).values())


def test_a_soak_with_a_collector_that_is_down_has_its_verdict_and_one_line(tmp_path: Path) -> None:
    done = harness(
        "soak", "--duration", "4s", "--url", URL, *SMALL, "--runtime", "none", "--out", tmp_path / "run", "--json",
        tmp_path / "verdict.json", "--otlp", f"http://127.0.0.1:{free_port()}/v1/sesame-open?key=sesame-open",
        "--quiet", "--", *SERVICE,
    )  # fmt: skip
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    # On a busy machine four seconds may not suffice for a pass.
    assert (verdict["outcome"], done.returncode) in (("bounded", 0), ("inconclusive", 3)), done.stderr
    assert verdict["trials"][0]["infrastructure"] is None
    (line,) = done.stderr.splitlines()
    assert line.startswith("harness: the export of figures: ")
    assert line.endswith(
        "exports to 127.0.0.1 failed: connection refused; check its address; the verdict stands"
    )
    written = "".join(
        path.read_text(errors="replace") for path in (tmp_path / "run").rglob("*") if path.is_file()
    )
    assert "sesame-open" not in done.stdout + done.stderr + written


@pytest.mark.parametrize("command", [("guard",), ("soak", "--duration", "5s")], ids=["guard", "soak"])
def test_a_port_that_is_taken_is_one_error_before_the_service_starts(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        done = harness(
            *command, "--url", URL, *SMALL, "--out", tmp_path / "run", "--prometheus", place, "--quiet", "--",
            "sh", "-c", f"touch {tmp_path}/started; exit 1",
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        f"harness: --prometheus '{place}': Address already in use; expected PORT, or HOST:PORT with an address of this "
        "machine (port 0 takes any)\n"
    )
    assert not (tmp_path / "started").exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.soak(reason="waits for half a minute, and takes 12 s of a core")
def test_a_scraper_that_never_came_is_not_waited_for(tmp_path: Path) -> None:
    done = harness(
        "guard", "--url", URL, *SMALL, "--runtime", "none", "--out", tmp_path / "run", "--prometheus", "0", "--json",
        tmp_path / "verdict.json", "--quiet", "--", *SERVICE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads((tmp_path / "verdict.json").read_text())["outcome"] == "bounded"
