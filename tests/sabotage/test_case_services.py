"""Services that were once judged wrongly (tests/cases/README.md): whole guards with the default options."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.core.verdict import Outcome
from harness.experiment.guard import guard_once
from harness.experiment.options import request_of
from tests.sabotage.programs import go_binary

SERVICES = Path(__file__).parents[1] / "cases" / "services"
STREAMS = ("connection", "answered-stream")


@dataclass(frozen=True, slots=True)
class Truth:
    """What a guard must report of one service. rate: units per unit of the driver; None if it is not checked. within:
    share by which it may be missed. words: what the explanation must contain."""

    outcome: Outcome
    metrics: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    rate: float | None = None
    within: float = 0.1
    scope: str = "after-disconnect"
    words: str = ""
    options: dict[str, Any] = field(default_factory=dict)


TRUTHS = {
    "held_while_connected.py": Truth(
        Outcome.LEAKING, ("memory",), ("event", "connected-second"), 10_000.0, scope="while-connected"
    ),
    # A fifth of the clients is reset before the answer: one per request is up to 1.25 per answer.
    "cap.py": Truth(
        Outcome.LEAKING,
        ("fds",),
        STREAMS,
        1.0,
        within=0.35,
        words="then only status 500",
        options={"mode": "request"},
    ),
    "pool.py": Truth(Outcome.LEAKING, ("threads", "fds"), STREAMS),
    "slow_tick": Truth(Outcome.BOUNDED),
}


@pytest.mark.soak(reason="whole guards with the default options, one to two minutes each")
@pytest.mark.parametrize("name", TRUTHS)
def test_a_service_is_judged_by_its_truth(name: str, tmp_path: Path) -> None:
    truth = TRUTHS[name]
    verdict = guard_once(
        request_of(
            command=_command(name),
            url="http://127.0.0.1:{port}/events",
            out=tmp_path / "run",
            **truth.options,
        ),
        command="test",
    ).verdict
    assert verdict.outcome is truth.outcome, verdict.explain()
    assert truth.words in verdict.explanation
    if truth.metrics:
        first = verdict.findings[0]
        assert first.metric in truth.metrics, verdict.explain()
        assert first.driver in truth.drivers, verdict.explain()
        assert first.scope == truth.scope
        if truth.rate is not None:
            assert first.rate is not None
            assert first.rate.value == pytest.approx(truth.rate, rel=truth.within)


def _command(name: str) -> tuple[str, ...]:
    path = SERVICES / name
    if path.suffix == ".py":
        return (sys.executable, str(path), "{port}")
    if not shutil.which("go"):
        pytest.skip("go is not installed")
    return (str(go_binary(path)),)


def test_every_service_has_its_truth() -> None:
    assert set(TRUTHS) == {path.name for path in SERVICES.iterdir() if not path.name.startswith("__")}
