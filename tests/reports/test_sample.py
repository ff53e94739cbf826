"""The sample report that the documentation shows is what the harness says of its run today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main

SAMPLE = Path(__file__).parents[2] / "reports" / "sample"


def test_the_verdict_of_the_sample_is_that_of_today(tmp_path: Path) -> None:
    """Where it is not: ``harness judge reports/sample --json reports/sample/verdict.json``, then ``harness report``."""
    judged = tmp_path / "verdict.json"
    with pytest.raises(SystemExit) as done:
        main(["judge", str(SAMPLE), "--json", str(judged)])
    assert done.value.code == 1
    assert json.loads(judged.read_text()) == json.loads((SAMPLE / "verdict.json").read_text())
