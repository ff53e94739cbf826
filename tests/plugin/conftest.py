"""For every test of the plugin."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def own_lock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Guards of other test files that run beside these have another turn: waiting for them would count here."""
    with tempfile.TemporaryDirectory(prefix="turn-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield
