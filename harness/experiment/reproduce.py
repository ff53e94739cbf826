"""The crash and its fixes: one trial per profile of the reference service, and what confirms it.

The profiles, their loads and what is expected of them come from the service itself
(``reference-service --describe``): the harness does not import a target.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.core.cycle import CycleSpec, Phase
from harness.core.errors import ConfigError, TargetError
from harness.core.plan import Goal, Stop, next_step
from harness.core.record import Trial
from harness.core.verdict import Outcome
from harness.experiment.broker import BrokerSetup
from harness.experiment.setup import LoadSetup, ServiceSetup, Steps, TrialSetup

DEFAULT_PROFILES = ("original", "upstream", "solution-1", "solution-2", "solution-3", "fixed")
DESCRIBE_PATIENCE = 20.0
PATHS = ("/dashboard/sse", "/system/status/sse")
NOFILE = 1024
REAL_SECONDS = 90.0  # the original dies about 30 s after start; three times that is a miss
REAL_DWELL = 40.0
LATER_THAN = {"solution-2": "solution-1"}  # "crashed less often", the analysis says


@dataclass(frozen=True, slots=True)
class Card:
    """One profile as the reference service describes it."""

    name: str
    summary: str
    said: str
    broker: str
    expected: Outcome
    signatures: tuple[str, ...]
    streams: bool
    load: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked of the load; None: as the profile recommends."""

    connections: int | None = None
    concurrency: int | None = None
    real_time: bool = False
    max_seconds: float | None = None


def describe() -> dict[str, Card]:
    """Every profile of the reference service by name. Raises TargetError when it cannot say."""
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "harness.reference", "--describe"],
            capture_output=True,
            timeout=DESCRIBE_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TargetError(
            f"the reference service did not describe itself within {DESCRIBE_PATIENCE:g} s; try: harness doctor"
        ) from None
    if answer.returncode != 0:
        words = answer.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise TargetError(
            f"the reference service cannot run ({words[0]}); expected it to be installed: "
            "pip install 'sse-leak-harness[reference]'"
        )
    return {card.name: card for card in map(_card, json.loads(answer.stdout)["profiles"])}


def _card(data: Mapping[str, Any]) -> Card:
    return Card(
        name=data["name"],
        summary=data["summary"],
        said=data["said"],
        broker=data["broker"],
        expected=Outcome(data["expected"]),
        signatures=tuple(data["signatures"]),
        streams=data["streams"],
        load=data["load"],
    )


def choose(cards: Mapping[str, Card], names: Sequence[str]) -> list[Card]:
    """The cards asked for, in the order asked. Raises ConfigError for a name nobody knows."""
    for name in names:
        if name not in cards:
            raise ConfigError(
                f"--profile {name!r}: no such profile; expected one of: {', '.join(sorted(cards))}"
            )
    return [cards[name] for name in names]


def setup_for(card: Card, wish: Wish, *, name: str | None = None) -> TrialSetup:
    """The trial of one profile. ``load`` of the card: connections (per cycle), concurrency, dwell
    (seconds), events, cycles, settle (seconds), seconds (budget), and the service's own settings."""
    load = card.load
    scale = "real" if wish.real_time else "scaled"
    flags = ["--real-time"] if wish.real_time else []
    cycles = int(load["cycles"])
    connections = int(load["connections"])
    concurrency = wish.concurrency or int(load["concurrency"])
    if wish.connections:
        cycles = max(1, round(wish.connections / connections))
    budget_seconds = wish.max_seconds or (REAL_SECONDS if wish.real_time else float(load["seconds"]))
    return TrialSetup(
        name=name or card.name,
        service=ServiceSetup(
            url="http://127.0.0.1:{port}" + PATHS[0],
            paths=PATHS,
            command=(
                *(sys.executable, "-m", "harness.reference", "--profile", card.name),
                *("--port", "{port}", "--broker", "{broker}", *flags),
            ),
            nofile=NOFILE,
            ready_url="http://127.0.0.1:{port}/",
            preflight=False,
        ),
        steps=_steps(
            card,
            cycles=cycles,
            connections=connections,
            concurrency=concurrency,
            dwell=REAL_DWELL if wish.real_time else float(load["dwell"]),
            events=int(load["events"]),
        ),
        load=LoadSetup(stall_after=REAL_DWELL if wish.real_time else float(load["dwell"]) * 2),
        broker=BrokerSetup(behaviour=card.broker),
        settle=float(load["settle"]),
        sensitivity=float(load.get("sensitivity", 1e-3)),
        patience=max(10.0, float(load["settle"]) * 5),
        max_seconds=budget_seconds,
        extra={
            "profile": card.name,
            "summary": card.summary,
            "said": card.said,
            "expected": card.expected.value,
            "expected_signatures": list(card.signatures),
            "scale": scale,
        },
    )


def _steps(
    card: Card, *, cycles: int, connections: int, concurrency: int, dwell: float, events: int
) -> Steps:
    """A profile that is expected to die gets its cycles and no more; one that is expected to hold
    goes through the same plan as any guarded service."""

    def dying(trial: Trial) -> CycleSpec | Stop:
        index = len(trial.observations)
        if index >= cycles:
            return Stop(f"all {cycles} cycles are done")
        return CycleSpec(
            index=index,
            connections=connections,
            concurrency=concurrency,
            dwell=dwell,
            events=events,
            disconnect="mixed" if card.expected is Outcome.LEAKING else "fin",
            paths=PATHS,
            phase=Phase.LOAD,
        )

    def holding(trial: Trial) -> CycleSpec | Stop:
        return next_step(
            trial,
            Goal(
                connections=connections,
                concurrency=concurrency,
                dwell=dwell,
                events=events,
                disconnect="fin",
                paths=PATHS,
                cycles=cycles,
            ),
        )

    return holding if card.expected is Outcome.BOUNDED else dying


def confirmed(trial: Trial, card: Card) -> tuple[bool, str]:
    """Whether a judged trial ended as the profile says it must, and if not, why not."""
    verdict = trial.verdict
    assert verdict
    if verdict.outcome is not card.expected:
        return False, f"expected {card.expected.value}, saw {verdict.outcome.value}"
    if card.expected is Outcome.CRASHED and card.signatures:
        seen = verdict.crash.signature if verdict.crash else None
        if seen not in card.signatures:
            return False, f"expected the signature {' or '.join(card.signatures)}, saw {seen or 'none'}"
    events = sum(o.ledger.events for o in trial.observations)
    if bool(events) is not card.streams:
        return False, f"expected {'events to arrive' if card.streams else 'no event'}, saw {events}"
    return True, f"{events} events arrived" if events else "no event ever arrived"


def compare(trials: Sequence[Trial]) -> list[Trial]:
    """Say of the profiles that die by how much later they died than the one they were to mend."""
    lives = {str(trial.extra.get("profile")): trial for trial in trials if trial.exit}
    told = []
    for trial in trials:
        before = lives.get(LATER_THAN.get(str(trial.extra.get("profile")), ""))
        note = str(trial.extra.get("note", ""))
        if before and before.exit and trial.exit and before.exit.connections and before.exit.at > 0:
            seconds = trial.exit.at / before.exit.at
            connections = trial.exit.connections / before.exit.connections
            later = f"{seconds:.1f} x the time and {connections:.1f} x the connections of {before.name}"
            note = f"{note}; {later}" if note else later
        told.append(replace(trial, extra={**trial.extra, "note": note}))
    return told
