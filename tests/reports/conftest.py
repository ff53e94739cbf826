"""For the tests of reports: one browser for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.reports.devtools import Browser, chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium without a network."""
    with chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running
