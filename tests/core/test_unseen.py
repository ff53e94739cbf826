"""``python -m bench.unseen`` counts a verdict as right only when it is the planted one."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench._unseen_rows import ROWS, Row
from bench.unseen import SERVICES, guarded, line, right

LEAKY = Row("go", "x", "a file per stream", ("connection", "answered-stream"))
HEALTHY = Row("go", "y", "nothing", held_back=True)
LIMITED = Row("go", "z", "429", passes=("bounded", "inconclusive"))
FAILING = Row("go", "w", "a file per stream until it stops", ("connection",), instead=("stalled",))


def verdict(outcome: str, driver: str = "", status: str = "leaking") -> dict[str, Any]:
    finding = {"metric": "fds", "kind": "file", "driver": driver, "status": status}
    return {"outcome": outcome, "findings": [finding] if driver else []}


@pytest.mark.parametrize(
    ("row", "given", "ok"),
    [
        (HEALTHY, verdict("bounded"), True),
        (HEALTHY, verdict("inconclusive"), False),
        (HEALTHY, verdict("leaking", "connection"), False),
        (LIMITED, verdict("bounded"), True),
        (LIMITED, verdict("inconclusive"), True),
        (LIMITED, verdict("leaking", "connection"), False),
        (LEAKY, verdict("leaking", "connection"), True),
        (LEAKY, verdict("leaking", "event"), False),
        (LEAKY, verdict("stalled", "connection", "suspected"), False),
        (LEAKY, verdict("bounded"), False),
        (FAILING, verdict("leaking", "connection"), True),
        (FAILING, verdict("leaking", "event"), False),
        (FAILING, verdict("stalled", "connection", "suspected"), True),
        (FAILING, verdict("bounded"), False),
    ],
)
def test_a_verdict_is_right_when_outcome_and_driver_are_the_planted_ones(
    row: Row, given: dict[str, Any], ok: bool
) -> None:
    assert right(row, given) is ok
    assert line(row, given).endswith("| right |" if ok else "| **wrong** |")


def test_a_row_is_guarded_with_its_own_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    row = Row("ruby", "x", "a file for each of 80 tenants", options=("--clients", "80"))
    assert guarded(row, tmp_path, "2m", None)["outcome"] == "none"
    (command,) = commands
    service = command.index("--")
    assert command[service - 2 : service] == ["--clients", "80"]
    assert command[service + 1] == "ruby"


def test_half_of_the_services_are_held_back_and_every_behaviour_is_in_its_source() -> None:
    assert 2 * sum(row.held_back for row in ROWS) >= len(ROWS)
    files = {
        "python": "service.py",
        "node": "service.js",
        "go": "go/main.go",
        "java": "java/Service.java",
        "c": "service.c",
        "rust": "service.rs",
        "ruby": "service.rb",
        "php": "service.php",
    }
    plain = ("lumpy", "flat", "pool-20")  # a behaviour that is the rule of its source
    for row in ROWS:
        source = (SERVICES / files[row.language]).read_text()
        assert f'"{row.behaviour}"' in source or row.behaviour in plain, row
