"""Alembic migrations of the history, run when a database is opened whose schema is not the newest."""

NEWEST = "0001"
"""Their last revision. Known here, so that most openings need not import Alembic."""
