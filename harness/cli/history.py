"""``harness history``: lists, exports, adds and prunes recorded runs, and makes a site of them."""

from __future__ import annotations

import datetime
import importlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from harness.cli.console import console as terminal
from harness.cli.history_options import history_of, history_options, run_filter
from harness.cli.quantities import Number
from harness.cli.saved import judged_again, saved_record
from harness.cli.streams import print_error, safe_line
from harness.core import quote
from harness.core.errors import ConfigError, HarnessError, StoreError
from harness.core.history import RunEntry, entry_of, prunable
from harness.core.record import as_ended
from harness.core.units import counted
from harness.report.entries import as_csv, as_json_lines, table
from harness.store.run_dir import RECORD, REPORTS, RunDirectory
from harness.store.write import check_output, replace_file

PATH = click.Path(path_type=Path)
HEADINGS = ("run", "target", "outcome", "commit", "branch", "growth")
WIDE = 240  # columns without a terminal, so that each run fits on one line
FORMS = ("table", "csv", "jsonl")


class HistoryGroup(click.Group):
    """``harness history`` alone lists; ``site`` is imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every sub-command, the site included."""
        return [*super().list_commands(ctx), "site"]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The site's own module, or what this module defines."""
        if name == "site":
            command = importlib.import_module("harness.cli.history_site").command
            assert isinstance(command, click.Command)
            return command
        return super().get_command(ctx, name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Without a sub-command: ``list``."""
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.command("history", cls=HistoryGroup, short_help="list, export and prune recorded runs; make a site")
def command() -> None:
    """List, export and prune the recorded runs of guard, soak and reproduce.

    \b
    harness history --target app.py --since 30d
    harness history export --format csv --out runs.csv
    harness history prune --keep-days 90 --keep-last 20 --keep-failures
    harness history site public/
    """


@command.command("list", short_help="list runs, oldest first")
@history_options
@click.option("--format", "form", type=click.Choice(FORMS), default="table", show_default=True)
def list_runs(form: str, history: str | None, **options: Any) -> None:
    """List runs, oldest first."""
    with history_of(history) as database:
        entries = database.find(run_filter(options))
        where = database.where
    if form != "table":
        click.echo(_text(entries, form), nl=False)
        return
    console = terminal()
    if not entries:
        console.print(safe_line(f"no run in {where} matches"), markup=False, soft_wrap=True)
        return
    if not console.is_terminal:
        console.width = WIDE
    shown = Table(box=None, pad_edge=False)
    for name in HEADINGS:
        shown.add_column(name, no_wrap=name in ("run", "outcome", "commit"), overflow="fold")
    for _, cells in table(entries):
        shown.add_row(*(Text(quote.terminal(cells[name], 80)) for name in HEADINGS))
    console.print(shown)


@command.command("export", short_help="write the metrics of each run as CSV or JSON Lines")
@history_options
@click.option("--format", "form", type=click.Choice(FORMS[1:]), default="csv", show_default=True)
@click.option("--metric", metavar="NAME", help="Only this metric, such as fds or fds/eventfd.")
@click.option("--out", type=PATH, metavar="FILE", help="Write here [default: standard output].")
def export(form: str, metric: str | None, out: Path | None, history: str | None, **options: Any) -> None:
    """Write one row for each metric of each run, as CSV or JSON Lines."""
    check_output("--out", out)
    with history_of(history) as database:
        text = _text(database.find(run_filter(options)), form, metric)
    if out is None:
        click.echo(text, nl=False)
    else:
        replace_file(out, text.encode(errors="replace"))


@command.command("add", short_help="record saved runs")
@click.option("--history", metavar="PLACE", help="A file or a PostgreSQL URL.")
@click.option("--target", metavar="NAME", help="The service's name in the history.")
@click.argument("runs", nargs=-1, required=True, type=PATH, metavar="RUN…")
def add(history: str | None, target: str | None, runs: tuple[Path, ...]) -> None:
    """Record saved runs, such as those made while the database could not be reached. RUN is a run's folder, or
    a folder that holds runs. A run that is recorded already is skipped."""
    last_error: HarnessError | None = None
    added = known = 0
    with history_of(history, create=True) as database:
        for folder in found_runs(runs):
            try:
                entry = saved_entry(folder, target)
            except HarnessError as error:
                print_error(f"harness: {error}")
                last_error = error
                continue
            if database.add(entry):
                added += 1
            else:
                known += 1
        where = database.where
    click.echo(safe_line(f"{counted(added, 'run')} added to {where}, {known} recorded already"))
    if last_error:
        raise click.exceptions.Exit(last_error.exit_code)


@command.command("prune", short_help="remove old runs from the history")
@click.option("--history", metavar="PLACE", help="A file or a PostgreSQL URL.")
@click.option("--keep-days", type=Number(0, 1_000_000), metavar="DAYS", help="Keep runs younger than this.")
@click.option(
    "--keep-last",
    type=click.IntRange(0, 1_000_000),
    metavar="N",
    help="Keep the newest N runs of each target.",
)
@click.option("--keep-failures", is_flag=True, help="Keep every run that is not bounded.")
@click.option("--folders", is_flag=True, help="Also remove the runs' folders.")
@click.option("--yes", is_flag=True, help="Remove the runs. Without this option they are only listed.")
def prune(
    history: str | None,
    keep_days: float | None,
    keep_last: int | None,
    keep_failures: bool,
    folders: bool,
    yes: bool,
) -> None:
    """Remove old runs from the history. Without --yes this only shows which. A run stays if any rule keeps it.

    \b
    harness history prune --keep-days 90 --keep-last 20 --keep-failures          shows what would be removed
    harness history prune --keep-days 90 --keep-last 20 --keep-failures --yes    removes it
    """
    if keep_days is None and keep_last is None:
        raise ConfigError("no rule given; expected --keep-days DAYS, --keep-last N or both")
    now = datetime.datetime.now(datetime.UTC)
    with history_of(history) as database:
        entries = database.find()
        to_remove = prunable(
            entries, now, keep_days=keep_days, keep_last=keep_last, keep_failures=keep_failures
        )
        for entry in to_remove:
            click.echo(
                safe_line(
                    f"{'removed' if yes else 'would remove'}: {entry.run_id} {entry.outcome} {entry.path}"
                )
            )
        if yes:
            database.forget([entry.digest for entry in to_remove])
    if yes and folders:
        for entry in to_remove:
            _remove_folder(entry)
    click.echo(
        f"{counted(len(to_remove), 'run')} of {len(entries)} {'removed' if yes else 'would be removed; add --yes'}"
    )


def _remove_folder(entry: RunEntry) -> None:
    """Remove a run's folder, if it still contains this run and nothing else."""
    folder = Path(entry.path)
    try:
        record = RunDirectory.open(folder).record()
    except HarnessError:
        return
    if record.run_id != entry.run_id or any(folder.glob(f"*/{RECORD}")):
        print_error(f"harness: {folder} contains another run; it is kept")
        return
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise StoreError(f"cannot remove {folder}: {error.strerror}; remove it by hand") from None


def found_runs(paths: tuple[Path, ...]) -> list[Path]:
    """The folders of runs that these paths name or hold, each once. Raises ConfigError when one has none."""
    found: dict[Path, None] = {}
    for path in paths:
        folder = path.parent if path.name == RECORD else path
        below = [folder] if (folder / RECORD).is_file() else []
        below += sorted(one.parent for one in folder.glob(f"*/{RECORD}"))
        if not below:
            raise ConfigError(
                f"no run at {path}: expected a folder with {RECORD}, such as {REPORTS}/<run-id>"
            )
        found.update(dict.fromkeys(below))
    return list(found)


def saved_entry(folder: Path, target: str | None = None) -> RunEntry:
    """The entry of a saved run. Raises StoreError, ConfigError."""
    record = saved_record(folder)
    trials = tuple(
        trial if trial.verdict else judged_again(trial, folder) for trial in map(as_ended, record.trials)
    )
    return entry_of(replace(record, trials=trials), path=str(folder.absolute()), target=target)


def _text(entries: list[RunEntry], form: str, metric: str | None = None) -> str:
    return as_csv(entries, metric) if form == "csv" else as_json_lines(entries, metric)
