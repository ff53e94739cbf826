"""A pytest plugin that keeps the report of a failed test short, so that a log names every test that failed.

One failure that compares two reports can take hundreds of kilobytes of a log that is cut at its size, and the names of
the other failures with it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Sequence

import pytest

# Where these are set, pytest prints every comparison whole, and once more in the summary. Without them it stops at the
# truncation limits of pyproject.toml. It computes no more than that either: the whole difference of two dicts of 5,000
# entries takes minutes, until the test's timeout.
for _name in ("CI", "BUILD_NUMBER"):
    os.environ.pop(_name, None)

SUMMARY = 200  # characters of a message in the summary
# Characters of a line of the summary, where no terminal limits it: the name of the test comes first.
WIDTH = 300
LINE = 1_000  # characters of one line
LINES = 80  # of one entry of a traceback: its start and its end
OUTPUT = 10_000  # characters that a test printed, or logged: as many from its start as from its end


def first_line(text: str) -> str:
    """The first line of a message, cut to what a summary has room for."""
    return cut(next(iter(text.splitlines()), ""), SUMMARY)


def cut(text: str, most: int) -> str:
    """The start of a text, and how many characters are left out."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} more characters)"


def without_middle(lines: Sequence[str], most: int = LINES) -> list[str]:
    """The first and the last lines, each cut, and how many are left out between them."""
    half = most // 2
    kept = [cut(line, LINE) for line in lines]
    if len(kept) > most:
        kept[half:-half] = [f"… ({len(kept) - 2 * half:,} more lines)"]
    return kept


def short_output(text: str) -> str:
    """The start and the end of what a test printed."""
    left_out = len(text) - 2 * OUTPUT
    return text if left_out <= 0 else f"{text[:OUTPUT]}\n… ({left_out:,} more characters)\n{text[-OUTPUT:]}"


def shorten(report: pytest.TestReport) -> None:
    """Shorten everything that pytest prints of a failure; nothing that it decides by."""
    report.sections[:] = [(name, short_output(text)) for name, text in report.sections]
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        crash.message = first_line(crash.message)
    for traceback, place, _ in getattr(report.longrepr, "chain", ()):
        if place is not None:
            place.message = first_line(place.message)
        for entry in traceback.reprentries:
            entry.lines[:] = without_middle(entry.lines)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On the worker, where there are some: what it sends to the controller is short already."""
    report = yield
    if report.failed:
        shorten(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(config: pytest.Config) -> Generator[None, None, None]:
    """In a log, pytest would cut the lines of the summary to the 80 characters of a terminal."""
    writer = config.get_terminal_writer()
    if not sys.stdout.isatty():
        writer.fullwidth = max(writer.fullwidth, WIDTH)
    yield
