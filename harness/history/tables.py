"""The tables of the history. Alembic's migrations create them; a test compares these definitions with the result."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("run_id", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("started_at", String(40), nullable=False),  # ISO 8601, UTC: sorts as text
    Column("outcome", String(20), nullable=False),
    Column("exit_code", Integer, nullable=False),
    Column("kernel", Text, nullable=False),
    Column("machine_class", Text, nullable=False),
    Column("commit", Text, nullable=False),
    Column("branch", Text, nullable=False),
    Column("dirty", Boolean),
    Column("ci_job", Text, nullable=False),
    Column("harness_version", Text, nullable=False),
    Column("path", Text, nullable=False),
    UniqueConstraint("digest"),
    Index("ix_runs_started_at", "started_at"),
    Index("ix_runs_run_id", "run_id"),
)

trials = Table(
    "trials",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run", Integer, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("load", Text, nullable=False),
    Column("sensitivity", Double, nullable=False),
    Column("runtime", Text, nullable=False),
    Column("runtime_version", Text, nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("explanation", Text, nullable=False),
    Column("connections", Integer, nullable=False),
    Column("seconds", Double, nullable=False),
    Index("ix_trials_run", "run"),
    Index("ix_trials_target", "target"),
)

metrics = Table(
    "metrics",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trial", Integer, ForeignKey("trials.id", ondelete="CASCADE"), nullable=False),
    Column("metric", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("rate", Double, nullable=False),
    Column("low", Double, nullable=False),
    Column("high", Double, nullable=False),
    Column("unit", Text, nullable=False),
    Column("at_most", Double),
    Column("driver", Text),
    Index("ix_metrics_trial", "trial"),
)
