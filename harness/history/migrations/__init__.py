"""Alembic migrations of the history, run when a database is opened whose schema is not the newest."""

NEWEST = "0001"
"""The last revision. Stated here, so that opening an up-to-date history does not import Alembic."""
