"""``harness trend``: finds lasting changes of metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.history_options import history_of, history_options, run_filter
from harness.cli.streams import safe_line
from harness.core.errors import EXIT_SERVICE
from harness.core.trends import all_series, trend
from harness.report.trend import lines, markdown
from harness.store.write import check_output, replace_file


@click.command("trend", short_help="find lasting changes over many runs")
@history_options
@click.option("--metric", metavar="NAME", help="Only this metric, such as fds or fds/eventfd.")
@click.option("--fail-on", type=click.Choice(["regression"]), help="Exit with 1 while a regression is open.")
@click.option(
    "--format", "form", type=click.Choice(["plain", "markdown"]), default="plain", show_default=True
)
@click.option("--markdown", "file", type=click.Path(path_type=Path), metavar="FILE",
              help="Also write the Markdown summary here, such as for a comment on a pull request.")  # fmt: skip
def command(
    metric: str | None, fail_on: str | None, form: str, file: Path | None, history: str | None, **options: Any
) -> None:
    """Look for lasting changes of each metric over the runs of the history.

    \b
    harness trend --target app.py --branch main
    harness trend --fail-on regression --markdown trend.md

    Runs with the same target, profile, mode and load form a series. A change needs at least 8 runs, and is reported
    when chance would produce it less than once in 1,000 runs (docs/trend.md). A regression is open until the rate is
    back at its old level; --since ignores earlier runs. Exit codes: 0, or with --fail-on 1 while a regression is open,
    2 usage, 4 the history cannot be read.
    """
    check_output("--markdown", file)
    with history_of(history) as kept:
        series = all_series(kept.find(run_filter(options)), metric)
    found = trend(series)
    summary = markdown(found, series)
    if file:
        replace_file(file, summary.encode())
    if form == "markdown":
        click.echo(summary, nl=False)
    else:
        for text in lines(found, series):
            click.echo(safe_line(text))
    if fail_on and any(one.open for one in found):
        raise click.exceptions.Exit(EXIT_SERVICE)
