"""A history on SQLite, and the same on a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.history import postgres


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Server]:
    with postgres.server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new history may be made."""
    if request.param == "sqlite":
        return str(tmp_path / "history.db")
    server: postgres.Server = request.getfixturevalue("postgresql")
    return server.database()
