"""The history of runs, in SQLite or PostgreSQL: needs the extra ``sse-leak-harness[history]``."""
