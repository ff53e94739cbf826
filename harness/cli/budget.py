"""``harness budget check``: checks a budget file without a run."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from harness.cli.streams import safe_line
from harness.config import BUDGETS, find, load
from harness.core.applied_budget import applicable_budget
from harness.core.errors import ConfigError
from harness.core.units import counted

SOON = datetime.timedelta(days=14)


@click.group("budget", short_help="check a budget file without a run")
def command() -> None:
    """Work with budget files, which state the allowed growth per connection, event or hour (docs/budgets.md)."""


def _print(text: str) -> None:
    click.echo(safe_line(text))


@command.command("check", short_help="check FILE; exit with 2 for a mistake or an expired exception")
@click.argument("file", type=click.Path(path_type=Path), required=False)
def check(file: Path | None) -> None:
    """Check FILE [default: budgets.toml or [tool.harness], here or above]. Exit code 2
    for a mistake or an expired exception."""
    path = file or find(Path.cwd())
    if path is None:
        raise ConfigError(f"no {BUDGETS} here or above; expected one: write it with `harness init`")
    found = load(path)
    today = datetime.datetime.now().astimezone().date()
    for profile in (None, *found.profiles):
        applicable_budget(found, endpoints=("/", *found.endpoints), profile=profile, today=today)
    _print(
        f"{path}: valid; {counted(len(found.endpoints), 'endpoint')}, {counted(len(found.profiles), 'profile')}, "
        f"{counted(len(found.exemptions), 'exception')}"
    )
    for one in found.exemptions:
        soon = " (soon)" if one.expires - today <= SOON else ""
        _print(f"  exception until {one.expires}{soon}: {one.metric} {one.allow} ({one.reason})")
