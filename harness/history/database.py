"""Opening the history's database: SQLite in WAL mode or PostgreSQL, at the newest schema, with clear errors."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from harness.core.errors import ConfigError, HistoryError, OptionError
from harness.history.migrations import NEWEST
from harness.process.closing import Closing

BUSY_TIMEOUT = 15.0  # seconds to wait for another writer
POLL = 0.02  # seconds between two attempts to switch to WAL
CONNECT_TIMEOUT = 10  # seconds to wait for a PostgreSQL server
PRIVATE_FILE = 0o600
MIGRATION_LOCK = 4_711_2026  # key of PostgreSQL's advisory lock while the schema changes
ADD_LATER = "harness history add RUN records a saved run later"


class Database(Closing):
    """A history at the newest schema. where: its URL or path without a password, for messages."""

    def __init__(self, place: str, *, create: bool = True) -> None:
        """place: a path, or a URL such as ``postgresql+psycopg://USER@HOST/NAME``. create: make the file when there
        is none. Raises ConfigError for an invalid place, HistoryError when it cannot be opened."""
        self.url = parse_place(place)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.where = (
            self.url.database or place if self.sqlite else self.url.render_as_string(hide_password=True)
        )
        if self.sqlite and not create and not Path(self.url.database or "").exists():
            raise HistoryError(
                f"no history at {self.where}: guard, soak and reproduce record runs, and so does harness history add"
            )
        self.engine = self._engine()
        try:
            self._migrate()
        except BaseException:
            self.engine.dispose()
            raise

    def _engine(self) -> Engine:
        if not self.sqlite:
            try:
                return create_engine(
                    self.url, connect_args={"connect_timeout": CONNECT_TIMEOUT}, pool_pre_ping=True
                )
            except ModuleNotFoundError:
                raise ConfigError(
                    "a history in PostgreSQL needs psycopg; install it: pip install 'psycopg[binary]'"
                ) from None
        self._make_file()
        engine = create_engine(self.url, connect_args={"timeout": BUSY_TIMEOUT})

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _: object) -> None:
            # SQLAlchemy begins transactions itself; sqlite3's own rules would begin some too late.
            connection.isolation_level = None
            # Off by default in each connection. Removing a run must remove its trials and metrics (ON DELETE CASCADE).
            connection.execute("PRAGMA foreign_keys = ON")
            _use_wal(connection)

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            # A transaction that begins by reading fails at once when another one writes; IMMEDIATE waits for the lock.
            writes = connection.get_execution_options().get("harness_writes")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

        return engine

    def _make_file(self) -> None:
        path = Path(self.url.database or "")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite would open a pipe as well, and then report an error of the disk. Opening one must not wait either.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, PRIVATE_FILE)
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            os.close(descriptor)
            why = "" if regular else "not a regular file"
        except OSError as error:
            why = error.strerror or str(error)
        if why:
            raise HistoryError(f"history {path}: {why}; expected a file that can be written, or another file")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads. Raises HistoryError."""
        with self._as_history_errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes: all of it or nothing. Raises HistoryError."""
        with (
            self._as_history_errors(),
            self.engine.connect().execution_options(harness_writes=True) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def _migrate(self) -> None:
        """Bring the schema up to date. A schema that is newer than this harness is an error."""
        with self.reading() as connection:
            if _revision(connection) == NEWEST:
                return
        # Importing Alembic takes 0.15 s of CPU time, and most runs find the newest schema.
        from alembic import command as alembic
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", "harness.history:migrations")
        scripts = ScriptDirectory.from_config(config)
        with self.writing() as connection:
            # BEGIN IMMEDIATE has locked SQLite's database; PostgreSQL needs a lock of its own.
            if not self.sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            # Read again: another process may have migrated while this one waited for the lock.
            found = _revision(connection)
            if found is not None and found not in {one.revision for one in scripts.walk_revisions()}:
                raise HistoryError(
                    f"history {self.where}: its schema {found} is newer than this harness, which knows {NEWEST}; "
                    "upgrade the harness, or use another history"
                )
            config.attributes["connection"] = connection
            alembic.upgrade(config, "head")

    @contextmanager
    def _as_history_errors(self) -> Iterator[None]:
        """Any failure of the database as one line that names it and what to do."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise HistoryError(f"history {self.where}: {_reason(error)}") from None


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL, retrying because SQLite itself does not wait for other connections here."""
    end = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(POLL)
        else:
            return


def parse_place(place: str) -> URL:
    """The URL of a place. Raises ConfigError naming what does not fit; a password in it is not shown."""
    if "://" not in place:
        return URL.create("sqlite+pysqlite", database=place)
    scheme = place.partition("://")[0]
    wanted = "expected a file, sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
    try:
        url = make_url(place)
        if url.get_backend_name() == "postgresql" and url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise OptionError("history", None, f"{scheme}://… is not a database URL; {wanted}") from None
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise OptionError("history", None, f"{scheme}://… is a {url.get_backend_name()} database; {wanted}")
    if url.get_backend_name() == "sqlite" and not url.database:
        raise OptionError("history", place, f"names no file; {wanted}")
    return url


def _revision(connection: Connection) -> str | None:
    """The schema's revision; None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _reason(error: Exception) -> str:
    """The reason of an error and the next step, with the database's own message for an unknown error."""
    cause = getattr(error, "orig", None) or error
    words = " ".join(str(cause).split())
    for sign, meaning in (
        ("database is locked", f"another program has locked it for {BUSY_TIMEOUT:g} s; {ADD_LATER}"),
        ("not a database", f"it is damaged or not an SQLite file; move it away, and {ADD_LATER}"),
        ("malformed", f"it is damaged; move it away, and {ADD_LATER}"),
        ("disk is full", f"the disk is full; free some space, and {ADD_LATER}"),
        ("disk I/O error", f"the disk reports an error, or is full; free some space, and {ADD_LATER}"),
        ("readonly", "it cannot be written; run as its owner, or use another file"),
        ("unable to open", "it cannot be opened; expected a file that can be written"),
        ("No space left", f"the server's disk is full; {ADD_LATER}"),
        ("already exists", "it holds other tables of these names; name an empty database by --history"),
    ):
        if sign in words:
            return meaning
    return f"{words[:300] or type(cause).__name__}; {ADD_LATER}"
