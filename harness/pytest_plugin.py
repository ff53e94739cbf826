"""pytest plugin: guard any service from a test (docs/pytest.md).

    def test_stream_releases_everything(guard):
        verdict = guard(command=["python", "app.py", "--port", "{port}"], url="http://127.0.0.1:{port}/events")
        assert verdict.bounded, verdict.explain()

Only the standard library and pytest are imported until a fixture, a marker or an option is used. pytest loads
this file through ``sse_leak_harness_plugin``, without its package: a project may have a module named ``harness``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.experiment.broker import Broker
    from harness.no_leaks import NoLeaks
    from harness.plugin.guarding import Guard
    from harness.plugin.services import ReferenceServices

PACKAGE = Path(__file__).resolve().parent
LEAK_CHECK = "harness-leak-check"
REPORTS = pytest.StashKey[list[tuple[str, str]]]()
FAILED = pytest.StashKey[bool]()
EVIDENCE = "Captured harness guard"  # the title that pytest gives the section of harness.plugin.guarding, before "call"
LEAKS = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options that begin with ``--harness``, and ``--no-leaks``."""
    group = parser.getgroup("harness", "leak guards for services")
    group.addoption(
        "--harness-out", metavar="DIR", help="folder for the reports of guards (default: reports/)"
    )
    group.addoption(
        "--harness-budget",
        metavar="FILE",
        help="allowed growth (default: budgets.toml or [tool.harness], in pytest's root folder or above)",
    )
    group.addoption(
        "--harness-repeat",
        metavar="N",
        type=_positive,
        default=1,
        help="run each guard N times; the worst verdict counts",
    )
    group.addoption(
        "--no-leaks",
        action="store_true",
        help="every test must release descriptors, threads, children, tasks and ZeroMQ sockets; list those that do not",
    )


def _positive(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise ValueError(f"{text!r}: expected a number from 1 on")
    return value


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and prepare what the summary shows."""
    config.stash[REPORTS], config.stash[LEAKS] = [], {}
    config.pluginmanager.register(_Gather(config), "harness-gather")
    config.addinivalue_line(
        "markers",
        "budget(fds='0/connection', memory='1 KiB/connection', ceilings={…}, pools={…}, require={…}, profile=None): "
        "allowed growth per connection, event or hour; guards of the test then fail by themselves",
    )
    config.addinivalue_line(
        "markers",
        "no_leaks(ignore=(), objects=(), memory=None, timeout=2.0): the test must release everything",
    )
    if config.getoption("--no-leaks"):
        if hidden := _hidden():
            raise pytest.UsageError(f"--no-leaks: {hidden}")
        _check_leaks(config, everywhere=True)


def _hidden() -> str:
    """Why the package cannot be imported, in one line; empty when it can."""
    try:
        import harness
    except Exception as error:
        return f"sse-leak-harness cannot import its package harness: {type(error).__name__}: {error}"
    found = Path(getattr(harness, "__file__", None) or "a folder without __init__.py")
    if found.resolve().parent == PACKAGE:
        return ""
    return (
        f"sse-leak-harness cannot import its package harness: {found} has the same name and comes first; "
        "rename that module to use this plugin's fixtures, markers and --no-leaks"
    )


def _need_package() -> None:
    """Fail the test, in one line, when another module hides the package."""
    if hidden := _hidden():
        pytest.fail(hidden, pytrace=False)


def _check_leaks(config: pytest.Config, *, everywhere: bool) -> None:
    from harness.plugin.leaks import LeakCheck

    config.pluginmanager.register(LeakCheck(everywhere=everywhere, failed=FAILED), LEAK_CHECK)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Load the leak check if a test uses it."""
    if config.pluginmanager.has_plugin(LEAK_CHECK):
        return
    if any(item.get_closest_marker("no_leaks") for item in items) and not _hidden():
        _check_leaks(config, everywhere=False)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that asks for the check of leaks fails when the check cannot be loaded."""
    if item.get_closest_marker("no_leaks"):
        _need_package()


@pytest.fixture
def guard(request: pytest.FixtureRequest) -> Guard:
    """A function that loads a service, judges it and returns the verdict: ``guard(command=…, url=…)``.

    Guards take turns, also among xdist's workers. The service is stopped before the function returns.
    """
    _need_package()
    from harness.plugin.guarding import guard_for

    return guard_for(request)


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest) -> Iterator[NoLeaks]:
    """Fails the test when it leaves something behind in this process; ``no_leaks.ignore(kind, match, reason)``."""
    _need_package()
    from harness.no_leaks import no_leaks as check
    from harness.plugin.leaks import finish

    running = check()
    running.begin()
    yield running
    if not request.node.stash.get(FAILED, False):
        finish(running, request.node)


@pytest.fixture
def fake_broker(tmp_path: Path) -> Iterator[Broker]:
    """A running fake Majordomo broker: ``fake_broker.endpoint``, ``fake_broker.silence()``."""
    _need_package()
    from harness.plugin.services import broker

    with broker(tmp_path) as running:
        yield running


@pytest.fixture
def reference_service(tmp_path: Path) -> Iterator[ReferenceServices]:
    """Starts the reference service with a profile: ``reference_service("fixed").url``."""
    _need_package()
    from contextlib import ExitStack

    from harness.plugin.services import ReferenceServices

    with ExitStack() as stack:
        yield ReferenceServices(stack, tmp_path)


class _Gather:
    """What the summary shows, from the reports: under xdist they come from the workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Skip the leak check of a test that failed: what it left behind would hide the reason."""
        if call.excinfo is not None and call.when != "teardown":
            item.stash[FAILED] = True
        report = yield
        # `assert verdict.bounded, verdict.explain()` shows the evidence already.
        shown = report.longreprtext if report.failed else ""
        report.sections = [
            (title, text)
            for title, text in report.sections
            if not (title.startswith(EVIDENCE) and text and text.splitlines()[0] in shown)
        ]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The last report of a test has all its properties."""
        if report.when != "teardown":
            return
        # The names are those of harness.plugin.guarding and harness.plugin.leaks, which are not imported here.
        for name, value in report.user_properties:
            if name == "harness-report":
                self._config.stash[REPORTS].append((report.nodeid, str(value)))
            elif name == "harness-leaks":
                self._config.stash[LEAKS][report.nodeid] = str(value)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the reports of this session's guards, and the tests that leaked most."""
    if reports := config.stash.get(REPORTS, []):
        terminalreporter.section("harness reports")
        passed = {
            report.nodeid for report in terminalreporter.stats.get("passed", ()) if report.when == "call"
        }
        for node, text in reports:
            outcome, _, path = text.partition(" ")
            # A test that never asks its verdict passes whatever the guard found.
            unasked = "  (its test passed)" if outcome != "bounded" and node in passed else ""
            terminalreporter.write_line(f"{outcome:14} {node}  {path}{unasked}")
    if leaks := config.stash.get(LEAKS, {}):
        from harness.plugin.leaks import ranking

        terminalreporter.section("harness: tests that leak most")
        for line in ranking(leaks):
            terminalreporter.write_line(line)
