"""The signal matrix: a quick part in every run, all of it in the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.edges.attack import Cell, cells, wrong

# One cell of each kind; tests/edges/test_after_verdict.py kills a target that is traced.
FAST = (
    "supervisor-KILL-idle",
    "swarm-KILL-load",
)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", FAST)
def test_a_signal_has_its_documented_outcome(name: str, tmp_path: Path) -> None:
    assert wrong(Cell(*name.split("-")), tmp_path) == []


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "cell", [cell for cell in cells() if cell.name not in FAST], ids=lambda cell: cell.name
)
def test_every_signal_has_its_documented_outcome(cell: Cell, tmp_path: Path) -> None:
    assert wrong(cell, tmp_path) == []
