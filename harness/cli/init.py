"""``harness init``: a commented budget file, a test and a GitHub workflow for the user's project."""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from harness.cli.find_service import find_service
from harness.cli.install_source import PACKAGE, Source, detect, given
from harness.cli.streams import safe_line
from harness.config import PROJECT, read
from harness.core.errors import ConfigError, StoreError
from harness.target.ready import check_url
from harness.target.spawn import fill_port

# The files that are written. Names between @ are filled in: their texts have braces of their own.
BUDGETS = """\
# What a client may leave behind after it disconnects. `harness budget check` checks this file.

[budget]
# retain = "60s"                     # growth that stays longer is a leak
# "AMOUNT/connection", "AMOUNT/event" or "AMOUNT/hour"; "1/1000 connections" is one in a thousand.
fds = "0/connection"
threads = "0/connection"
memory = "1 KiB/connection"

[budget.ceilings]
# Highest level while idle, whatever the growth.
# fds = 500
# memory = "512 MiB"

[budget.pools]
# A pool that fills slowly looks like a leak, so declare its size.
# threads = 32

# [budget.require]                   # a pass must exclude larger growth, else it is inconclusive
# memory = "1 KiB/stream"

# [endpoint."/events"]               # overrides [budget] for this path
# memory = "2 KiB/connection"

# [profile.nightly]                  # with --profile nightly; overrides both
# memory = "256/connection"

# [[exception]]                      # a known leak: why, and until when; then it fails
# metric = "fds/eventfd"
# allow = "1/connection"
# reason = "fixed in the next release of the client library"
# expires = 2030-01-31
"""
TEST = '''\
"""The service must release everything after its clients have disconnected."""

@IMPORTS@
URL = @URL@  # where a stream is; {port} is replaced
COMMAND = @COMMAND@  # how the service is started


@MARKER@def test_stream_releases_everything(guard):
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
@SOURCE@      - run: @INSTALL@
@NEEDS@      - run: harness budget check
      - run: pytest tests/test_leaks.py --harness-out leak-reports
      - uses: actions/upload-artifact@ea165f8d65b6e75b540449e92b4886f43607fa02  # v4.6.2
        if: always()
        with:
          name: leak-reports
          path: leak-reports
"""
FILES = ("budgets.toml", "tests/test_leaks.py", ".github/workflows/leaks.yml")
URL = "http://127.0.0.1:{port}/events"
COMMAND = ("python", "app.py", "--port", "{port}")
LOCAL_SOURCE = """\
      # Only the machine that wrote this file has this source. For other machines name one that all have:
      # harness init --source git+https://HOST/OWNER/NAME@COMMIT
"""


def leak_test(url: str, command: Sequence[str], *, timeout: bool) -> str:
    """The test. timeout: whether pytest-timeout is installed, which the marker needs."""
    # The interpreter of the tests: the first ``python`` on PATH may be one without the packages of the service.
    python = command[0] in ("python", "python3")
    words = ", ".join(json.dumps(word, ensure_ascii=False) for word in command[1 if python else 0 :])
    shown = f"[{', '.join(filter(None, ('sys.executable' if python else '', words)))}]"
    imports = [*(["import sys\n\n"] if python else []), *(["import pytest\n\n"] if timeout else [])]
    return (
        TEST.replace("@IMPORTS@\n", "".join(imports))
        .replace("@URL@", json.dumps(url, ensure_ascii=False))
        .replace("@COMMAND@", shown)
        .replace("@MARKER@", "@pytest.mark.timeout(300)\n" if timeout else "")
    )


def workflow_text(source: Source | None, folder: Path, *, timeout: bool) -> str:
    """The workflow. source: where pip gets the harness, None for an index."""
    requirements = [
        source.requirement if source else f"{PACKAGE}[pytest]",
        *(["pytest-timeout"] if timeout else []),
    ]
    install = f"pip install {shlex.join(requirements)}"
    # Within plain text of YAML " #" begins a comment and ": " a mapping. A text in JSON is a quoted one in YAML.
    if " #" in install or ": " in install:
        install = json.dumps(install)
    if (folder / "requirements.txt").is_file():
        needs = "      - run: pip install -r requirements.txt\n"
    elif any((folder / name).is_file() for name in ("setup.py", "setup.cfg")) or is_package(folder / PROJECT):
        needs = "      - run: pip install .\n"
    elif (folder / "package-lock.json").is_file():
        needs = "      - run: npm ci\n"
    else:
        needs = "      # - run: pip install -r requirements.txt    # what your service needs\n"
    return (
        WORKFLOW.replace("@SOURCE@", LOCAL_SOURCE if source and source.local else "")
        .replace("@INSTALL@", install)
        .replace("@NEEDS@", needs)
    )


def project_table(project: Path) -> dict[str, Any]:
    """A pyproject.toml; empty for one that cannot be read, which other tools report."""
    try:
        return tomllib.loads(read(project))
    except (ConfigError, RecursionError, ValueError):
        return {}


def is_package(project: Path) -> bool:
    """Whether pip can install the project."""
    return "project" in project_table(project)


def holds_budgets(project: Path) -> bool:
    """Whether this pyproject.toml has a [tool.harness]."""
    tool = project_table(project).get("tool")
    return isinstance(tool, dict) and "harness" in tool


def _check_text(option: str, value: str | None) -> None:
    """Raise ConfigError for an argument that is not UTF-8 and so cannot be written into the files."""
    try:
        (value or "").encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"{option} {value!r}: not UTF-8; expected text, which the files will hold"
        ) from None


@click.command("init", short_help="write a budgets.toml, a test and a workflow for your project")
@click.option(
    "--url", metavar="URL", help="URL of a stream, with {port} [default: found in FOLDER, or asked for]."
)
@click.option(
    "--command",
    "start",
    metavar="COMMAND",
    help="Command that starts the service, with {port} [default: found in FOLDER, or asked for].",
)
@click.option(
    "--source",
    metavar="URL|PATH",
    help="Where the workflow installs the harness from [default: the source of this installation].",
)
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
def command(folder: Path, url: str | None, start: str | None, source: str | None) -> None:
    """Write budgets.toml, tests/test_leaks.py and .github/workflows/leaks.yml into FOLDER [default: here].

    The command and the URL are found in a Procfile, the framework's application or its routes; on a terminal they are
    asked for. Nothing is overwritten: when one of the files exists, none is written. No budgets.toml is written if
    pyproject.toml has budgets in [tool.harness].
    """
    for option, value in (("--url", url), ("--command", start), ("--source", source)):
        _check_text(option, value)
    names = list(FILES)
    if holds_budgets(folder / PROJECT):
        names.remove("budgets.toml")
        print_message("no budgets.toml: pyproject.toml holds the budgets, in [tool.harness]")
    for name in names:
        path = folder / name
        if path.exists() or path.is_symlink():
            raise ConfigError(f"{path} exists already; expected no such file: move it away first")
        for parent in path.parents:
            if parent.exists() and not parent.is_dir():
                raise ConfigError(f"{parent} is a file; expected a folder, for {path}: move it away first")
    words, address, guessed = service_of(folder, url, start)
    timeout = importlib.util.find_spec("pytest_timeout") is not None
    origin = given(source, folder) if source else detect()
    texts = {
        "budgets.toml": BUDGETS,
        "tests/test_leaks.py": leak_test(address, words, timeout=timeout),
        ".github/workflows/leaks.yml": workflow_text(origin, folder, timeout=timeout),
    }
    for name in names:
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[name], encoding="utf-8")
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from None
        print_message(f"wrote {path}")
    print_message(f"service: {shlex.join(words)}")
    print_message(f"stream: {address}")
    if origin and origin.local:
        print_message(
            f"the workflow installs from {origin.spec}, which other machines do not have; name a source that they "
            "have: harness init --source git+https://HOST/OWNER/NAME@COMMIT"
        )
    then = "set URL and COMMAND in tests/test_leaks.py, then run" if guessed else "run"
    print_message(f"next: {then} pytest tests/test_leaks.py")


def service_of(folder: Path, url: str | None, start: str | None) -> tuple[tuple[str, ...], str, bool]:
    """Command, URL, and whether one is only an example: given, found, or asked on a terminal. Raises ConfigError."""
    found = find_service(folder)
    default = shlex.join(found.command or COMMAND)
    where = f"http://127.0.0.1:{{port}}{found.path}" if found.path else URL
    if sys.stdin.isatty() and sys.stdout.isatty():
        start = start or click.prompt("How is the service started? {port} is replaced", default=default)
        url = url or click.prompt("Where is a stream?", default=where)
    guessed = (start is None and found.command is None) or (url is None and found.path is None)
    try:
        words = tuple(shlex.split(start)) if start is not None else found.command or COMMAND
    except ValueError as error:
        raise ConfigError(
            f"--command {start!r}: {error}; expected a command with its quotes closed"
        ) from None
    if not words:
        raise ConfigError("--command '': expected the program that starts the service, and its arguments")
    address = url or where
    check_url(fill_port(address, 1), written=address)
    return words, address, guessed


def print_message(text: str) -> None:
    """One line on standard output."""
    click.echo(safe_line(text))
