"""pytest plugin: guard any service from a test.

    def test_stream_gives_everything_back(guard):
        verdict = guard(command=["python", "app.py", "--port", "{port}"], url="http://127.0.0.1:{port}/events")
        assert verdict.bounded, verdict.explain()

Nothing but the standard library and pytest is imported until a guard is used.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.core.verdict import Verdict

REPORTS = pytest.StashKey[list[tuple[str, str, Path]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--harness-out DIR``: where reports of guards go."""
    group = parser.getgroup("harness", "leak guards for services")
    group.addoption(
        "--harness-out",
        metavar="DIR",
        default=None,
        help="folder for the reports of guards (default: reports/)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Room for the list of reports that the summary shows."""
    config.stash[REPORTS] = []


@pytest.fixture
def guard(request: pytest.FixtureRequest) -> Callable[..., Verdict]:
    """A function that loads a service, judges it and returns the verdict.

    Arguments are those of ``harness.experiment.guard.Request``; ``url`` and one of ``command`` and
    ``pid`` are needed. The service is stopped before the function returns.
    """
    from harness.experiment.guard import Request, guard_once

    made = request.config.stash[REPORTS]

    def run(**arguments: Any) -> Verdict:
        out = request.config.getoption("--harness-out")
        arguments.setdefault("out", Path(out) / request.node.name if out else None)
        done = guard_once(Request(**arguments), command=f"pytest {request.node.nodeid}")
        made.append((request.node.nodeid, done.verdict.outcome.value, done.report))
        return done.verdict

    return run


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Where the reports of this session's guards are."""
    made = config.stash.get(REPORTS, [])
    if made:
        terminalreporter.section("harness reports")
        for node, outcome, path in made:
            terminalreporter.write_line(f"{outcome:14} {node}  {path}")
