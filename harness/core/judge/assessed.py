"""What the budget allows of a series, and the result of its test."""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.judge.retention import IdleEvidence, Release


@dataclass(frozen=True, slots=True)
class Allowed:
    """Growth that a budget grants, and the pool it declares."""

    connection: float = 0.0
    event: float = 0.0
    hour: float = 0.0
    pool: float = 0.0

    def of(self, span: dict[str, float]) -> float:
        """Units granted for one span."""
        time = span.get("time", 0.0) / 3600
        return (
            self.connection * span.get("connection", 0.0)
            + self.event * span.get("event", 0.0)
            + self.hour * time
        )


@dataclass(frozen=True, slots=True)
class Assessed:
    """The result of one test of one series.

    status: ``leaking`` | ``suspected`` (grows like a leak, but the retention time is not over) | ``bounded`` |
    ``undecided``. why: the reason, for people. exposure: answered streams. factor: the ledger sum that drives the
    growth, in whose units rate, low and high are; rivals: factors that explain it as well. at_most: largest rate per
    answered stream that could have remained undetected (95 %). total: net growth. growing: not certain, but it has
    grown and continues; the plan then investigates. cache: the reason of a leak that a filling cache would explain as
    well; "" if none would. per_burst: it grew by about the same in every burst of clients, as a pool does.
    idle_evidence: what readings without clients showed of how long the growth is retained, where that was checked.
    paused: it grew in fewer than three cycles, or has not grown for a time in which another unit was to be expected.
    Only more of its driver shows whether it has stopped. few: it grew in too few cycles to be certain without further
    load. batch: units that come at once, as far as the cycles show; the evidence counts them as one.
    constant: each unit of the driver added the same in every cycle. slowing: undecided growth whose rate fell, and was
    still falling at last, as that of state for each of many users does. reached: where growth ended because the service
    stopped serving: ``701, then only status 500``.
    """

    status: str
    at_most: float
    why: str
    total: float = 0.0
    exposure: float = 0.0
    factor: str = "connection"
    rivals: tuple[str, ...] = ()
    rate: float = 0.0
    low: float = 0.0
    high: float = 0.0
    growing: bool = False
    cache: str = ""
    per_burst: bool = False
    idle_evidence: IdleEvidence | None = None
    paused: bool = False
    few: bool = False
    batch: float = 1.0
    constant: bool = False
    slowing: bool = False
    reached: str = ""

    @property
    def release(self) -> Release | None:
        """The late release that readings without clients showed."""
        return self.idle_evidence.release if self.idle_evidence else None
