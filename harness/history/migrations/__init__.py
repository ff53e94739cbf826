"""Alembic migrations of the history, run when a database is opened."""
