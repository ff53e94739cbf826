"""The history in SQLite and PostgreSQL: each run is stored once, and each failure is one clear error."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from harness.core.errors import ConfigError, HistoryError
from harness.history import database, migrations
from harness.history.record import History, RunFilter
from harness.history.tables import metadata
from tests.history.nightly_runs import measured, month, nightly_run, nightly_runs
from tests.history.postgres import Server

WRITER = """
import sys
from harness.history.record import History
from tests.history.nightly_runs import measured, nightly_run
place, writer = sys.argv[1], int(sys.argv[2])
for number in range(5):
    with History(place) as history:
        assert history.add(nightly_run(100 * writer + number, measured(0.0)))
"""


def test_added_runs_are_found_again_whole_and_in_order(place: str) -> None:
    entries = month()
    with History(place) as history:
        assert all(history.add(entry) for entry in reversed(entries))
    with History(place) as history:
        assert history.find() == entries


def test_a_run_is_recorded_once(place: str) -> None:
    (entry,) = nightly_runs([0.0])
    with History(place) as history:
        assert [history.add(entry), history.add(entry)] == [True, False]
        assert history.find() == [entry]


def test_a_resumed_run_replaces_its_earlier_entry(place: str) -> None:
    before, other = nightly_runs([0.0, 0.0])
    after = replace(nightly_run(0, measured(0.21)), digest="f" * 64)
    with History(place) as history:
        for entry in (before, other, after):
            assert history.add(entry)
        assert history.find() == [after, other]


def test_runs_are_found_by_each_filter(place: str) -> None:
    entries = month()
    other = nightly_run(40, measured(0.0), target="server /api", branch="fix")
    odd = nightly_run(
        41, measured(0.0, metric="memory"), outcome="crashed", dirty=None, ci_job="%_' \0 \udcff ☃"
    )
    with History(place) as history:
        for entry in (*entries, other, odd):
            history.add(entry)

        def found(**wanted: object) -> list[str]:
            return [entry.run_id for entry in history.find(RunFilter(**wanted))]  # type: ignore[arg-type]

        assert found(target="server /api") == found(branch="fix") == [other.run_id]
        assert found(outcome="crashed") == [odd.run_id]
        assert history.find(RunFilter(outcome="crashed"))[0].ci_job == "%_'  ? ☃"
        assert found(last=2) == [other.run_id, odd.run_id]
        assert found(since=entries[28].started_at, until=other.started_at) == [
            one.run_id for one in entries[28:]
        ]
        assert found(commit="%") == []
        assert found(commit=entries[3].commit[:12]) == [entries[3].run_id]
        assert [entry.run_id for entry in history.run(entries[5].run_id)] == [entries[5].run_id]
        assert history.run("nothing") == []


@pytest.mark.parametrize("name", ["\udcff /events", "a\0b /events"])
def test_a_name_that_is_not_utf8_is_found_again(place: str, name: str) -> None:
    """Bytes of a command line that are not UTF-8 are lone surrogates."""
    with History(place) as history:
        entry = nightly_run(3, measured(0.0), target=name)
        assert history.add(entry)
        assert [one.run_id for one in history.find(RunFilter(target=name))] == [entry.run_id]
        assert history.find(RunFilter(commit=name, outcome=name)) == []
        assert history.run(name) == []
        history.before(nightly_run(4, measured(0.0), target=name))


def test_removing_runs_removes_their_metrics(place: str) -> None:
    entries = month()
    with History(place) as history:
        for entry in entries:
            history.add(entry)
        assert history.forget([entry.digest for entry in entries[:20]]) == 20
        assert history.find() == entries[20:]
        with history.database.reading() as connection:
            left = connection.execute(text("SELECT count(*) FROM metrics")).scalar()
    assert left == sum(len(trial.metrics) for entry in entries[20:] for trial in entry.trials)


def test_concurrent_writers_create_the_database_and_lose_no_run(place: str) -> None:
    command = [sys.executable, "-c", WRITER, place]
    root = Path(__file__).parents[2]
    running = [
        subprocess.Popen([*command, str(number)], cwd=root, stderr=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    said = [one.communicate(timeout=100)[1] for one in running]
    assert [one.returncode for one in running] == [0] * 3, said
    with History(place) as history:
        assert len(history.find()) == 15


def test_a_writer_waits_for_the_one_before_instead_of_failing(tmp_path: Path) -> None:
    """A transaction that begins by reading cannot write any more once another has written (SQLITE_BUSY_SNAPSHOT)."""
    began, written = threading.Event(), threading.Event()
    failed: list[Exception] = []

    def second() -> None:
        try:
            with history.database.writing() as connection:
                connection.execute(text("SELECT count(*) FROM runs")).scalar()
                began.set()
                written.wait(10)
                connection.execute(text("DELETE FROM runs"))
        except HistoryError as error:
            failed.append(error)

    with History(str(tmp_path / "history.db")) as history:
        history.add(nightly_runs([0.0])[0])
        other = threading.Thread(target=second)
        with history.database.writing() as connection:
            other.start()
            began.wait(0.5)  # true only where the second did not wait for the first
            connection.execute(text("UPDATE runs SET branch = 'first'"))
        written.set()
        other.join(30)
        assert (failed, history.find()) == ([], [])


def test_migrations_create_the_tables_that_the_code_uses(place: str) -> None:
    with History(place) as history, history.database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_a_history_at_the_newest_schema_is_opened_without_alembic(tmp_path: Path) -> None:
    head = ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head()
    assert head == migrations.NEWEST, "the constant follows the last migration"
    code = (
        "import sys; from harness.history.record import History\n"
        f"with History({str(tmp_path / 'history.db')!r}) as history: history.find()\n"
        "print('alembic' in sys.modules)"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
        ).stdout
        for _ in range(2)
    ]
    assert said == ["True\n", "False\n"], "it is made by Alembic, and opened again without"


def test_a_newer_schema_is_one_clear_error_and_stays_unchanged(place: str) -> None:
    with History(place) as history:
        history.add(nightly_runs([0.0])[0])
        with history.database.writing() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(
        HistoryError, match=r"schema 9999 is newer than this harness, which knows 0001; upgrade"
    ):
        History(place)


def test_a_run_that_fails_halfway_leaves_nothing(place: str) -> None:
    entry = nightly_runs([0.0])[0]
    broken = replace(entry.trials[0], metrics=(replace(entry.trials[0].metrics[0], rate=None),))  # type: ignore[arg-type]
    with History(place) as history:
        with pytest.raises(HistoryError):
            history.add(replace(entry, trials=(*entry.trials, broken)))
        assert history.find() == []


def test_a_file_is_private_and_in_wal_mode(tmp_path: Path) -> None:
    path = tmp_path / "new" / "history.db"
    History(str(path)).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    path = str(tmp_path / "history.db")
    with History(path) as writer, History(path) as reader:
        writer.add(nightly_runs([0.0])[0])
        with writer.database.writing() as connection:
            connection.execute(text("DELETE FROM runs"))
            assert len(reader.find()) == 1


def test_a_locked_file_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.2)
    path = str(tmp_path / "history.db")
    with History(path) as history:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(
            HistoryError, match=r"another program has locked it for 0.2 s; harness history add RUN"
        ):
            history.add(nightly_runs([0.0])[0])
        holder.execute("ROLLBACK")
        holder.close()
        assert history.add(nightly_runs([0.0])[0])


def test_a_damaged_file_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(
        HistoryError, match="damaged or not an SQLite file; move it away, and harness history add RUN"
    ):
        History(str(path))
    path.unlink()
    with History(str(path)) as history:
        for entry in month():
            history.add(entry)
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(HistoryError, match="damaged"), History(str(path)) as history:
        history.find()


def test_a_history_that_is_no_regular_file_is_named_and_no_disk_error_is_reported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for place, why in (
        (tmp_path / "pipe", "not a regular file"),
        (Path("/dev/null"), "not a regular file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "loop", "Too many levels of symbolic links"),
    ):
        with pytest.raises(
            HistoryError, match=f"history {place}: {why}; expected a file that can be written"
        ):
            History(str(place))


def test_no_server_is_one_error_that_does_not_show_the_password(tmp_path: Path) -> None:
    place = f"postgresql+psycopg://me:sesame@/db?host={tmp_path}"
    with pytest.raises(HistoryError, match=r"history postgresql\+psycopg://me:\*\*\*@/db") as failed:
        History(place)
    assert "sesame" not in str(failed.value)
    assert "harness history add RUN" in str(failed.value)


@pytest.mark.parametrize(
    "place", ["mysql://host/db", "nothing://x", "postgresql+asyncpg9://x/y", "sqlite://"]
)
def test_another_database_is_a_usage_error(place: str) -> None:
    with pytest.raises(ConfigError, match="expected a file, sqlite:///FILE or postgresql"):
        History(place)


def test_tables_of_other_programs_stay_unchanged(postgresql: Server) -> None:
    url = postgresql.database()
    name = url.partition("@/")[2].partition("?")[0]
    postgresql.ask("CREATE TABLE runs (mine int)", name)
    with pytest.raises(HistoryError, match="other tables of these names"):
        History(url)
    assert postgresql.ask("SELECT count(*) FROM runs", name) == "0"
