"""harness trend and harness compare: exit codes, and what they print."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.record import RunRecord
from harness.history.record import History
from harness.store.run_dir import RunDirectory
from tests.edges.command_line import harness_here
from tests.history.nightly_runs import month, nightly_runs

SAMPLE = Path(__file__).parents[2] / "reports" / "sample"


@pytest.fixture
def kept(place: str) -> str:
    """A month with a leak from night 18 on, in SQLite and in PostgreSQL."""
    with History(place) as history:
        for entry in month():
            history.add(entry)
    return place


def test_the_gate_is_red_while_a_regression_is_open(kept: str, tmp_path: Path) -> None:
    words = ("trend", "--history", kept, "--fail-on", "regression", "--markdown", "comment.md")
    done = harness_here(tmp_path, *words)
    assert done.returncode == 1, done.stderr
    assert "rose from 0.00 to 0.21 between commit 0000011000 and 0000012000, 12 runs ago" in done.stdout
    assert "### Leak trend: 1 open regression" in (tmp_path / "comment.md").read_text()
    assert harness_here(tmp_path, "trend", "--history", kept).returncode == 0, (
        "without --fail-on it only tells"
    )
    later = harness_here(tmp_path, *words[:5], "--since", "2026-01-19")
    assert (later.returncode, "no change" in later.stdout) == (0, True)
    healthy = harness_here(tmp_path, *words[:5], "--metric", "threads")
    assert (healthy.returncode, "no change" in healthy.stdout) == (0, True)


@pytest.mark.parametrize(
    "place",
    [
        "sqlite",
        pytest.param(
            "postgresql", marks=pytest.mark.soak(reason="the gate runs on PostgreSQL as a short test")
        ),
    ],
    indirect=True,
)
def test_runs_are_compared_by_their_ids(kept: str, tmp_path: Path) -> None:
    worse = harness_here(tmp_path, "compare", "--history", kept, "2026-01-02T", "2026-01-25T")
    assert worse.returncode == 1, worse.stderr
    assert "WORSE: app.py /events: fds/eventfd: " in worse.stdout
    assert "99 % interval" in worse.stdout
    same = harness_here(tmp_path, "compare", "--history", kept, "2026-01-02T", "2026-01-05T")
    assert (same.returncode, "no significant change: 2 metrics" in same.stdout) == (0, True)
    many = harness_here(tmp_path, "compare", "--history", kept, "2026-01-0", "2026-01-25T")
    assert (many.returncode, "is one of 9" in many.stderr) == (2, True)
    none = harness_here(tmp_path, "compare", "--history", kept, "1999", "2026-01-25T")
    assert (none.returncode, "no such folder, and no such id" in none.stderr) == (2, True)


def test_runs_are_compared_from_their_folders_without_a_history(tmp_path: Path) -> None:
    record, _ = RunDirectory.load(SAMPLE)
    fixed = next(trial for trial in record.trials if trial.name == "fixed")
    crashed = next(trial for trial in record.trials if trial.name == "original")
    for name, trial in (("good", fixed), ("bad", replace(crashed, name="fixed"))):
        save(tmp_path / name, replace(record, trials=(trial,)))
    worse = harness_here(tmp_path, "compare", "good", "bad")
    assert worse.returncode == 1, worse.stderr
    assert "outcome: reference-service: bounded → crashed" in worse.stdout
    assert "WORSE: reference-service: fds" in worse.stdout
    assert harness_here(tmp_path, "compare", "bad", "good").returncode == 0
    assert harness_here(tmp_path, "compare", "good", "good/run.json").returncode == 0
    assert not (tmp_path / "reports").exists()


def save(folder: Path, record: RunRecord) -> None:
    with RunDirectory.create(folder, record.run_id) as directory:
        directory.checkpoint(record)


def test_runs_that_share_nothing_are_inconclusive(tmp_path: Path) -> None:
    record, _ = RunDirectory.load(SAMPLE)
    by_name = {trial.name: trial for trial in record.trials}
    save(tmp_path / "one", replace(record, trials=(by_name["fixed"], by_name["original"])))
    save(tmp_path / "two", replace(record, trials=(by_name["upstream"],)))
    done = harness_here(tmp_path, "compare", "one", "two")
    assert (done.returncode, "nothing to compare" in done.stdout) == (3, True)


def test_a_history_that_is_too_short_reports_how_many_runs_it_needs(tmp_path: Path) -> None:
    with History(str(tmp_path / "h.db")) as history:
        for entry in nightly_runs([0.0] * 5):
            history.add(entry)
    done = harness_here(tmp_path, "trend", "--history", "h.db", "--fail-on", "regression")
    assert (done.returncode, "needs at least 8 runs" in done.stdout) == (0, True)
