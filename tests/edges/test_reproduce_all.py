"""``harness reproduce --all``: interrupted and continued, and which options it refuses."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.reproduce import command
from harness.core.claims import Claim, Conclusion
from harness.core.errors import ConfigError, StoreError
from harness.experiment.claims import ClaimsRun, RepeatProgress, load
from harness.experiment.reproduce import Catalogue, catalogue

SHORT = "dangling-sockets"


@pytest.fixture(scope="module")
def short() -> Catalogue:
    """One claim, which two trials of a few seconds test."""
    claim = Claim("short", "Appendix", "it is recognised", "recognised", ((SHORT, 2),), "dangling-socket")
    return replace(catalogue(), claims=(claim,))


def test_a_run_that_was_interrupted_continues_where_it_ended(short: Catalogue, tmp_path: Path) -> None:
    interrupt, news = threading.Event(), list[RepeatProgress]()

    def stop_after_the_first(one: RepeatProgress) -> None:
        news.append(one)
        interrupt.set()

    out = tmp_path / "claims"
    run = ClaimsRun(short, out=out, resume=None, interrupt=interrupt, jobs=1, show=stop_after_the_first)
    record = run.run()
    assert (news[0].name, news[0].done, news[0].total) == (SHORT, 1, 2)
    assert record.remaining() == [(SHORT, 1)]
    (row,) = record.rows()
    assert row.conclusion is Conclusion.CONFIRMED
    assert row.reason.endswith(
        "only 1 of 2 repeats of dangling-sockets: the run was interrupted; --resume claims continues it"
    )
    kept = record.measured[SHORT]

    again = ClaimsRun(short, out=None, resume=out, interrupt=threading.Event(), jobs=1).run()
    assert again.measured[SHORT][0] == kept[0]
    assert (len(again.measured[SHORT]), again.remaining(), again.resumed) == (2, [], 1)
    assert again.unexpected_results() == []
    assert load(out / "claims.json") == again
    assert "2 of 2 logs" in (out / "claims.md").read_text()
    assert "2 of 2 logs" in (out / "claims.html").read_text()
    assert json.loads((out / "claims.json").read_text())["rows"][0]["conclusion"] == "confirmed"

    # Repeats of a trial that has changed since are not repeats of it.
    spec = short.variations[SHORT]
    other = replace(short, variations={SHORT: replace(spec, load={**spec.load, "cycles": 5})})
    changed = ClaimsRun(other, out=None, resume=out, interrupt=interrupt, jobs=1).run()
    assert changed.measured == {}


def test_a_trial_that_would_end_too_late_is_not_begun(short: Catalogue, tmp_path: Path) -> None:
    run = ClaimsRun(
        short, out=tmp_path / "run", resume=None, interrupt=threading.Event(), jobs=1, max_seconds=1.0
    )
    (row,) = run.run().rows()
    assert row.conclusion is Conclusion.NOT_MEASURED
    assert "0 of 2 repeats of dangling-sockets: the time of 1 s was used up" in row.reason


def test_a_folder_without_a_run_cannot_be_continued(short: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; expected the folder of a run"):
        ClaimsRun(short, out=None, resume=tmp_path, interrupt=threading.Event())
    os.mkfifo(tmp_path / "claims.json")
    with pytest.raises(ConfigError, match="not a regular file; expected the folder of a run"):
        ClaimsRun(short, out=None, resume=tmp_path, interrupt=threading.Event())
    (tmp_path / "claims.json").unlink()
    with pytest.raises(ConfigError, match="no such file; expected the folder of a run"):
        ClaimsRun(short, out=None, resume=Path("/dev/null"), interrupt=threading.Event())
    (tmp_path / "claims.json").write_text("[" * 100_000)
    with pytest.raises(StoreError, match="not JSON"):
        ClaimsRun(short, out=None, resume=tmp_path, interrupt=threading.Event())
    (tmp_path / "claims.json").write_text('{"schema_version": 9}')
    with pytest.raises(ConfigError, match="schema_version 9: expected 1"):
        ClaimsRun(short, out=None, resume=tmp_path, interrupt=threading.Event())


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--all", "--profile", "fixed"], "--profile has no effect with --all"),
        (["--all", "--repeat", "5"], "--repeat has no effect with --all"),
        (["--jobs", "2"], "--jobs has no effect without --all"),
        (["--resume", "."], "--resume has no effect without --all"),
        (["--max-time", "5m"], "--max-time has no effect without --all"),
        (["--all", "--resume", ".", "--out", "new"], "--out new: a resumed run uses its own folder"),
    ],
)
def test_an_option_without_effect_is_refused(words: list[str], error: str) -> None:
    answer = CliRunner().invoke(command, words)
    assert answer.exit_code == 2
    assert error in answer.output
