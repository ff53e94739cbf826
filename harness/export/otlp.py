"""The latest figures for an OpenTelemetry collector, by OTLP over HTTP.

Sending never delays a run, and an unavailable collector does not affect it: failures are counted, and reported once
after the verdict.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness import __version__
from harness.core.errors import ConfigError, NotificationError, OptionError
from harness.core.figures import FIGURES, Figure, Value
from harness.export.prometheus import Figures
from harness.process.closing import Closing

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation

EXPECTED = "expected http://HOST:4318 or https://…, the address of an OTLP/HTTP receiver"
INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"  # milliseconds; OpenTelemetry's own variable
DEFAULT_INTERVAL = 10.0  # seconds between two exports without it
TIMEOUT = 5.0  # seconds for one export, retries included
PATH = "/v1/metrics"  # OTLP 1.3, "OTLP/HTTP request"
LOGGER = "opentelemetry.exporter.otlp.proto.http.metric_exporter"
SYSTEM_ERROR = re.compile(r"\[Errno -?\d+\] ([^\"')]+)")
GAVE_UP = "due to timeout, max retries or shutdown"
READER_LOGGER = "opentelemetry.sdk.metrics._internal.export"


def endpoint_of(url: str) -> str:
    """The address for metrics: a URL without a path gets the standard one. Raises ConfigError, which does not quote
    it."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        known = False
    if not known:
        raise OptionError("otlp", None, f"not a valid address; {EXPECTED}")
    return url.rstrip("/") + PATH if parts.path in ("", "/") else url


class Otlp(Closing):
    """Context manager: sends all figures every ten seconds (OTEL_METRIC_EXPORT_INTERVAL) and once at its end.

    url: of a receiver; headers for it come from OTEL_EXPORTER_OTLP_HEADERS, which OpenTelemetry defines. labels:
    attributes of the resource, such as ``service.name``. Raises ConfigError for an invalid URL, or without the SDK.
    """

    def __init__(self, url: str, figures: Figures, *, labels: Mapping[str, str] | None = None) -> None:
        endpoint, interval = endpoint_of(url), _interval()
        self.host = urlsplit(endpoint).hostname or ""
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
            from opentelemetry.sdk.metrics import MeterProvider
            from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader
            from opentelemetry.sdk.resources import Resource
        except ImportError:
            raise OptionError(
                "otlp",
                None,
                "the OpenTelemetry SDK is not installed; "
                "expected pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http",
            ) from None
        self._figures = figures
        self._values: dict[str, list[Value]] = {}
        self._exports = self._failures = 0
        self._last_failed = False
        self._reason = ""
        self._thread = threading.local()
        self._closed = False
        mine = self

        class Exporter(OTLPMetricExporter):
            """Counts what failed, and keeps OpenTelemetry's log lines off the terminal of the run."""

            def export(self, *given: Any, **more: Any) -> MetricExportResult:
                with mine._silently():
                    done = super().export(*given, **more)
                mine._exports += 1
                mine._last_failed = done is not MetricExportResult.SUCCESS
                mine._failures += mine._last_failed
                return done

        self._filters = [(logging.getLogger(name), self._filter_record) for name in (LOGGER, READER_LOGGER)]
        for logger, accepts in self._filters:
            logger.addFilter(accepts)
        self._reader = PeriodicExportingMetricReader(
            Exporter(endpoint=endpoint, timeout=TIMEOUT),
            export_interval_millis=interval,
            export_timeout_millis=1000 * TIMEOUT,
        )
        self._provider = MeterProvider(
            [self._reader],
            resource=Resource.create({"service.name": "sse-leak-harness", **(labels or {})}),
            shutdown_on_exit=False,  # close() does it once, and reports what failed
        )
        meter = self._provider.get_meter("harness", __version__)
        for number, figure in enumerate(FIGURES.values()):
            make = (
                meter.create_observable_counter if figure.kind == "counter" else meter.create_observable_gauge
            )
            make(
                figure.name,
                [self._observer(figure, first=number == 0)],
                unit=figure.unit,
                description=figure.text,
            )

    def _observer(self, figure: Figure, *, first: bool) -> Any:
        from opentelemetry.metrics import Observation

        def observe(_: CallbackOptions) -> Iterator[Observation]:
            if first:  # callbacks run in order: all figures of one export are read at once
                self._values = _by_name(self._figures.values())
            for one in self._values.get(figure.name, ()):
                yield Observation(one.value, dict(zip(figure.labels, one.labels, strict=True)))

        return observe

    @contextlib.contextmanager
    def _silently(self) -> Iterator[None]:
        """Drop OpenTelemetry's log lines of this thread alone: other exporters of the process use the same loggers in
        other threads, and their lines must stay."""
        self._thread.exporting = True
        try:
            yield
        finally:
            self._thread.exporting = False

    def _filter_record(self, record: logging.LogRecord) -> bool:
        """Called by the logger: for a line about one of our exports, keep the reason and drop the line."""
        if not getattr(self._thread, "exporting", False):
            return True
        self._reason = _reason(record.getMessage()) or self._reason
        return False

    @property
    def failure_text(self) -> str:
        """Which exports failed, in one line; "" if none did."""
        if not self._failures:
            return ""
        why = f": {self._reason}" if self._reason else ""
        return f"{self._failures} of {self._exports} exports to {self.host} failed{why}"

    def close(self) -> None:
        """Send the current figures and close. Idempotent. Raises NotificationError if any export failed."""
        if self._closed:
            return
        self._closed = True
        with self._silently():
            self._provider.shutdown(timeout_millis=1000 * TIMEOUT)
        for logger, accepts in self._filters:
            logger.removeFilter(accepts)
        if self.failure_text:
            raise NotificationError(f"{self.failure_text}; check its address")


def _by_name(values: Sequence[Value]) -> dict[str, list[Value]]:
    found: dict[str, list[Value]] = {}
    for one in values:
        found.setdefault(one.figure.name, []).append(one)
    return found


def _reason(message: str) -> str:
    """Why an export failed, from a line of OpenTelemetry's log: the text of a system error, otherwise the line
    without the URL, which may hold a secret. Empty for the line that only reports that retrying ended."""
    if found := SYSTEM_ERROR.search(message):
        return found[1].strip().lower()
    if GAVE_UP in message:
        return ""
    return re.sub(r"https?://\S+|url: \S+", "", " ".join(message.split()))[:300]


def _interval() -> float:
    """Milliseconds between two exports. Raises ConfigError."""
    text = os.environ.get(INTERVAL, "")
    if not text:
        return 1000 * DEFAULT_INTERVAL
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ConfigError(f"{INTERVAL}={text}: expected milliseconds between two exports, such as 10000")
    return float(text)
