"""A real HTTP server in place of an OpenTelemetry collector: it decodes requests, and answers as a test requires."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

Points = dict[tuple[str, ...], float]


class Collector:
    """status: the answer to every export. requests: (path, headers) of each. exports: the newest last."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.exports: list[ExportMetricsServiceRequest] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body)
                collector.requests.append((self.path, dict(self.headers)))
                collector.exports.append(ExportMetricsServiceRequest.FromString(body))
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def points(self, export: int = -1) -> dict[str, Points]:
        """Name of a metric → values of its attributes → value, of one export."""
        found: dict[str, Points] = {}
        for resource in self.exports[export].resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    data = getattr(metric, metric.WhichOneof("data"))
                    for point in data.data_points:
                        labels = tuple(sorted(one.value.string_value for one in point.attributes))
                        found.setdefault(metric.name, {})[labels] = float(
                            getattr(point, point.WhichOneof("value"))
                        )
        return found

    def resource(self) -> dict[str, str]:
        """Attributes of the resource, of the newest export."""
        (one,) = self.exports[-1].resource_metrics
        return {pair.key: pair.value.string_value for pair in one.resource.attributes}


@contextmanager
def collector(status: int = 200) -> Iterator[Collector]:
    made = Collector(status)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        thread.join()
        made.server.server_close()
