"""Everywhere that the figures of one run, or of one watched process, go: Prometheus, OpenTelemetry, both or neither.

What cannot be opened is an error before anything is measured. What fails later is a trouble, in one line, beside a
result that stands.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType

from harness.core.cycle import Ledger
from harness.core.errors import NotificationError
from harness.core.record import Trial
from harness.core.sample import Census, Sample
from harness.export.board import Board
from harness.export.otlp import Otlp
from harness.export.prometheus import Exporter

STEP = "the export of figures"


class Exports:
    """Context manager. prometheus: HOST:PORT to serve at. otlp: URL to send to. None of them: nothing happens.

    target: what is measured, for people. redact: applied to every label. Raises ConfigError.
    """

    def __init__(
        self,
        target: str,
        *,
        prometheus: str | None = None,
        otlp: str | None = None,
        redact: Callable[[str], str] = lambda text: text,
    ) -> None:
        self.troubles: list[str] = []
        self.address = ""
        self._board: Board | None = None
        self._exporter: Exporter | None = None
        self._otlp: Otlp | None = None
        self._redact = redact
        if prometheus is None and otlp is None:
            return
        board = self._board = Board(target, redact=redact)
        with ExitStack() as stack:
            if prometheus is not None:
                self._exporter = stack.enter_context(Exporter(prometheus, board))
                self.address = self._exporter.address
            if otlp is not None:
                self._otlp = Otlp(otlp, board, labels={"harness.target": redact(target)})
            stack.pop_all()

    def begin(self, run: str, mode: str) -> None:
        """A run with this id and mode has begun."""
        if self._board:
            self._board.begin(run, mode)

    def sample(self, sample: Sample) -> None:
        """The newest reading."""
        if self._board:
            self._board.sample(sample)

    def census(self, census: Census) -> None:
        """The newest census."""
        if self._board:
            self._board.census(census)

    def progress(self, phase: str, sample: Sample | None, ledger: Ledger | None, cycle: int) -> None:
        """News of the run."""
        if self._board:
            self._board.progress(phase, sample, ledger, cycle)

    def trial(self, trial: Trial) -> None:
        """The trial so far; with a verdict, its end."""
        if self._board is None:
            return
        try:
            self._board.trial(trial)
        except Exception as error:  # a figure that cannot be made must not end a run
            self._trouble(f"{STEP}: {type(error).__name__}: {error}")

    def deliver(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Wait until Prometheus, if it collects at all, has collected the verdict; then end."""
        if self._exporter:
            self._exporter.wait_for_scrape(cancelled)
        self.close()

    def close(self) -> None:
        """Send what is left and end. Idempotent."""
        exporter, self._exporter = self._exporter, None
        if exporter:
            exporter.close()
        otlp, self._otlp = self._otlp, None
        if otlp:
            try:
                otlp.close()
            except NotificationError as error:
                self._trouble(f"{STEP}: {error}")

    def _trouble(self, text: str) -> None:
        text = self._redact(" ".join(text.split()))
        if text not in self.troubles:
            self.troubles.append(text)

    def __enter__(self) -> Exports:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
