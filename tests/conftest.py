"""For every test: an example may take as long as a busy machine makes it take."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator

import pytest

# Before anything of them is imported: a failed assertion in a helper shows its values, as one in a test does.
pytest.register_assert_rewrite(
    *(
        f"tests.{package}"
        for package in ("core", "deploy", "edges", "export", "fake_broker", "history", "plugin")
    ),
    *("tests.reports", "tests.sabotage"),
)

from tests.longest_first import pytest_collection_modifyitems  # noqa: E402
from tests.short_failures import pytest_runtest_makereport, pytest_terminal_summary  # noqa: E402
from tests.skips import pytest_addoption, pytest_configure  # noqa: E402

__all__ = [
    "pytest_addoption",
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_runtest_makereport",
    "pytest_terminal_summary",
]

try:
    from hypothesis import HealthCheck, settings
except ModuleNotFoundError:  # the plugin's tests run where there is pytest alone
    pass
else:
    settings.register_profile("no deadline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("no deadline")

# Containers often set this. Without bytecode, each of the thousand processes that the tests start would compile the
# harness anew: a third of a second for every guard.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Modules and tests that pytest collects live until pytest exits, so the garbage collector does not visit them. The rest
# is mostly short-lived: a collection after each 20,000 objects rather than each 700 takes a second less for tests/core.
gc.disable()
gc.set_threshold(20_000, 20, 20)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture
def own_lock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Guards under pytest run one at a time on a machine. With a lock of its own a test does not wait for those of the
    other workers."""
    with tempfile.TemporaryDirectory(prefix="turn-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield


# Runs that tests start are recorded nowhere; a test of the history names its own database.
os.environ["HARNESS_HISTORY"] = "none"
