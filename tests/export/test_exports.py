"""Figures go to a real scraper and a real collector; whatever those do, a run is neither held up nor changed."""

from __future__ import annotations

import logging
import socket
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.core.cycle import Ledger
from harness.core.errors import ConfigError, NotificationError
from harness.core.judge.trial import judge
from harness.core.sample import Census, Sample
from harness.export import prometheus
from harness.export.board import Board
from harness.export.exports import Exports
from harness.export.otlp import INTERVAL, Otlp, endpoint_of
from harness.export.prometheus import Exporter, parse_listen_address
from harness.target.spawn import free_port
from tests.core.series import trial
from tests.edges.probe_target import wait_for
from tests.export.collector import collector

SAMPLE = Sample(1.0, fds=42, threads=3, processes=1, rss=1 << 20, cpu=2.5)
Seen = dict[str, dict[tuple[str, ...], float]]


def scraped(address: str) -> Seen:
    with urllib.request.urlopen(address, timeout=20) as answer:
        text = answer.read().decode()
    found: Seen = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.values()))] = sample.value
    return found


def filled(board: Board, *levels: float) -> None:
    """A finished run of so many cycles."""
    board.begin("run-1", "guard")
    board.sample(SAMPLE)
    board.census(Census(1.0, fds={"eventfd": 7}))
    played = trial(list(levels))
    board.trial(replace(played, verdict=judge(played)))


def test_prometheus_and_a_collector_get_the_same_figures_under_the_same_names() -> None:
    board = Board("app.py")
    with collector() as far, Exporter("0", board) as export:
        with Otlp(far.url, board, labels={"harness.target": "app.py"}):
            filled(board, 310, 610, 910)
        here, there = scraped(export.address), far.points()
        assert far.requests[-1][0] == "/v1/metrics"
        assert far.resource()["service.name"] == "sse-leak-harness"
        assert far.resource()["harness.target"] == "app.py"
    assert here["harness_fds"] == {(): 42.0} == there["harness_fds"]
    assert here["harness_fds_by_class"] == {("eventfd",): 7.0} == there["harness_fds_by_class"]
    assert here["harness_cpu_seconds_total"] == there["harness_cpu_seconds"] == {(): 2.5}
    assert here["harness_verdict"]["leaking",] == there["harness_verdict"]["leaking",] == 1.0
    for name in ("harness_growth", "harness_growth_low", "harness_growth_high", "harness_level"):
        assert here[name] == there[name]
    # The time since the start is that of each export.
    same = set(here) - {"harness_run_seconds"}
    assert {name.removesuffix("_total") for name in same} == set(there) - {"harness_run_seconds"}


def test_the_figures_so_far_are_published_before_the_end_of_a_run() -> None:
    board = Board("app.py")
    board.begin("run-1", "soak")
    played = trial([310, 610, 910])
    board.trial(played)
    with Exporter("0", board) as export:
        seen = scraped(export.address)
    assert [round(rate, 3) for rate in seen["harness_growth"].values()] == [1.0]
    assert "harness_verdict" not in seen
    assert seen["harness_cycles_total"] == {(): float(len(played.observations))}


def test_no_counter_falls_between_the_end_of_a_cycle_and_its_record() -> None:
    board = Board("app.py")
    board.begin("run-1", "guard")
    played = trial([310, 610, 910])
    first = replace(played, observations=played.observations[:1])
    opened = played.observations[0].ledger.opened
    board.trial(replace(played, observations=()))

    def counted() -> float:
        return next(one.value for one in board.values() if one.figure.name == "harness_streams_opened")

    board.progress("load", SAMPLE, Ledger(opened=opened, open_now=3), 0)
    assert counted() == opened
    board.progress("settling", SAMPLE, None, 0)
    assert counted() == opened
    board.trial(first)
    assert counted() == opened
    board.progress("load", SAMPLE, Ledger(opened=opened), 0)  # news that comes late
    assert counted() == opened
    board.progress("load", SAMPLE, Ledger(opened=5), 1)
    assert counted() == opened + 5


def test_judging_again_takes_no_more_than_its_share_of_a_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    calls = 0

    def slow(trial: object) -> None:
        nonlocal now, calls
        now += 1.0
        calls += 1

    monkeypatch.setattr("harness.export.board.judge", slow)
    board = Board("app.py", clock=lambda: now)
    played = trial([10.0] * 12)
    for count in range(1, 13):
        now += 10.0
        board.trial(replace(played, observations=played.observations[:count]))
    assert calls == 3  # after 10 s, once 50 s are over, and once 100 s are


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:9464", ("::1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
    ],
)
def test_a_place_is_a_port_or_a_host_with_a_port(text: str, place: tuple[str, int]) -> None:
    assert parse_listen_address(text) == place


@pytest.mark.parametrize("text", ["", "http", "127.0.0.1:", "127.0.0.1:65536", "1:-1", "a:b:c"])
def test_a_place_that_is_invalid_is_one_error_that_quotes_it(text: str) -> None:
    with pytest.raises(ConfigError, match="expected PORT, or HOST:PORT") as error:
        parse_listen_address(text)
    assert repr(text) in str(error.value)


def test_a_port_that_is_taken_is_an_error_before_anything_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"prometheus='{place}': Address already in use; expected"):
            Exports("app", prometheus=place)
    with pytest.raises(ConfigError, match=r"prometheus='192\.0\.2\.1:0': Cannot assign requested address"):
        Exports("app", prometheus="192.0.2.1:0")


def test_an_error_of_the_second_export_closes_the_first() -> None:
    port = free_port()
    with pytest.raises(ConfigError, match="otlp: "):
        Exports("app", prometheus=str(port), otlp="ftp://collector")
    with socket.create_server(("127.0.0.1", port)):
        pass  # the port is free again


def test_a_name_of_this_machine_may_ask_where_it_was_given() -> None:
    """A Prometheus in another container asks for the name of ours."""

    def status(port: int, host: str) -> int:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Host": host})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    with Exporter("0.0.0.0:0", Board()) as export:
        assert status(export.port, f"{socket.gethostname()}:9464") == 200
        assert status(export.port, "evil.example:9464") == 403


def test_a_verdict_is_kept_for_a_scraper_that_comes_regularly() -> None:
    board = Board("app.py")
    exports = Exports("app.py", prometheus="0")
    with Exporter("0", board) as export:
        scraped(export.address)
        filled(board, 310, 610, 910)
        found: list[Seen] = []
        later = threading.Timer(0.4, lambda: found.append(scraped(export.address)))
        later.start()
        # Nothing is known of the scraper's pause yet but that this much time has passed since it came.
        export._last -= 5.0
        assert export.wait_for_scrape()
        later.join()
        assert found[0]["harness_verdict"]["leaking",] == 1.0
    exports.close()


def test_the_run_waits_for_no_absent_scraper_and_not_after_an_interrupt() -> None:
    with Exporter("0", Board()) as export:
        began = time.monotonic()
        assert not export.wait_for_scrape()
        scraped(export.address)
        export._last -= 1000.0
        assert not export.wait_for_scrape(lambda: True)
        assert time.monotonic() - began < prometheus.MAX_WAIT / 2


def test_a_scraper_that_stops_coming_is_waited_for_no_longer_than_the_limit() -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0
        return now

    with Exporter("0", Board(), clock=clock) as export:
        scraped(export.address)
        now += 1000.0
        began = now
        assert not export.wait_for_scrape()
        assert prometheus.MAX_WAIT <= now - began <= prometheus.MAX_WAIT + 5


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/metrics"),
        ("https://collector/", "https://collector/v1/metrics"),
        ("https://collector/otlp/v1/metrics", "https://collector/otlp/v1/metrics"),
    ],
)
def test_an_endpoint_gets_the_path_of_metrics(url: str, endpoint: str) -> None:
    assert endpoint_of(url) == endpoint


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:4318", "grpc://sesame:4317", "http://", "http://h:99999", "http://[::1"]
)
def test_an_address_that_is_invalid_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(ConfigError, match="otlp: not a valid address; expected") as error:
        endpoint_of(url)
    assert "sesame" not in str(error.value)


def test_headers_for_the_collector_come_from_its_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=sesame")
    with collector() as far:
        with Otlp(far.url, Board("app")):
            pass
        assert {name.lower(): text for name, text in far.requests[-1][1].items()}["api-key"] == "sesame"


def test_a_collector_gets_figures_during_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INTERVAL, "50")
    board = Board("app")
    with collector() as far, Otlp(far.url, board):
        wait_for(lambda: far.exports, "a first export")
        board.sample(SAMPLE)
        wait_for(lambda: far.points().get("harness_fds") == {(): 42.0}, "an export with the reading")
        board.sample(Sample(2.0, gap="gone"))
        wait_for(lambda: "harness_fds" not in far.points(), "a hole in the place of an old value")


def test_an_interval_that_is_invalid_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INTERVAL, "10s")
    with pytest.raises(ConfigError, match="OTEL_METRIC_EXPORT_INTERVAL=10s: expected milliseconds"):
        Otlp("http://127.0.0.1:4318", Board())


def test_a_collector_that_is_down_or_refuses_is_one_line_and_no_log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    down = Exports(
        "app",
        otlp=f"http://user:sesame@127.0.0.1:{free_port()}",
        redact=lambda text: text.replace("sesame", "***"),
    )
    began = time.monotonic()
    with down:
        down.sample(SAMPLE)
    assert time.monotonic() - began < 20
    (trouble,) = down.failures
    assert trouble == (
        "the export of figures: 1 of 1 exports to 127.0.0.1 failed: connection refused; check its address"
    )
    with collector(401) as far, Exports("app", otlp=far.url) as refused:
        pass
    (trouble,) = refused.failures
    assert "401" in trouble
    assert "\n" not in trouble
    assert "sesame" not in " ".join((*down.failures, *capfd.readouterr()))
    assert not [one for one in caplog.records if one.name.startswith("opentelemetry")]


def test_log_lines_of_the_exporter_for_others_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("opentelemetry.exporter.otlp.proto.http.metric_exporter")
    with collector() as far, Otlp(far.url, Board()):
        logger.warning("of the user's own exporter")
    logger.warning("after the run")
    assert [one.getMessage() for one in caplog.records] == ["of the user's own exporter", "after the run"]
    assert not logger.filters


def test_a_figure_that_cannot_be_made_is_a_trouble_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(trial: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("harness.export.board.judge", broken)
    with Exports("app", prometheus="0") as exports:
        for count in (3, 4):
            exports.trial(trial([10.0] * count))
    assert exports.failures == ["the export of figures: ZeroDivisionError: planted"]


def test_labels_are_redacted() -> None:
    """The name of a thread is the service's own, and may hold what must not be shown."""
    with Exports(
        "app?token=sesame", prometheus="0", redact=lambda text: text.replace("sesame", "***")
    ) as exports:
        exports.sample(SAMPLE)
        exports.census(Census(1.0, threads={"poll sesame": 1}))
        assert "sesame" not in urllib.request.urlopen(exports.address, timeout=20).read().decode()
        assert scraped(exports.address)["harness_threads_by_name"] == {("poll ***",): 1.0}


def test_without_a_destination_nothing_is_made() -> None:
    with Exports("app") as exports:
        exports.sample(SAMPLE)
        exports.trial(trial([10.0] * 3))
        exports.deliver()
    assert (exports.address, exports.failures) == ("", [])


def test_a_second_close_of_a_failed_export_adds_nothing() -> None:
    with collector(400) as far:
        made = Otlp(far.url, Board())
        with pytest.raises(NotificationError, match=r"1 of 1 exports to 127\.0\.0\.1 failed"):
            made.close()
        made.close()
        assert len(far.requests) == 1
