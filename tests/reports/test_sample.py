"""The sample report of the documentation is what the harness reports on its run today."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.core.record_codec import from_dict
from harness.report import markdown

SAMPLE = Path(__file__).parents[2] / "reports" / "sample"


def test_the_verdict_of_the_sample_is_that_of_today(tmp_path: Path) -> None:
    """Where it is not: ``harness judge reports/sample --json reports/sample/verdict.json``, then ``harness report``."""
    judged = tmp_path / "verdict.json"
    with pytest.raises(SystemExit) as done:
        main(["judge", str(SAMPLE), "--json", str(judged)])
    assert done.value.code == 1
    # Only the lines that differ: a continuous integration prints a failed comparison whole, and this one has 190 kB.
    was, text = (SAMPLE / "verdict.json").read_text().splitlines(), judged.read_text()
    assert [*difflib.unified_diff(was, text.splitlines(), n=0, lineterm="")] == []
    today = json.loads(text)
    kept = json.loads((SAMPLE / "run.json").read_text())
    for said in ("explanation", "advice"):
        texts = [trial["verdict"][said] for trial in today["trials"]]
        assert [trial["verdict"][said] for trial in kept["trials"]] == texts, "what the report was made of"
    assert (SAMPLE / "summary.md").read_text() == markdown.render(from_dict(kept))
