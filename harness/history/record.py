"""Adding runs to the history, reading them again, and forgetting old ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from harness.core.history import Measured, RunEntry, TrialEntry
from harness.history.database import Database
from harness.history.tables import metrics, runs, trials
from harness.process.closing import Closing

RUN_FIELDS = [one.name for one in dataclasses.fields(RunEntry) if one.name != "trials"]
TRIAL_FIELDS = [one.name for one in dataclasses.fields(TrialEntry) if one.name != "metrics"]
METRIC_FIELDS = [one.name for one in dataclasses.fields(Measured)]
MAX_EARLIER_RUNS = 100  # runs among which the last decided one is looked for
MAX_ROWS_NAMED = 500  # rows named in one statement: SQLite before 3.32 takes 999


@dataclass(frozen=True, slots=True)
class RunFilter:
    """A filter on runs. Texts match exactly; since and until compare with the start (ISO 8601, UTC). last: how many
    of the newest."""

    target: str | None = None
    profile: str | None = None
    branch: str | None = None
    outcome: str | None = None
    mode: str | None = None
    commit: str | None = None
    since: str | None = None
    until: str | None = None
    last: int | None = None


class History(Closing):
    """The recorded runs. A context manager; raises HistoryError for whatever the database reports."""

    def __init__(self, place: str, *, create: bool = True) -> None:
        self.database = Database(place, create=create)

    @property
    def where(self) -> str:
        """Its place, without a password."""
        return self.database.where

    def add(self, entry: RunEntry) -> bool:
        """Record a run, all of it or nothing; False when it was already recorded."""
        with self.database.writing() as connection:
            return _add(connection, entry, sqlite=self.database.sqlite)

    def find(self, wanted: RunFilter | None = None) -> list[RunEntry]:
        """Runs, oldest first, with those of their trials that match."""
        given = dataclasses.asdict(wanted or RunFilter())
        # A name with a character that the database cannot store was stored without it, and is found without it.
        wanted = RunFilter(**{name: _stored(value) for name, value in given.items()})
        with self.database.reading() as connection:
            chosen = _run_ids(connection, wanted)
            return list(_entries(connection, chosen, wanted))

    def run(self, run_id: str) -> list[RunEntry]:
        """Runs whose id is this text or begins with it."""
        with self.database.reading() as connection:
            query = select(runs.c.id).where(runs.c.run_id.startswith(_stored(run_id), autoescape=True))
            return list(
                _entries(connection, list(connection.scalars(query.order_by(runs.c.id))), RunFilter())
            )

    def before(self, entry: RunEntry) -> list[RunEntry]:
        """The newest earlier runs of the same targets on the same branch."""
        found: dict[str, RunEntry] = {}
        for target in {trial.target for trial in entry.trials}:
            wanted = RunFilter(
                target=target, branch=entry.branch, until=entry.started_at, last=MAX_EARLIER_RUNS
            )
            found.update((one.digest, one) for one in self.find(wanted))
        return list(found.values())

    def forget(self, digests: Sequence[str]) -> int:
        """Remove these runs; how many there were."""
        removed = 0
        with self.database.writing() as connection:
            for start in range(0, len(digests), MAX_ROWS_NAMED):
                part = digests[start : start + MAX_ROWS_NAMED]
                removed += connection.execute(delete(runs).where(runs.c.digest.in_(part))).rowcount
        return removed

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def _add(connection: Connection, entry: RunEntry, *, sqlite: bool) -> bool:
    """Insert the rows of a run, its trials and their metrics; False when a run with this digest is recorded."""
    values = {name: _stored(getattr(entry, name)) for name in RUN_FIELDS}
    # An interrupted and resumed soak is one run: its newer record replaces the older one.
    same = [runs.c[name] == values[name] for name in ("run_id", "started_at", "path")]
    connection.execute(delete(runs).where(*same, runs.c.digest != values["digest"]))
    statement = (_sqlite_insert if sqlite else _postgresql_insert)(values)
    # ON CONFLICT DO NOTHING returns no row if this run is recorded already.
    run = connection.execute(statement).scalar()
    if run is None:
        return False
    for trial in entry.trials:
        values = {name: _stored(getattr(trial, name)) for name in TRIAL_FIELDS}
        key = connection.execute(insert(trials).values(run=run, **values).returning(trials.c.id)).scalar()
        rows = [
            {"trial": key, **{name: _stored(getattr(one, name)) for name in METRIC_FIELDS}}
            for one in trial.metrics
        ]
        if rows:
            connection.execute(insert(metrics), rows)
    return True


def _sqlite_insert(values: Mapping[str, Any]) -> Any:
    return (
        sqlite.insert(runs)
        .values(values)
        .on_conflict_do_nothing(index_elements=["digest"])
        .returning(runs.c.id)
    )


def _postgresql_insert(values: Mapping[str, Any]) -> Any:
    return (
        postgresql.insert(runs)
        .values(values)
        .on_conflict_do_nothing(index_elements=["digest"])
        .returning(runs.c.id)
    )


def _stored(value: Any) -> Any:
    """The value without NUL, which PostgreSQL refuses in a text, and without lone surrogates, which UTF-8 cannot
    encode."""
    if isinstance(value, str):
        return value.replace("\0", "").encode(errors="replace").decode()
    return value


def _run_ids(connection: Connection, wanted: RunFilter) -> list[int]:
    """Keys of the runs that match, oldest first."""
    query: Select[Any] = select(runs.c.id).order_by(runs.c.started_at.desc(), runs.c.id.desc())
    for column, value in ((runs.c.branch, wanted.branch), (runs.c.outcome, wanted.outcome)):
        if value is not None:
            query = query.where(column == value)
    if wanted.commit is not None:
        query = query.where(runs.c.commit.startswith(wanted.commit, autoescape=True))
    if wanted.since is not None:
        query = query.where(runs.c.started_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(runs.c.started_at < wanted.until)
    inner = _trial_conditions(wanted)
    if inner:
        query = query.where(runs.c.id.in_(select(trials.c.run).where(and_(*inner))))
    if wanted.last is not None:
        query = query.limit(wanted.last)
    # Sorted newest first for the limit, which keeps the newest; reversed for the caller.
    return list(reversed(list(connection.scalars(query))))


def _trial_conditions(wanted: RunFilter) -> list[Any]:
    pairs = (
        (trials.c.target, wanted.target),
        (trials.c.profile, wanted.profile),
        (trials.c.mode, wanted.mode),
    )
    return [column == value for column, value in pairs if value is not None]


def _entries(connection: Connection, chosen: Sequence[int], wanted: RunFilter) -> Iterable[RunEntry]:
    """The runs with these keys, in this order."""
    for start in range(0, len(chosen), MAX_ROWS_NAMED):
        yield from _read_runs(connection, chosen[start : start + MAX_ROWS_NAMED], wanted)


def _read_runs(connection: Connection, chosen: Sequence[int], wanted: RunFilter) -> list[RunEntry]:
    """At most MAX_ROWS_NAMED runs, by one statement for each table rather than one for each run."""
    found = {row.id: row for row in connection.execute(select(runs).where(runs.c.id.in_(chosen)))}
    matching = select(trials).where(trials.c.run.in_(chosen), *_trial_conditions(wanted))
    trial_rows = list(connection.execute(matching.order_by(trials.c.id)))
    measured: dict[int, list[Measured]] = {}
    numbers = [row.id for row in trial_rows]
    for start in range(0, len(numbers), MAX_ROWS_NAMED):
        query = (
            select(metrics)
            .where(metrics.c.trial.in_(numbers[start : start + MAX_ROWS_NAMED]))
            .order_by(metrics.c.id)
        )
        for row in connection.execute(query):
            measured.setdefault(row.trial, []).append(
                Measured(**{name: getattr(row, name) for name in METRIC_FIELDS})
            )
    trials_of: dict[int, list[TrialEntry]] = {}
    for row in trial_rows:
        values = {name: getattr(row, name) for name in TRIAL_FIELDS}
        trials_of.setdefault(row.run, []).append(
            TrialEntry(**values, metrics=tuple(measured.get(row.id, ())))
        )
    return [
        RunEntry(
            **{name: getattr(found[key], name) for name in RUN_FIELDS}, trials=tuple(trials_of.get(key, ()))
        )
        for key in chosen
        if key in found  # in PostgreSQL, another program may have pruned one since its key was read
    ]
