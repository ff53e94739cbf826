"""``harness history site``: the history as static pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.history_options import history_of, history_options, run_filter
from harness.cli.streams import print_error, safe_line
from harness.core.history import RunEntry
from harness.core.units import counted
from harness.report.site import INDEX, render
from harness.store.run_dir import safe_name
from harness.store.write import make_directory, replace_file

REPORT, REPORTS = "report.html", "reports"


@click.command("site", short_help="write the history as static pages")
@history_options
@click.option("--no-reports", is_flag=True, help="Do not copy the runs' reports into the site.")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
def command(folder: Path, no_reports: bool, history: str | None, **options: Any) -> None:
    """Write the history as static pages into DIR: an index, and one page for each target.

    A chart for each metric shows its rate over the runs with the 95 % interval, and marks change points. The pages
    need no network and no server. A click on a run opens its report, if the run's folder still has one.
    """
    with history_of(history) as kept:
        entries = kept.find(run_filter(options))
    make_directory(folder)
    reports = {} if no_reports else _copied(entries, folder)
    targets = sorted({trial.target for entry in entries for trial in entry.trials})
    names = {target: f"target-{safe_name(target)}.html" for target in targets}
    for name, text in render(entries, names, reports).items():
        replace_file(folder / name, text.encode(errors="replace"))
    click.echo(
        safe_line(f"{counted(len(names), 'target')}, {counted(len(entries), 'run')}: {folder / INDEX}")
    )


def _copied(entries: list[RunEntry], folder: Path) -> dict[str, str]:
    """Digest → address of the copied report. A run whose folder was removed has none."""
    found: dict[str, str] = {}
    for entry in entries:
        source = Path(entry.path) / REPORT
        if not entry.path or not source.is_file():
            continue
        make_directory(folder / REPORTS)
        name = f"{safe_name(entry.run_id)}-{entry.digest[:8]}.html"
        try:
            data = source.read_bytes()
        except OSError as error:
            print_error(f"harness: {source}: {error.strerror}; the site has no report of this run")
            continue
        replace_file(folder / REPORTS / name, data)
        found[entry.digest] = f"{REPORTS}/{name}"
    return found
