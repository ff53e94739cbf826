"""The latest figures for Prometheus. On loopback every local user can read them; a page in a browser cannot, not even
through a host name that resolves to this machine (the Host header is checked)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, make_server

from harness.core.errors import OptionError
from harness.core.figures import FIGURES, Value
from harness.core.web_origin import is_own_host
from harness.process.closing import Closing

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client.core import Metric

EXPECTED = "expected PORT, or HOST:PORT with an address of this machine (port 0 takes any)"
MAX_WAIT = 30.0  # seconds for the scrape that takes the verdict
PAUSES = 2.0  # the scrape of the verdict is awaited for this many times the longest pause between two scrapes
POLL = 0.05  # seconds


class Figures(Protocol):
    """The source of the values: a ``Board``, or the swarm of a Locust run."""

    def values(self) -> list[Value]:
        """Everything that is known now."""


def parse_listen_address(text: str) -> tuple[str, int]:
    """``9464``, ``127.0.0.1:9464``, ``[::1]:9464``: host and port, loopback where no host is given. Raises
    ConfigError."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit() and int(port) < 65_536):
        raise OptionError("prometheus", text, EXPECTED)
    return host, int(port)


class Exporter(Closing):
    """Context manager: serves ``/metrics``.

    place: HOST:PORT, or PORT on loopback; port 0 takes a free one, and ``self.port`` names it. Raises ConfigError when
    the port is taken or prometheus-client is not installed.
    """

    def __init__(self, place: str, figures: Figures, *, clock: Callable[[], float] = time.monotonic) -> None:
        try:
            from prometheus_client import CollectorRegistry
            from prometheus_client.exposition import ThreadingWSGIServer, make_wsgi_app
        except ImportError:
            raise OptionError(
                "prometheus",
                None,
                "prometheus-client is not installed; expected pip install prometheus-client",
            ) from None
        host, port = parse_listen_address(place)
        self._figures = figures
        self._clock = clock
        self._scraped = 0
        self._last = 0.0
        self._longest_pause = 0.0
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)

        class Server(ThreadingWSGIServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True

        # Figures may hold names of the service: a page of another site must not read them by DNS rebinding.
        own = {host.lower(), socket.gethostname().lower()}
        try:
            self._server = make_server(
                host, port, own_hosts_only(make_wsgi_app(registry), own), Server, _Handler
            )
        except OSError as error:
            raise OptionError("prometheus", place, f"{error.strerror or error}; {EXPECTED}") from None
        self.port = int(self._server.server_port)
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/metrics"
        self._thread = threading.Thread(target=self._server.serve_forever, name="prometheus", daemon=True)
        self._thread.start()

    def collect(self) -> Iterable[Metric]:
        """Called by the registry for every scrape."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        families: dict[str, Any] = {}
        for one in self._figures.values():
            figure = one.figure
            if figure.name not in families:
                make = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
                families[figure.name] = make(figure.name, figure.text, labels=figure.labels)
            families[figure.name].add_metric(list(one.labels), one.value)
        now = self._clock()
        if self._scraped:
            self._longest_pause = max(self._longest_pause, now - self._last)
        self._scraped, self._last = self._scraped + 1, now
        return [families[name] for name in FIGURES if name in families]

    def wait_for_scrape(self, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Wait until the figures of this moment have been collected: Prometheus can scrape the verdict of a run only
        while its process runs. Does not wait when nothing was ever scraped, and waits at most twice the longest
        interval between scrapes so far, or MAX_WAIT seconds. Returns whether a scrape came."""
        seen, began = self._scraped, self._clock()
        most = min(MAX_WAIT, PAUSES * max(self._longest_pause, began - self._last)) if seen else 0.0
        while self._scraped == seen and self._clock() - began < most and not cancelled():
            time.sleep(POLL)
        return self._scraped > seen

    def close(self) -> None:
        """Stop serving. Idempotent."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)


class _Handler(WSGIRequestHandler):
    """Logs nothing, and waits a bounded time for a client."""

    timeout = 10.0  # seconds

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        """Logs nothing, because standard error is the user's terminal."""


def own_hosts_only(application: WSGIApplication, own: Collection[str] = ()) -> WSGIApplication:
    """Refuse requests whose Host header names another machine. own: names beside addresses and localhost."""

    def checked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "")
        if is_own_host(host, own):
            return application(environ, start_response)
        body = f"Host is {host[:100]!r}; expected 127.0.0.1, another address or localhost\n".encode()
        start_response(
            "403 Forbidden",
            [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))],
        )
        return [body]

    return checked
