"""``harness init``: a commented budget file, a test and a GitHub workflow for the user's project."""

from __future__ import annotations

import tomllib
from pathlib import Path

import click

from harness.core.errors import ConfigError, StoreError

BUDGETS = """\
# What a client may leave behind once it is gone. `harness budget check` checks this file.

[budget]
# "AMOUNT/connection", "AMOUNT/event" or "AMOUNT/hour"; "1/1000 connections" is one in a thousand.
fds = "0/connection"
threads = "0/connection"
memory = "1 KiB/connection"

[budget.ceilings]
# Greatest level at rest, whatever the growth.
# fds = 500
# memory = "512 MiB"

[budget.pools]
# A pool that fills slowly looks like a leak: say how large it may get.
# threads = 32

# [endpoint."/events"]               # goes before [budget] for this path
# memory = "2 KiB/connection"

# [profile.nightly]                  # with --profile nightly; goes before both
# memory = "256/connection"

# [[exception]]                      # a known leak: why, and until when; then it fails
# metric = "fds/eventfd"
# allow = "1/connection"
# reason = "fixed in the next release of the client library"
# expires = 2030-01-31
"""
TEST = '''\
"""After clients come and go, does the service give everything back?"""

import sys

import pytest

URL = "http://127.0.0.1:{port}/events"  # where a stream is; {port} is replaced
COMMAND = [sys.executable, "app.py", "--port", "{port}"]  # how the service is started


@pytest.mark.timeout(300)
def test_stream_gives_everything_back(guard):
    verdict = guard(command=COMMAND, url=URL)
    assert verdict.bounded, verdict.explain()
'''
WORKFLOW = """\
name: leaks
on: [push, pull_request]
permissions:
  contents: read
jobs:
  leaks:
    runs-on: ubuntu-latest
    timeout-minutes: 20
    steps:
      - uses: actions/checkout@11d5960a326750d5838078e36cf38b85af677262  # v4.4.0
      - uses: actions/setup-python@a26af69be951a213d495a4c3e4e4022e16d87065  # v5.6.0
        with:
          python-version: "3.12"
      - run: pip install 'sse-leak-harness[pytest]' pytest-timeout
      # - run: pip install -r requirements.txt    # what your service needs
      - run: harness budget check
      - run: pytest tests/test_leaks.py --harness-out leak-reports
      - uses: actions/upload-artifact@ea165f8d65b6e75b540449e92b4886f43607fa02  # v4.6.2
        if: always()
        with:
          name: leak-reports
          path: leak-reports
"""
FILES = {"budgets.toml": BUDGETS, "tests/test_leaks.py": TEST, ".github/workflows/leaks.yml": WORKFLOW}


def holds_budgets(project: Path) -> bool:
    """Is there a [tool.harness] in this pyproject.toml? One that cannot be read is for others to complain about."""
    try:
        data = tomllib.loads(project.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    tool = data.get("tool")
    return isinstance(tool, dict) and "harness" in tool


@click.command("init", short_help="a commented budgets.toml, a test and a workflow for your project")
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
def command(folder: Path) -> None:
    """Write budgets.toml, tests/test_leaks.py and .github/workflows/leaks.yml into FOLDER [default: here].

    Nothing is overwritten: when one of them exists, none is written. No budgets.toml beside a pyproject.toml that
    holds budgets in [tool.harness].
    """
    files = dict(FILES)
    if holds_budgets(folder / "pyproject.toml"):
        del files["budgets.toml"]
        click.echo("no budgets.toml: pyproject.toml holds the budgets, in [tool.harness]")
    for name in files:
        path = folder / name
        if path.exists() or path.is_symlink():
            raise ConfigError(f"{path} exists already; expected to write it: move it away first")
        for parent in path.parents:
            if parent.exists() and not parent.is_dir():
                raise ConfigError(f"{parent} is a file; expected a folder, for {path}: move it away first")
    for name, text in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from None
        click.echo(f"wrote {path}")
    click.echo("next: set URL and COMMAND in tests/test_leaks.py, then run pytest tests/test_leaks.py")
