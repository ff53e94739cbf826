"""Runs over many nights, in SQLite or PostgreSQL: needs the extra ``sse-leak-harness[history]``."""
