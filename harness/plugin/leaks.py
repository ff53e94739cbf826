"""``--no-leaks`` and ``@pytest.mark.no_leaks``: each test in turn, from before its first fixture to after its last."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import pytest

from harness.core.errors import ConfigError
from harness.no_leaks import LeaksError, NoLeaks, snapshot
from harness.no_leaks.check import count

# Of the report of a test: COUNT KINDS. Under xdist harness.pytest_plugin reads it in another process.
PROPERTY = "harness-leaks"
ARGUMENTS = ("ignore", "objects", "memory", "timeout")
CHECK = pytest.StashKey[NoLeaks]()


class LeakCheck:
    """The plugin of the leak check, registered only when it is used, so that it costs nothing otherwise."""

    def __init__(self, *, everywhere: bool, failed: pytest.StashKey[bool]) -> None:
        self._everywhere, self._failed = everywhere, failed
        self._running: NoLeaks | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Before any fixture of the test."""
        item.stash[self._failed] = False  # a plugin may run a test again
        marker = item.get_closest_marker("no_leaks")
        if marker or self._everywhere:
            try:
                check = NoLeaks(**_arguments(marker))
            except ConfigError as error:
                yield  # the set-up of other plugins, on which their teardown relies
                text = f"{item.nodeid}: @pytest.mark.no_leaks: {error}"
                raise pytest.fail.Exception(text, pytrace=False) from None
            check.begin()
            item.stash[CHECK] = self._running = check
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        """Exclude what a fixture of a wider scope opens, because other tests use it too."""
        check = self._running
        if check is None or fixturedef.scope == "function":
            return (yield)
        before = snapshot()
        try:
            return (yield)
        finally:
            check.adopt(before, snapshot())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """After every fixture of the test was torn down."""
        check = item.stash.get(CHECK, None)
        self._running = None
        result = yield
        if check is not None and not item.stash.get(self._failed, False):
            finish(check, item)
        return result


def finish(check: NoLeaks, item: pytest.Item) -> None:
    """End the check of a test: it fails if resources are left, which are also noted for the ranking."""
    leaks = _left(check)
    if leaks is not None:
        total, kinds = sum(map(len, leaks.leaks.values())), count(leaks.leaks)
        item.user_properties.append((PROPERTY, f"{total} {kinds}"))
        # The text names the places; a traceback would show the plugin's own code.
        pytest.fail(str(leaks), pytrace=False)


def _left(check: NoLeaks) -> LeaksError | None:
    """The error, returned so that it is reported outside of an except block: otherwise the failure would show it
    twice."""
    try:
        check.end()
    except LeaksError as error:
        return error
    return None


def _arguments(marker: pytest.Mark | None) -> Mapping[str, Any]:
    if marker is None:
        return {}
    unknown = [name for name in marker.kwargs if name not in ARGUMENTS]
    if marker.args or unknown:
        met = unknown or list(marker.args)
        raise ConfigError(f"{met[0]!r}; expected keywords out of {', '.join(ARGUMENTS)}")
    return marker.kwargs


def ranking(found: Mapping[str, str], limit: int = 20) -> list[str]:
    """Lines for the summary, the worst test first. found: node id → ``COUNT KINDS``."""
    order = sorted(found.items(), key=lambda entry: (-int(entry[1].split(" ", 1)[0]), entry[0]))
    lines = [f"{text.split(' ', 1)[0]:>5}  {node}  ({text.split(' ', 1)[1]})" for node, text in order[:limit]]
    return [*lines, f"       and {len(order) - limit} more"] if len(order) > limit else lines
