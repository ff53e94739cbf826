"""A measurement of a clean server is repeated for the one runtime that needs it, and once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.core.metric import Key
from tests.edges.servers import proof

OBJECTS = Key("memory", "objects")


@pytest.mark.parametrize(
    ("late_step", "measured", "expected"),
    [
        (False, [0.5, 0.0], 0.5),
        (True, [0.5, 0.0], 0.0),
        (True, [0.05, 0.0], 0.05),  # within the bound: once is enough
        (True, [-0.5, 0.0], 0.0),
        (True, [0.5, 0.4], 0.4),  # a leak keeps growing
    ],
)
def test_only_a_late_step_is_measured_again(
    late_step: bool, measured: list[float], expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list(measured)
    monkeypatch.setattr(proof, "rates", lambda *_, **__: {OBJECTS: left.pop(0)})
    reader: Any = None
    found = proof.clean_rates(reader, lambda: 1, {OBJECTS: 3.0}, 0.05, late_step=late_step)
    assert found == {OBJECTS: expected}


def test_node_and_the_jvm_are_the_only_runtimes_with_a_late_step() -> None:
    folder = Path(proof.__file__).parents[1]
    asked = [
        path.name
        for path in sorted(folder.glob("test_*.py"))
        for line in path.read_text().splitlines()
        if "late_step=True" in line
    ]
    assert asked == ["test_runtime_others.py"] * 2
    before_node, before_jvm, _ = (folder / "test_runtime_others.py").read_text().split("late_step=True")
    for before, runtime in ((before_node, "node"), (before_jvm, "jvm")):
        assert before[before.rindex("\ndef test_") :].startswith(f"\ndef test_{runtime}_")
