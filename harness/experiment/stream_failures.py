"""Decides when to stop loading: a service that is down, or refuses every stream, yields no further information."""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.cycle import CycleSpec, Ledger
from harness.core.units import counted

MAX_FAILING = 10.0  # seconds of nothing but failures


@dataclass(slots=True)
class StreamFailures:
    """Watches the ledgers of a trial; ``reason`` is why loading should stop, "" while it should not.

    Rate limits end by themselves, and open streams may still be answered, so neither is a failure here. Unanswered
    streams are failures only if others were answered before, because a service that buffers whole streams never
    answers any.
    """

    reason: str = ""
    answered: int = 0  # in earlier cycles
    first: str = ""  # the first cause, in full
    _since: float | None = None  # of the first failure without an answer after it
    _last: tuple[int, int] = (0, 0)  # answered and failed in this cycle

    def begin_cycle(self) -> None:
        """Start counting a new cycle."""
        self._last = (0, 0)

    def update(self, at: float, spec: CycleSpec, ledger: Ledger) -> bool:
        """Take what the cycle has counted so far; True when loading should stop."""
        answered, failed = _answered(ledger), self._failed(spec, ledger)
        self.first = self.first or ledger.first_failure
        # An answer, even among failures, shows that the service still works.
        if answered > self._last[0]:
            self._since = None
        elif failed > self._last[1] and self._since is None:
            self._since = at
        self._last = (answered, failed)
        # Streams that were open before the first failure may still be answered.
        due = max(MAX_FAILING, spec.dwell + 1.0)
        if not self.reason and self._since is not None and failed and at - self._since >= due:
            self.reason = self._explain(at - self._since, ledger, answered)
        return bool(self.reason)

    def end_cycle(self, ledger: Ledger) -> None:
        """Add the answered streams of a finished cycle."""
        self.answered += _answered(ledger)

    def _failed(self, spec: CycleSpec, ledger: Ledger) -> int:
        if spec.fault:
            return 0  # the broker is silent: the service need not answer
        waits = 0 if self.answered or ledger.answered else ledger.unanswered
        return max(0, ledger.failed - ledger.rate_limited - waits)

    def _explain(self, seconds: float, ledger: Ledger, answered: int) -> str:
        most = max(ledger.causes, key=lambda cause: (ledger.causes[cause], cause), default="unknown")
        before = counted(self.answered + answered, "answered stream", ",")
        first = "" if self.first in ("", most) else f"; the first: {self.first}"
        return f"every stream failed for {seconds:.0f} s, most by {most}, after {before}{first}"


def _answered(ledger: Ledger) -> int:
    """The answered streams. Response heads of a locustfile's users are not counted: those that did not fail were
    answered."""
    return ledger.completed if ledger.answered is None else ledger.answered
