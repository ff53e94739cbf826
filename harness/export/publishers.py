"""Publishes figures to Prometheus, OpenTelemetry, both or neither. A publisher that cannot be opened is an error
before anything is measured. A later failure is reported in one line and does not change the result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from harness.core.errors import NotificationError

if TYPE_CHECKING:
    from harness.export.otlp import Otlp
    from harness.export.prometheus import Exporter, Figures

STEP = "the export of figures"


class Publishers:
    """prometheus: HOST:PORT to serve at. otlp: URL to send to. target: its name for people. redact: applied to every
    text that is published. Raises ConfigError when one of them cannot be opened; the other is then closed."""

    def __init__(
        self,
        figures: Figures,
        target: str,
        *,
        prometheus: str | None = None,
        otlp: str | None = None,
        redact: Callable[[str], str] = lambda text: text,
    ) -> None:
        self.failures: list[str] = []  # after the start, one line each
        self.address = ""
        self._exporter: Exporter | None = None
        self._otlp: Otlp | None = None
        self._redact = redact
        with ExitStack() as stack:
            # Imported late: a run without them need not wait for the imports of their servers and clients.
            if prometheus is not None:
                from harness.export.prometheus import Exporter

                self._exporter = stack.enter_context(Exporter(prometheus, figures))
                self.address = self._exporter.address
            if otlp is not None:
                from harness.export.otlp import Otlp

                self._otlp = Otlp(otlp, figures, labels={"harness.target": target})
            # Both are open. From here on ``close`` is responsible for them.
            stack.pop_all()

    def wait_for_scrape(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Wait until Prometheus, if it scrapes at all, has scraped the current figures."""
        if self._exporter:
            self._exporter.wait_for_scrape(cancelled)

    def close(self) -> None:
        """Send the last figures and close. Idempotent."""
        exporter, self._exporter = self._exporter, None
        if exporter:
            exporter.close()
        otlp, self._otlp = self._otlp, None
        if otlp:
            try:
                otlp.close()
            except NotificationError as error:
                self.add_failure(f"{STEP}: {error}")

    def add_failure(self, text: str) -> None:
        """Remember what failed, once."""
        text = self._redact(" ".join(text.split()))
        if text not in self.failures:
            self.failures.append(text)
