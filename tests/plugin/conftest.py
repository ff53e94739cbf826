"""For every test of the plugin."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest

from tests.short_start import WITHOUT


@pytest.fixture(autouse=True)
def own_lock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Guards of other test files that run beside these have another turn: waiting for them would count here."""
    with tempfile.TemporaryDirectory(prefix="turn-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield


@pytest.fixture(autouse=True)
def short_start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pytest that a test runs starts in half the time."""
    if "pytester" in request.fixturenames:
        request.getfixturevalue("pytester")  # it removes the variable
        monkeypatch.setenv("PYTEST_ADDOPTS", WITHOUT)
