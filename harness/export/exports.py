"""Collects the figures of one run, or of one watched process, and publishes them."""

from __future__ import annotations

from collections.abc import Callable

from harness.core.cycle import Ledger
from harness.core.record import Trial
from harness.core.sample import Census, Sample
from harness.export.board import Board
from harness.export.publishers import STEP, Publishers
from harness.process.closing import Closing


class Exports(Closing):
    """Context manager. prometheus: HOST:PORT to serve at. otlp: URL to send to. Without both nothing is published.
    target: its name in labels. redact: applied to every label. Raises ConfigError."""

    def __init__(
        self,
        target: str,
        *,
        prometheus: str | None = None,
        otlp: str | None = None,
        redact: Callable[[str], str] = lambda text: text,
    ) -> None:
        self._board: Board | None = None
        if prometheus is not None or otlp is not None:
            self._board = Board(target, redact=redact)
        self._publishers = Publishers(
            self._board or Board(), redact(target), prometheus=prometheus, otlp=otlp, redact=redact
        )

    @property
    def address(self) -> str:
        """The address for Prometheus to scrape; "" without it."""
        return self._publishers.address

    @property
    def failures(self) -> list[str]:
        """The failures after the start, one line each."""
        return self._publishers.failures

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
        """Update the progress of the run."""
        if self._board:
            self._board.progress(phase, sample, ledger, cycle)

    def trial(self, trial: Trial) -> None:
        """The trial so far; with a verdict, its end."""
        if self._board is None:
            return
        try:
            self._board.trial(trial)
        except Exception as error:  # an error in the figures must not end a run
            self._publishers.add_failure(f"{STEP}: {type(error).__name__}: {error}")

    def deliver(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Wait until Prometheus, if it scrapes at all, has scraped the verdict; then close."""
        self._publishers.wait_for_scrape(cancelled)
        self.close()

    def close(self) -> None:
        """Send the last figures and close. Idempotent."""
        self._publishers.close()
