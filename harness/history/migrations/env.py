"""Alembic's environment: it migrates through the connection that the history has opened and locked."""

from __future__ import annotations

from alembic import context

from harness.history.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
