"""A pytest plugin that counts skipped tests and fails for a reason that the job does not list.

A test that is skipped cannot fail. ``--skips JOB`` therefore names the job whose reasons (``skips.toml``) are allowed;
any other reason makes the run fail, whatever its tests say.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

TABLE = Path(__file__).with_name("skips.toml")


def allowed(job: str, text: str) -> list[re.Pattern[str]]:
    """The reasons that a job allows. Raises ValueError for a job or a group that the table does not have."""
    table = tomllib.loads(text)
    jobs, groups = table["jobs"], table["reasons"]
    if job not in jobs:
        raise ValueError(f"--skips {job}: expected one of {', '.join(jobs)}")
    unknown = [name for name in jobs[job] if name not in groups]
    if unknown:
        raise ValueError(f"job {job}: no group {', '.join(unknown)}; expected some of {', '.join(groups)}")
    return [re.compile(reason) for name in jobs[job] for reason in groups[name]]


def unlisted(reasons: Iterable[str], patterns: Iterable[re.Pattern[str]]) -> list[str]:
    """The reasons that no pattern matches in whole."""
    known = list(patterns)
    return [reason for reason in reasons if not any(each.fullmatch(reason) for each in known)]


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """Why a test or a module was skipped; None for everything else, an expected failure among it."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return None
    told = report.longrepr
    text = str(told[2]) if isinstance(told, tuple) else str(told)
    return text.removeprefix("Skipped: ").strip()


class Skips:
    """Counts the reasons of one session. With xdist the controller sees the reports of every worker."""

    def __init__(self, patterns: list[re.Pattern[str]]) -> None:
        self.patterns = patterns
        self.counts: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one test."""
        self._count(reason_of(report))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """One module."""
        self._count(reason_of(report))

    def _count(self, reason: str | None) -> None:
        if reason is not None:
            self.counts[reason] += 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the session for a reason that is not listed."""
        if unlisted(self.counts, self.patterns) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how many tests each reason cost."""
        for line in lines(self.counts, unlisted(self.counts, self.patterns)):
            terminalreporter.write_line(line)


def lines(counts: Mapping[str, int], wrong: Iterable[str]) -> list[str]:
    """The summary: each reason with its number, the ones that are not listed last."""
    told = [f"{sum(counts.values())} skipped, for {len(counts)} reasons"]
    told += [f"  {count:4} {reason}" for reason, count in sorted(counts.items())]
    told += [f"not listed for this job in tests/skips.toml: {reason}" for reason in wrong]
    return told


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--skips JOB``."""
    parser.addoption(
        "--skips", metavar="JOB", help="fail for a skip whose reason tests/skips.toml does not list"
    )


def pytest_configure(config: pytest.Config) -> None:
    """On the controller, or where there are no workers."""
    job = config.getoption("--skips")
    if job and not hasattr(config, "workerinput"):
        try:
            patterns = allowed(job, TABLE.read_text())
        except ValueError as error:
            raise pytest.UsageError(str(error)) from None
        config.pluginmanager.register(Skips(patterns), "skips-of-the-session")
