"""The fixed service releases everything, and serves what its clients expect."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from harness.reference.__main__ import main
from tests.edges.reference_process import ROOT, Broker, Client, Service, cycle, running, steady, wait_for

FAST = ("--time-scale", "0.02")


def levels(service: Service) -> Counter[str]:
    return service.descriptors() + Counter(threads=service.threads())


def current_status(service: Service) -> str:
    """The present state, from new checks. Timeouts are a fiftieth of the usual ones, so on a busy machine an answer may
    come after its timeout, and only the next check succeeds. /api/system/status has the last results only."""
    return str(service.get("/api/dashboard/data")["system_health"]["status"])


@pytest.mark.parametrize("silent", [False, True], ids=["answering", "silent"])
def test_the_fixed_profile_releases_everything(tmp_path: Path, silent: bool) -> None:
    with running(tmp_path / "log", "--profile", "fixed", *FAST, silent=silent) as (service, _):
        cycle(service, 20)
        service.rest()
        rest = steady(lambda: levels(service))
        for number in range(6):
            cycle(service, 20, events=1 + number % 3, reset=bool(number % 2))
            service.rest()
            wait_for(lambda: not levels(service) - rest, lambda: f"{rest} again; now {levels(service)}")
        counters = service.get("/debug/counters")
        assert counters["streams"] == {"opened": 140, "closed": 140, "open": 0}
        assert counters["sockets"]["open"] == 8
        wait_for(
            lambda: current_status(service) == ("degraded" if silent else "healthy"),
            "degraded over HTTP alone",
        )
        assert service.stop() == 0
        assert "dangling" not in service.text()
        assert "Traceback" not in service.text()


def test_fixed_ends_at_once_with_streams_open(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--profile", "fixed", *FAST) as (service, _):
        clients = [Client(service, "/system/status/sse") for _ in range(5)]
        for client in clients:
            client.events(1)
        children = service.tree()[1:]
        assert service.stop() == 0
        assert "graceful shutdown exceeded" not in service.text(), "the service waited for a client"
        for client in clients:
            while more := client.socket.recv(65536):
                client.seen += more
            assert client.seen.endswith(b"\r\n0\r\n\r\n"), "the end of the stream is said (RFC 9112, 7.1)"
            client.leave()
        assert all(not Path(f"/proc/{pid}").exists() for pid in children)


def test_payloads_and_event_names(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--profile", "fixed", *FAST) as (service, _):
        wanted = {
            "/dashboard/sse": ("dashboard-update", {"timestamp", "system_health", "services", "metrics"}),
            "/system/status/sse": ("status-update", {"timestamp", "status", "services", "healthy"}),
        }
        for path, (name, keys) in wanted.items():
            client = Client(service, path)
            text = client.events(3).decode()
            client.leave()
            assert "text/event-stream" in text
            assert set(re.findall(r"^event: (\S+)", text, re.M)) == {name}
            assert re.findall(r"^id: (\d+)", text, re.M)[:3] == ["1", "2", "3"]
            payload = json.loads(re.findall(r"^data: (.*?)\r?$", text, re.M)[1])
            assert set(payload) == keys
        wait_for(lambda: current_status(service) == "healthy", "healthy")
        data = service.get("/api/dashboard/data")
        assert set(data["system_health"]) == {"status", "uptime", "components"}
        assert set(data["system_health"]["components"]) == {"broker", "state", "identity", "app"}
        assert set(data["services"]) == {"count", "healthy"}
        assert set(data["metrics"]) == {
            "request_rate",
            "response_time_ms",
            "error_rate",
            "memory_mb",
            "cpu_percent",
        }


@pytest.mark.parametrize("profile", ["fixed", "bare"])
def test_a_silent_stream_gets_keep_alive_comments(tmp_path: Path, profile: str) -> None:
    arguments = ("--profile", profile, "--keep-alive", "0.05", "--dashboard-interval", "30")
    with running(tmp_path / "log", *arguments) as (service, _):
        client = Client(service, "/dashboard/sse")
        client.events(1)
        while client.seen.count(b": keep-alive") < 3:
            client.seen += client.socket.recv(4096)
        assert client.seen.count(b"data:") == 1
        client.leave()
        wait_for(
            lambda: service.get("/debug/counters")["streams"]["open"] == 0, "the leave is seen in between"
        )


def test_readiness_does_not_wait_for_the_broker(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--profile", "upstream", "--real-time", silent=True) as (service, _):
        assert service.get("/api/system/status") | {"timestamp": 0} == {
            "timestamp": 0,
            "status": "unknown",
            "services": 4,
            "healthy": 0,
        }


def test_a_client_that_reconnects_continues_with_its_ids(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--profile", "bare", *FAST) as (service, _):
        client = Client(service, "/system/status/sse HTTP/1.1\r\nLast-Event-ID: 41\r\nX:")
        assert b"id: 42\r\n" in client.events(1)
        client.leave()


def test_a_broker_that_answers_again_is_healthy_again(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--profile", "bare", *FAST, "--timeout", "0.1") as (service, broker):
        client = Client(service, "/system/status/sse")

        def status() -> str:
            client.seen += client.socket.recv(65536)
            return str(service.get("/api/system/status")["status"])

        wait_for(lambda: status() == "healthy", "healthy")
        broker.order("silence")
        wait_for(lambda: status() == "unhealthy", "unhealthy")
        broker.order("resume")
        wait_for(lambda: status() == "healthy", "healthy again")
        client.leave()


def run_reference(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "harness.reference", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


def test_describe_names_parts_that_exist() -> None:
    described = json.loads(run_reference("--describe").stdout)
    defects = {entry["name"] for entry in described["defects"]}
    mitigations = {entry["name"] for entry in described["mitigations"]}
    assert len(defects) == 11
    assert len(mitigations) == 13
    assert all(entry["summary"] for entry in described["defects"] + described["mitigations"])
    assert all(entry["seen"] for entry in described["defects"])
    for profile in described["profiles"]:
        assert set(profile["defects"]) <= defects
        assert set(profile["mitigations"]) <= mitigations
        assert profile["broker"] in ("answering", "silent", "flapping")
        assert profile["expected"] in ("crashed", "bounded", "leaking", "stalled", "inconclusive")
        assert bool(profile["signatures"]) is (profile["expected"] == "crashed"), profile["name"]
    trials = {profile["name"] for profile in described["profiles"]}
    trials |= {variation["profile"]["name"] for variation in described["variations"]}
    assert {name for claim in described["claims"] for name, _ in claim["trials"]} == trials
    assert len({claim["name"] for claim in described["claims"]}) == len(described["claims"])
    assert all(claim["trials"] or claim["reason"] for claim in described["claims"])
    fixed = next(profile for profile in described["profiles"] if profile["name"] == "fixed")
    assert set(fixed["mitigations"]) == mitigations
    assert fixed["defects"] == []


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--profile", "orignal"), 2, "unknown profile 'orignal': expected one of original, upstream"),
        (("--defect", "nothing"), 2, "unknown defect 'nothing': expected one of abandoned-check"),
        (("--mitigation", "hope"), 2, "unknown mitigation 'hope': expected one of bounded-history"),
        (("--broker", "localhost"), 2, "'localhost' is not an endpoint"),
        (("--broker", "tcp://["), 2, "is not an endpoint"),
        (("--host", ""), 2, "'' is not an address"),
        (("--host", "\udcff"), 2, "is not an address"),
        (("--real-time", "--time-scale", "2"), 2, "--real-time and --time-scale exclude each other"),
        (("--timeout", "0"), 2, "0"),
    ],
)
def test_invalid_arguments_are_refused_in_one_line(
    arguments: tuple[str, ...], status: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == status
    assert words in capfd.readouterr().err


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with Broker() as broker, Service(tmp_path / "log", broker, "--profile", "bare") as service:
        answer = run_reference("--profile", "bare", "--port", str(service.port))
        assert answer.returncode == 4
        assert f"cannot listen on 127.0.0.1:{service.port}" in answer.stderr
        assert "Traceback" not in answer.stderr


def test_a_killed_broker_degrades_the_status_stream_within_one_timeout(tmp_path: Path) -> None:
    """The checks continue over HTTP, which must not hide that the broker has exited."""
    with running(tmp_path / "log", "--profile", "fixed", *FAST, "--timeout", "5") as (service, broker):
        client = Client(service, "/system/status/sse")

        def last() -> str:
            client.seen += client.socket.recv(65536)
            return (re.findall(rb'"status":"(\w+)"', client.seen) or [b""])[-1].decode()

        wait_for(lambda: last() == "healthy", "healthy with a broker")
        broker.process.kill()
        broker.process.wait()
        killed = time.monotonic()
        wait_for(lambda: last() == "degraded", "degraded without one")
        assert time.monotonic() - killed < 5
        client.leave()


def test_operators_find_health_readiness_and_metrics(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--profile", "fixed", *FAST) as (service, _):
        assert service.get("/healthz") == {"status": "ok"}
        wait_for(lambda: current_status(service) == "healthy", "healthy")
        assert service.get("/readyz") == {"status": "healthy"}
        client = Client(service, "/dashboard/sse")
        client.events(1)
        text = urllib.request.urlopen(service.url + "/metrics", timeout=10).read().decode()
        client.leave()
        assert "\nreference_streams_open 1\n" in text
        assert "\nreference_sockets_open 8\n" in text
        assert '\nreference_breaker_state{state="closed"} 1\n' in text
        assert re.search(r'^reference_checks_total\{outcome="finished"\} [1-9]', text, re.M)
        with urllib.request.urlopen(service.url + "/", timeout=10) as page:
            assert page.url.endswith("/dashboard")


def test_clients_share_their_rounds_of_checks(tmp_path: Path) -> None:
    """With and without shared-checks: ten clients see the same events, and cost ten rounds of checks or about one."""
    made = {}
    for shared in (True, False):
        more = ("--mitigation", "shared-checks") if shared else ()
        with running(tmp_path / "log", "--profile", "bare", "--time-scale", "0.1", *more) as (service, _):
            clients = [Client(service, "/dashboard/sse") for _ in range(10)]
            for client in clients:
                assert b'"status":"healthy"' in client.events(4)
            counters = service.get("/debug/counters")
            made[shared] = counters["checks"]["started"] / max(1, counters["events"]["sent"])
            for client in clients:
                client.leave()
            service.rest()
    assert made[False] == pytest.approx(4, rel=0.3), (
        "each client asks all four components for each of its events"
    )
    assert made[True] < made[False] / 2


def test_the_log_is_one_json_object_a_line_from_start_to_exit(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--profile", "fixed", *FAST) as (service, broker):
        wait_for(lambda: current_status(service) == "healthy", "every component is asked")
        broker.order("silence")
        wait_for(lambda: current_status(service) == "degraded", "the broker is missed")
        assert service.stop() == 0
        lines = [json.loads(line) for line in service.text().splitlines()]
    events = [line["event"] for line in lines]
    assert all({"time", "level", "logger", "event"} <= line.keys() for line in lines)
    assert events.index("listening") < events.index("component changed") < events.index("stopping")
    changed = [line for line in lines if line["event"] == "component changed"]
    assert {line["component"] for line in changed} == {"broker", "state", "identity", "app"}
    last = lines[-1]
    assert (last["event"], last["streams"], last["sockets"], last["contexts"]) == ("stopped", 0, 0, 0)


def test_every_option_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFERENCE_PROFILE", "orignal")
    answer = run_reference()
    assert answer.returncode == 2
    assert "unknown profile 'orignal'" in answer.stderr
    monkeypatch.setenv("REFERENCE_WORKERS", "none")
    answer = run_reference()
    assert answer.returncode == 2
    assert "Invalid value for '--workers': 'none'" in answer.stderr
