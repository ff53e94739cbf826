"""A run directory that holds a run is never written over, by any command."""

from __future__ import annotations

import datetime
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.core.errors import ConfigError
from harness.core.record import RunRecord
from harness.store import claim
from harness.store.run_dir import RunDirectory, run_id
from tests.edges.command_line import SERVICES, harness

NOW = datetime.datetime(2026, 3, 1, 12, 30, 5, tzinfo=datetime.UTC)


def keep(directory: RunDirectory) -> Path:
    with directory:
        directory.checkpoint(RunRecord(directory.run_id, "harness guard", NOW.isoformat(), 0))
    return directory.path


def ids(root: Path) -> list[str]:
    return sorted(json.loads(path.read_text())["run_id"] for path in root.rglob("run.json"))


def test_the_second_run_gets_a_folder_inside_and_the_first_stays(tmp_path: Path) -> None:
    out = tmp_path / "nightly"
    paths = [keep(RunDirectory.create(out, run_id(NOW, number))) for number in range(3)]
    assert paths == [out, out / run_id(NOW, 1), out / run_id(NOW, 2)]
    assert ids(out) == [run_id(NOW, number) for number in range(3)]


def test_two_runs_of_one_id_get_two_folders(tmp_path: Path) -> None:
    paths = {keep(RunDirectory.create(tmp_path / "out", run_id(NOW, 1))) for _ in range(3)}
    assert len(paths) == 3
    assert len(set(ids(tmp_path))) == 2, "the folder that --out names keeps the id; the others are numbered"


def test_a_saved_run_named_exactly_is_refused_and_left_alone(tmp_path: Path) -> None:
    saved = keep(RunDirectory.create(None, run_id(NOW, 1), reports=tmp_path))
    before = {path: path.read_bytes() for path in saved.iterdir()}
    with pytest.raises(ConfigError, match=f"this run exists already; expected a new folder, or {tmp_path}"):
        RunDirectory.create(saved, run_id(NOW, 2))
    assert {path: path.read_bytes() for path in saved.iterdir()} == before


@pytest.mark.parametrize("sign", ["run.json", "samples.jsonl", "events.jsonl", "guard/target.log"])
def test_a_folder_left_by_a_killed_run_is_a_run(sign: str, tmp_path: Path) -> None:
    left = tmp_path / "out" / sign
    left.parent.mkdir(parents=True)
    left.write_text("measured")
    assert keep(RunDirectory.create(tmp_path / "out", "next")) == tmp_path / "out" / "next"
    assert left.read_text() == "measured"


def test_other_files_of_the_user_do_not_move_a_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert keep(RunDirectory.create(tmp_path, "first")) == tmp_path


def test_runs_that_start_at_once_never_share_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: RunDirectory.create(tmp_path / "out", run_id(NOW, n)).path, range(8)))
    assert len(set(made)) == 8


def test_a_run_that_looked_before_the_other_wrote_still_gets_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The state that both see when they check at the same moment.
    monkeypatch.setattr(claim, "holds_run", lambda *_: False)
    paths = [RunDirectory.create(tmp_path / "out", run_id(NOW, number)).path for number in range(2)]
    assert paths == [tmp_path / "out", tmp_path / "out" / run_id(NOW, 1)]


def test_memory_run_keeps_earlier_snapshots(tmp_path: Path) -> None:
    out = tmp_path / "memory"
    out.mkdir()
    for name in ("first.snapshot", "last.snapshot"):
        (out / name).write_bytes(b"earlier")
    options = ("--after", "300ms", "--every", "300ms", "--for", "1s")
    done = harness(
        "memory",
        "run",
        "--out",
        out,
        *options,
        "--",
        sys.executable,
        SERVICES / "plain_sse.py",
        "0",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (out / "first.snapshot").read_bytes() == (out / "last.snapshot").read_bytes() == b"earlier"
    (folder,) = (path for path in out.iterdir() if path.is_dir())
    assert {"first.snapshot", "last.snapshot", "memory.html", "target.log"} <= {
        p.name for p in folder.iterdir()
    }
    assert str(folder) in done.stdout
