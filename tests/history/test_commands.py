"""harness history as a shell runs it, and runs that stay whatever happens to their history."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from harness.history.record import History
from harness.store.run_dir import RunDirectory
from tests.edges.command_line import (
    HARNESS,
    SERVICES,
    SMALL,
    TIMEOUT,
    URL,
    environment,
    harness,
    harness_here,
)
from tests.history.nightly_runs import measured, month, nightly_run

SAMPLE = Path(__file__).parents[2] / "reports" / "sample"
PLAIN = (sys.executable, str(SERVICES / "plain_sse.py"), "{port}")
LOGIN = (sys.executable, str(SERVICES / "difficult.py"), "{port}", "login")  # is judged within a second
ABSENT = (
    "import importlib.util as u, sys; real = u.find_spec\n"
    "u.find_spec = lambda name, *more: None if name in ('sqlalchemy', 'alembic') else real(name, *more)\n"
    "from harness.cli import main; main(sys.argv[1:])"
)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder whose reports/history.db holds a month."""
    with History(str(tmp_path / "reports" / "history.db")) as history:
        for entry in month():
            history.add(entry)
    return tmp_path


def history(cwd: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """``harness history`` in a folder."""
    return harness_here(cwd, "history", *words)


def test_list_filters_and_states_when_nothing_matches(kept: Path) -> None:
    lines = history(kept, "--last", "2").stdout.splitlines()
    assert len(lines) == 3
    assert "2026-01-30T02-00-00-29" in lines[-1]
    assert "leaking" in lines[-1]
    assert "0.21 eventfds per connection" in lines[-1]
    assert "no run in reports/history.db matches" in history(kept, "list", "--target", "none").stdout


def test_export_as_csv_and_json_lines(kept: Path) -> None:
    with History(str(kept / "reports" / "history.db")) as more:
        more.add(nightly_run(99, measured(0.0), branch="=HYPERLINK(1)"))
    done = history(kept, "export", "--metric", "fds", "--out", "runs.csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((kept / "runs.csv").open()))
    assert len(rows) == 31
    assert float(rows[20]["rate"]) == pytest.approx(0.21, abs=0.01)
    assert rows[30]["branch"] == "'=HYPERLINK(1)"
    lines = history(kept, "export", "--format", "jsonl", "--outcome", "leaking").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert len(found) == 12 * 2
    assert {one["metric"] for one in found} == {"fds", "threads"}


def test_prune_removes_runs_only_with_yes(kept: Path) -> None:
    first = history(kept, "prune", "--keep-last", "3", "--keep-failures")
    assert first.stdout.splitlines()[-1] == "18 runs of 30 would be removed; add --yes"
    again = history(kept, "prune", "--keep-last", "3", "--keep-failures", "--yes")
    assert again.stdout.splitlines()[-1] == "18 runs of 30 removed"
    assert len(history(kept, "list", "--format", "jsonl").stdout.splitlines()) == 12 * 2
    assert history(kept, "prune").returncode == 2


def test_prune_removes_only_the_folders_of_pruned_runs(tmp_path: Path) -> None:
    out = tmp_path / "reports"
    first, second = (keep_sample(out / name) for name in ("one", "two"))
    assert history(tmp_path, "add", "reports").stdout.startswith(
        "1 run added to reports/history.db, 1 recorded"
    )
    (second / "run.json").write_text((second / "run.json").read_text().replace("18960", "18961", 1))
    done = history(tmp_path, "prune", "--keep-last", "0", "--yes", "--folders")
    assert done.returncode == 0, done.stderr
    assert not first.exists()
    assert second.exists()


def keep_sample(folder: Path) -> Path:
    """A copy of the sample run."""
    record, _ = RunDirectory.load(SAMPLE)
    with RunDirectory.create(folder, record.run_id) as directory:
        directory.checkpoint(record)
    return folder


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("list",), 4, "no history at reports/history.db"),
        (("list", "--since", "yesterday"), 4, "no history"),
        (("add", "nowhere"), 2, "no run at nowhere: expected a folder with run.json"),
        (("list", "--history", "mysql://me:secret@x/y"), 2, "expected a file, sqlite:///FILE or postgresql"),
        (("list", "--history", "none"), 2, "no history is kept"),
    ],
)
def test_bad_requests_are_one_line(words: tuple[str, ...], code: int, said: str, tmp_path: Path) -> None:
    done = history(tmp_path, *words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "secret" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "reports" / "history.db").exists() or words[0] == "add"


def test_without_the_extra_a_guard_works_and_the_history_names_the_package(tmp_path: Path) -> None:
    absent = [sys.executable, "-c", ABSENT]
    done = subprocess.run(
        [*absent, "history"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(HARNESS_HISTORY=""),
    )
    assert (done.returncode, "pip install sqlalchemy alembic" in done.stderr) == (2, True), done.stderr
    command = [*absent, "guard", *SMALL, "--quiet", "--url", URL]
    asked = subprocess.run(
        [*command, "--history", "h.db", "--", *PLAIN],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
    )
    assert (asked.returncode, "pip install" in asked.stderr) == (2, True), "refused before anything starts"
    plain = subprocess.run(
        [*command, "--", *LOGIN],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(HARNESS_HISTORY=""),
    )
    assert (plain.returncode, plain.stderr) == (1, ""), plain.stdout
    assert plain.stdout.startswith("UNREADY"), plain.stdout


def test_a_guard_records_what_makes_it_comparable(tmp_path: Path) -> None:
    for words in (("init", "-q", "-b", "topic"), ("add", "f"), ("commit", "-qm", "one")):
        (tmp_path / "f").write_text("1")
        ours = ("-c", "user.name=n", "-c", "user.email=e@example.com")
        subprocess.run(["git", *ours, *words], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "f").write_text("2")
    done = harness(
        "guard", *SMALL, "--quiet", "--target", "plain", "--url", URL, "--", *PLAIN, cwd=tmp_path,
        env={"HARNESS_HISTORY": "", "CI_JOB_URL": "https://user:token@ci.example/job/7", "CI_COMMIT_REF_NAME": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    with History(str(tmp_path / "reports" / "history.db")) as kept:
        (entry,) = kept.find()
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True
    ).stdout.strip()
    assert (entry.commit, entry.branch, entry.dirty) == (head, "topic", True)
    assert entry.ci_job == "https://ci.example/job/7"
    assert entry.kernel == os.uname().release
    assert "cores" in entry.machine_class
    (trial,) = entry.trials
    assert (trial.target, trial.mode, trial.runtime, trial.sensitivity) == ("plain", "stream", "python", 0.1)
    assert trial.load == "60 connections, 60 at once, 1 event, 0.3 s, mixed, GET"
    assert trial.runtime_version.startswith("3.")
    fds = next(one for one in trial.metrics if one.key == "fds")
    assert (fds.rate, fds.status in ("bounded", "observed")) == (0.0, True)
    assert 0 < fds.high < 0.2


def test_a_history_that_cannot_be_written_changes_neither_verdict_nor_exit_code(tmp_path: Path) -> None:
    (tmp_path / "damaged.db").write_bytes(b"no database" * 1000)
    done = harness(
        "guard",
        *SMALL,
        "--quiet",
        "--history",
        "damaged.db",
        "--out",
        "run",
        "--url",
        URL,
        "--",
        *LOGIN,
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("UNREADY"), done.stdout
    (note,) = done.stderr.splitlines()
    assert note.startswith("harness: the history failed: history damaged.db: it is damaged")
    assert note.endswith("the verdict stands")
    added = history(tmp_path, "add", "run")
    assert added.stdout == "1 run added to reports/history.db, 0 recorded already\n", added.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system is mounted: that needs root")
def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=80k none "$0" || exit 77; cd "$0"; "$@"'
    many = keep_sample(tmp_path.parent / f"{tmp_path.name}-run")
    for number in range(60):
        keep_sample(many / str(number))
        path = many / str(number) / "run.json"
        path.write_text(path.read_text().replace('"seed": 0', f'"seed": {number + 10}', 1))
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, str(tmp_path), *HARNESS, "history", "add", str(many)],
        capture_output=True, text=True, timeout=TIMEOUT, env=environment(HARNESS_HISTORY="h.db"),
    )  # fmt: skip
    assert done.returncode == 4, done.stdout + done.stderr
    assert "h.db: the disk " in done.stderr
    assert "free some space, and harness history add RUN records a saved run later" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_history_is_readable_only_by_its_owner(tmp_path: Path) -> None:
    """Other users of the machine must not read the output of services."""
    old = os.umask(0)
    try:
        history(tmp_path, "add", SAMPLE)
    finally:
        os.umask(old)
    path = tmp_path / "reports" / "history.db"
    assert path.stat().st_mode & 0o077 == 0
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    connection.close()
