"""The latest readings for Prometheus, on loopback. Every local user can read them; a page in a browser cannot, not even
by a name of its own that resolves to this machine (the Host header is checked).

A gap is exported as ``harness_target_up 0`` and the absence of everything else: a scrape then shows a hole,
never a zero and never an old value.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from harness.core.errors import ConfigError
from harness.core.sample import Census, Sample
from harness.core.web_origin import is_own_host

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client.core import Metric

MOST_LABELS = 100  # of one family; what is beyond is summed under ``other``
_TOTALS = (
    ("fds", "harness_fds", "Open descriptors of the whole process tree."),
    ("threads", "harness_threads", "Threads of the whole process tree."),
    ("processes", "harness_processes", "Living processes of the tree."),
    ("zombies", "harness_zombies", "Children that ended and were not waited for."),
    ("rss", "harness_resident_bytes", "Resident memory, shared pages counted once per process."),
)
_COUNTERS = (
    ("cpu", "harness_cpu_seconds", "CPU time used since the probe started to look."),
    ("switches", "harness_context_switches", "Context switches of main threads."),
    ("faults", "harness_page_faults", "Page faults."),
)
_KINDS = (
    ("fds", "harness_fds_by_class", "class", "Descriptors by class, at the last census."),
    ("sockets", "harness_sockets", "state", "TCP sockets by state, at the last census."),
    ("threads", "harness_threads_by_name", "name", "Threads by name, at the last census."),
    ("mappings", "harness_mappings", "kind", "Memory mappings by kind, at the last census."),
    ("memory", "harness_memory_bytes", "kind", "Memory by kind, at the last census."),
)


class Exporter:
    """Context manager. Give it samples (it can be a sampler's ``on_sample``) and censuses as they come.

    port: 0 takes a free one; ``self.port`` says which. Raises ConfigError when the port is taken or
    prometheus-client is not installed.
    """

    def __init__(self, port: int, *, address: str = "127.0.0.1", target: str = "") -> None:
        try:
            from prometheus_client import CollectorRegistry
            from prometheus_client.exposition import ThreadingWSGIServer, make_wsgi_app
        except ImportError:
            raise ConfigError(
                "--prometheus: prometheus-client is not installed; expected "
                "pip install 'sse-leak-harness[prometheus]'"
            ) from None
        self._sample: Sample | None = None
        self._census: Census | None = None
        self._target = target
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        try:
            self._server = make_server(
                address, port, _own_hosts_only(make_wsgi_app(registry)), ThreadingWSGIServer, _Handler
            )
        except OSError as error:
            raise ConfigError(
                f"--prometheus {port}: {error.strerror}; expected a free port of this machine (0 takes any)"
            ) from None
        self.port = int(self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="prometheus", daemon=True)
        self._thread.start()

    def sample(self, sample: Sample) -> None:
        """The newest reading; a gap takes the place of what was there."""
        self._sample = sample
        if sample.gap is not None:
            self._census = None

    def census(self, census: Census) -> None:
        """The newest census."""
        self._census = census

    def collect(self) -> Iterable[Metric]:
        """Called by the registry for every scrape."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        sample, census = self._sample, self._census
        up = GaugeMetricFamily("harness_target_up", "1 while the target can be read, 0 in a gap.")
        up.add_metric([], 1.0 if sample and sample.gap is None else 0.0)
        yield up
        info = InfoMetricFamily("harness_target", "What is watched, and why it cannot be read.")
        info.add_metric(
            [], {"target": self._target, "gap": (sample.gap or "") if sample else "no reading yet"}
        )
        yield info
        if sample and sample.gap is None:
            for name, metric, text in _TOTALS:
                yield from _one(GaugeMetricFamily, metric, text, getattr(sample, name))
            for name, metric, text in _COUNTERS:
                yield from _one(CounterMetricFamily, metric, text, getattr(sample, name))
            if sample.per_process:
                family = GaugeMetricFamily(
                    "harness_process_fds", "Open descriptors by process.", labels=["pid", "name"]
                )
                for process in sample.per_process[:MOST_LABELS]:
                    if process.fds is not None:
                        family.add_metric([str(process.pid), process.name], process.fds)
                yield family
        if census:
            for name, metric, label, text in _KINDS:
                counts: Mapping[str, int] = getattr(census, name)
                if counts:
                    family = GaugeMetricFamily(metric, text, labels=[label])
                    for kind, count in bounded(counts).items():
                        family.add_metric([kind], count)
                    yield family

    def close(self) -> None:
        """Stop serving. Idempotent."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)

    def __enter__(self) -> Exporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Handler(WSGIRequestHandler):
    """Logs nothing, and waits a bounded time for a client."""

    timeout = 10.0  # seconds

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        """Nothing: standard error is the user's terminal."""


def _own_hosts_only(application: WSGIApplication) -> WSGIApplication:
    """Refuse requests whose Host header names another machine."""

    def checked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "")
        if is_own_host(host):
            return application(environ, start_response)
        body = f"Host is {host[:100]!r}; expected 127.0.0.1, another address or localhost\n".encode()
        start_response(
            "403 Forbidden",
            [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))],
        )
        return [body]

    return checked


def _one(family: Any, name: str, text: str, value: float | None) -> Iterable[Metric]:
    """A family of one value; nothing where it could not be read."""
    if value is not None:
        yield family(name, text, value=value)


def bounded(counts: Mapping[str, int], most: int = MOST_LABELS) -> dict[str, int]:
    """The largest ``most`` classes; the rest under ``other``: a target must not fill Prometheus."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    found = dict(ranked[:most])
    rest = sum(count for _, count in ranked[most:])
    if rest:
        found["other"] = found.get("other", 0) + rest
    return found
