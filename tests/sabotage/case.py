"""One row of the table: a service, its load, and what a guard must say of it."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.verdict import Finding, Outcome, Verdict
from harness.experiment.guard import Request, guard_once
from tests.sabotage.programs import go_binary

SERVICES = Path(__file__).parents[1] / "services"
URL = "http://127.0.0.1:{port}/events"


def _each(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


@dataclass(frozen=True, slots=True)
class Leak:
    """What must be found. kind and driver: one, or several of which each will do; kind "" is the total.

    rate: units per unit of the driver; None: any. within: share by which it may be missed. beside: metrics that may be
    found as well, because what leaks holds them.
    """

    metric: str
    kind: str | tuple[str, ...]
    driver: str | tuple[str, ...]
    rate: float | None = 1.0
    within: float = 0.1
    beside: tuple[str, ...] = ("memory",)

    def wrong(self, verdict: Verdict) -> list[str]:
        """What the verdict lacks, or says too much."""
        if verdict.outcome is not Outcome.LEAKING:
            return [f"expected leaking, saw {verdict.outcome.value}: {verdict.explanation}"]
        kinds = _each(self.kind)
        found = [f for f in verdict.findings if f.metric == self.metric and f.kind.partition(":")[0] in kinds]
        if not found:
            seen = ", ".join(f"{f.metric}/{f.kind}" for f in verdict.findings)
            return [f"expected {self.metric}/{' or '.join(kinds)}, saw {seen}"]
        said = [text for finding in found for text in self._differs(finding)]
        others = {f.metric for f in verdict.findings} - {self.metric, *self.beside}
        if others:
            said.append(f"also found {', '.join(sorted(others))}, which is not there")
        return said

    def _differs(self, finding: Finding) -> list[str]:
        said = []
        if finding.driver not in _each(self.driver):
            said.append(f"driver {finding.driver}, expected {' or '.join(_each(self.driver))}")
        rate = finding.rate.value if finding.rate else None
        if self.rate is not None and (rate is None or not math.isclose(rate, self.rate, rel_tol=self.within)):
            said.append(f"rate {rate}, expected {self.rate:g}")
        return said

    def __str__(self) -> str:
        kind = " or ".join(_each(self.kind))
        rate = "" if self.rate is None else f"{self.rate:.3g} "
        return f"{rate}{self.metric}{'/' if kind else ''}{kind} per {' or '.join(_each(self.driver))}"


@dataclass(frozen=True, slots=True)
class Green:
    """Everything comes back."""

    def wrong(self, verdict: Verdict) -> list[str]:
        """What the verdict accuses the service of, or leaves open."""
        if verdict.outcome is Outcome.BOUNDED:
            return []
        return [f"expected bounded, saw {verdict.outcome.value}: {verdict.explanation}"]

    def __str__(self) -> str:
        return "bounded"


@dataclass(frozen=True, slots=True)
class Red:
    """Another outcome than a leak. signature: of the crash, one of these; empty: not looked at.
    grown: what must be said to have grown before a death."""

    outcome: Outcome
    signature: tuple[str, ...] = ()
    grown: str = ""

    def wrong(self, verdict: Verdict) -> list[str]:
        """What is missing."""
        if verdict.outcome is not self.outcome:
            return [f"expected {self.outcome.value}, saw {verdict.outcome.value}: {verdict.explanation}"]
        crash = verdict.crash
        if self.signature and (crash is None or crash.signature not in self.signature):
            return [f"signature {crash and crash.signature}, expected one of {', '.join(self.signature)}"]
        if self.grown and (crash is None or crash.grown.get(self.grown, 0) <= 0):
            return [f"{self.grown} is not said to have grown before it died"]
        return []

    def __str__(self) -> str:
        return self.outcome.value + (f" after {self.grown} had grown" if self.grown else "")


@dataclass(frozen=True, slots=True)
class Case:
    """runtime: which program. habit: its argument. load: fields of the Request that differ from a guard's default.

    quick: one of those that every test run has. arguments: more words of the command.
    """

    runtime: str
    habit: str
    expected: Leak | Green | Red
    load: dict[str, Any] = field(default_factory=dict)
    quick: bool = False
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``asyncio-eventfd@connection``; the way to choose it."""
        return f"{self.runtime}-{self.habit}"

    @property
    def command(self) -> tuple[str, ...]:
        """How the service is started."""
        if self.runtime == "go":
            return (str(go_binary(SERVICES / "go")), "{port}", self.habit)
        if self.runtime == "node":
            return ("node", str(SERVICES / "server.js"), "{port}", self.habit)
        if self.runtime == "reference":
            words = (sys.executable, "-m", "harness.reference", "--profile", "bare", "--defect", self.habit)
            return (*words, "--port", "{port}", "--broker", "{broker}", *self.arguments)
        program = str(SERVICES / f"{self.runtime}_service.py")
        broker = ("{broker}",) if self.load.get("with_broker") else ()
        return (sys.executable, program, "{port}", self.habit, *broker)


@dataclass(frozen=True, slots=True)
class Result:
    """One guard of one case. wrong: what is not as it must be; seconds: from the start to the verdict."""

    case: Case
    verdict: Verdict
    seconds: float
    connections: int
    wrong: tuple[str, ...]
    folder: Path


def run(case: Case, folder: Path, *, seed: int = 0, **load: Any) -> Result:
    """Guard it once, by the path that ``harness guard`` takes. load: goes before the case's own."""
    fields = {"url": URL, "command": case.command, "out": folder, "seed": seed, **case.load, **load}
    began = time.monotonic()
    try:
        done = guard_once(Request(**fields), command=f"sabotage {case.name}")
    except Exception as error:
        # One row that fails counts as wrong. The other rows still run.
        text = f"{type(error).__name__}: {error}"
        verdict = Verdict(Outcome.INFRASTRUCTURE, text)
        wrong = (f"the guard raised {text}",)
        return Result(case, verdict, time.monotonic() - began, 0, wrong, folder)
    seconds = time.monotonic() - began
    opened = sum(o.ledger.opened for o in done.trial.observations)
    wrong = tuple(case.expected.wrong(done.verdict))
    return Result(case, done.verdict, seconds, opened, wrong, folder)
