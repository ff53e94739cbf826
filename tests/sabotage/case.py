"""One row of the table: a service, its load, and the verdict that a guard must give."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.core.verdict import Finding, Outcome, Verdict
from harness.experiment.guard import guard_once
from harness.experiment.options import request_of
from tests.sabotage.programs import go_binary, java_classes

SERVICES = Path(__file__).parents[1] / "services"
URL = "http://127.0.0.1:{port}/events"


def _each(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


@dataclass(frozen=True, slots=True)
class Leak:
    """The leak that must be found. metric, kind and driver: one, or several of which any is right; kind "" is the
    total.

    rate: units per unit of the driver, of ``time`` per second; None: any. within: share by which it may be missed.
    beside: metrics that may be found as well, because what leaks holds them. scope: ``while-connected`` for what is
    freed at the disconnect. text: words that the explanation must have, each of them. first: its finding comes before
    any other.
    """

    metric: str | tuple[str, ...]
    kind: str | tuple[str, ...]
    driver: str | tuple[str, ...]
    rate: float | None = 1.0
    within: float = 0.1
    beside: tuple[str, ...] = ("memory",)
    scope: str = "after-disconnect"
    text: tuple[str, ...] = ()
    first: bool = False

    def mismatches(self, verdict: Verdict) -> list[str]:
        """What the verdict lacks, or says too much."""
        if verdict.outcome is not Outcome.LEAKING:
            return [f"expected leaking, saw {verdict.outcome.value}: {verdict.explanation}"]
        kinds, metrics = _each(self.kind), _each(self.metric)
        found = [f for f in verdict.findings if f.metric in metrics and f.kind.partition(":")[0] in kinds]
        if not found:
            seen = ", ".join(f"{f.metric}/{f.kind}" for f in verdict.findings)
            return [f"expected {' or '.join(metrics)}/{' or '.join(kinds)}, saw {seen}"]
        said = [text for finding in found for text in self._differs(finding)]
        if self.first and verdict.findings[0] not in found:
            leading = verdict.findings[0]
            said.append(f"{leading.metric}/{leading.kind} comes before it")
        words = verdict.explain()
        said.extend(f"{text!r} is not in the explanation" for text in self.text if text not in words)
        others = {f.metric for f in verdict.findings} - {*metrics, *self.beside}
        if others:
            said.append(f"also found {', '.join(sorted(others))}, which is not there")
        return said

    def _differs(self, finding: Finding) -> list[str]:
        said = []
        if finding.driver not in _each(self.driver):
            said.append(f"driver {finding.driver}, expected {' or '.join(_each(self.driver))}")
        if getattr(finding, "scope", "after-disconnect") != self.scope:
            said.append(f"scope is not {self.scope}")
        rate = finding.rate.value if finding.rate else None
        if finding.rate and finding.rate.unit.endswith("/hour"):
            rate = finding.rate.value / 3600
        if self.rate is not None and (rate is None or not math.isclose(rate, self.rate, rel_tol=self.within)):
            said.append(f"rate {rate}, expected {self.rate:g}")
        return said

    def __str__(self) -> str:
        kind = " or ".join(_each(self.kind))
        rate = "" if self.rate is None else f"{self.rate:.3g} "
        where = "" if self.scope == "after-disconnect" else f", {self.scope}"
        metric = " or ".join(_each(self.metric))
        return f"{rate}{metric}{'/' if kind else ''}{kind} per {' or '.join(_each(self.driver))}{where}"


@dataclass(frozen=True, slots=True)
class Leaks:
    """More than one leak, each of which must be found."""

    each: tuple[Leak, ...]

    def mismatches(self, verdict: Verdict) -> list[str]:
        """What the verdict lacks, or says too much."""
        metrics = tuple(metric for one in self.each for metric in _each(one.metric))
        said = []
        for one in self.each:
            drivers = _each(one.driver)
            findings = tuple(f for f in verdict.findings if f.metric not in metrics or f.driver in drivers)
            beside = (*one.beside, *metrics)
            said.extend(replace(one, beside=beside).mismatches(replace(verdict, findings=findings)))
        return said

    def __str__(self) -> str:
        return " and ".join(map(str, self.each))


@dataclass(frozen=True, slots=True)
class Advised:
    """Everything is released; if that takes longer than two minutes, the advice names the option that decides."""

    option: str

    def mismatches(self, verdict: Verdict) -> list[str]:
        """What the verdict reports wrongly, or leaves open without the option."""
        if verdict.outcome is Outcome.BOUNDED:
            return []
        if verdict.outcome is not Outcome.INCONCLUSIVE:
            return [f"expected bounded or inconclusive, saw {verdict.outcome.value}: {verdict.explanation}"]
        if self.option not in verdict.advice:
            return [f"expected {self.option} in the advice, saw: {verdict.advice}"]
        return []

    def __str__(self) -> str:
        return f"bounded, or inconclusive with {self.option}"


@dataclass(frozen=True, slots=True)
class Required:
    """It grows over time, too slowly to be certain soon, by more than the budget allows in an hour: found with this
    driver, or inconclusive with the option that decides it. A pass would claim what was not seen."""

    driver: str
    option: str

    def mismatches(self, verdict: Verdict) -> list[str]:
        """What the verdict claims without evidence, attributes to another driver, or leaves open without the option."""
        if verdict.outcome is Outcome.LEAKING:
            others = {f.driver for f in verdict.findings} - {self.driver}
            return (
                [f"driver {', '.join(map(str, sorted(map(str, others))))}, expected {self.driver}"]
                if others
                else []
            )
        if verdict.outcome is not Outcome.INCONCLUSIVE:
            return [f"expected leaking or inconclusive, saw {verdict.outcome.value}: {verdict.explanation}"]
        if self.option not in verdict.advice:
            return [f"expected {self.option} in the advice, saw: {verdict.advice}"]
        return []

    def __str__(self) -> str:
        return f"leaking per {self.driver}, or inconclusive with {self.option}"


@dataclass(frozen=True, slots=True)
class Green:
    """Everything is released."""

    def mismatches(self, verdict: Verdict) -> list[str]:
        """What the verdict reports wrongly, or leaves open."""
        if verdict.outcome is Outcome.BOUNDED:
            return []
        return [f"expected bounded, saw {verdict.outcome.value}: {verdict.explanation}"]

    def __str__(self) -> str:
        return "bounded"


@dataclass(frozen=True, slots=True)
class Red:
    """Another outcome than a leak. signature: of the crash, one of these; empty: not checked. grown: metrics whose
    growth before a crash must be reported."""

    outcome: Outcome
    signature: tuple[str, ...] = ()
    grown: str = ""

    def mismatches(self, verdict: Verdict) -> list[str]:
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
    """runtime: which program. behaviour: its argument. load: options that differ from a guard's default.

    quick: one of those that every test run has. arguments: further arguments of the command. variant: distinguishes
    rows of the same behaviour.
    """

    runtime: str
    behaviour: str
    expected: Leak | Leaks | Green | Advised | Required | Red
    load: dict[str, Any] = field(default_factory=dict)
    quick: bool = False
    arguments: tuple[str, ...] = ()
    variant: str = ""

    @property
    def name(self) -> str:
        """``asyncio-eventfd@connection``; the way to choose it."""
        more = f" {self.variant}" if self.variant else ""
        return f"{self.runtime}-{self.behaviour}{more}"

    @property
    def command(self) -> tuple[str, ...]:
        """How the service is started."""
        if self.runtime == "go":
            return (str(go_binary(SERVICES / "go")), "{port}", self.behaviour, *self.arguments)
        if self.runtime == "node":
            return ("node", str(SERVICES / "server.js"), "{port}", self.behaviour)
        if self.runtime == "java":
            classes = str(java_classes(SERVICES / "java"))
            return ("java", "-Xmx256m", "-cp", classes, "SmallService", "{port}", self.behaviour)
        if self.runtime == "reference":
            words = (
                sys.executable,
                "-m",
                "harness.reference",
                "--profile",
                "bare",
                "--defect",
                self.behaviour,
            )
            return (*words, "--port", "{port}", "--broker", "{broker}", *self.arguments)
        program = str(SERVICES / f"{self.runtime}_service.py")
        broker = ("{broker}",) if self.load.get("with_broker") else ()
        return (sys.executable, program, "{port}", self.behaviour, *broker)


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
    began = time.monotonic()
    try:
        fields = {"url": URL, "command": case.command, "out": folder, "seed": seed, **case.load, **load}
        done = guard_once(request_of(**fields), command=f"sabotage {case.name}")
    except Exception as error:
        # One row that fails counts as wrong. The other rows still run.
        text = f"{type(error).__name__}: {error}"
        verdict = Verdict(Outcome.INFRASTRUCTURE, text)
        wrong = (f"the guard raised {text}",)
        return Result(case, verdict, time.monotonic() - began, 0, wrong, folder)
    seconds = time.monotonic() - began
    opened = sum(o.ledger.opened for o in done.trial.observations)
    wrong = tuple(case.expected.mismatches(done.verdict))
    return Result(case, done.verdict, seconds, opened, wrong, folder)
