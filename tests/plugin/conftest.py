"""For every test of the plugin."""

from __future__ import annotations

import pytest

from tests.short_start import WITHOUT


@pytest.fixture(autouse=True)
def lock(own_lock: None) -> None:
    """Every test of the plugin has a lock of its own."""


@pytest.fixture(autouse=True)
def short_start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pytest that a test runs starts in half the time."""
    if "pytester" in request.fixturenames:
        request.getfixturevalue("pytester")  # it removes the variable
        monkeypatch.setenv("PYTEST_ADDOPTS", WITHOUT)
