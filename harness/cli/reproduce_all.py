"""``harness reproduce --all``: tests every claim of the analysis, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cli.console import console as terminal
from harness.cli.interrupt import Interrupt
from harness.cli.streams import print_error
from harness.core.after_verdict import attempt
from harness.core.claims import Conclusion
from harness.core.claims_record import ClaimsRecord, to_dict
from harness.core.errors import EXIT_INCONCLUSIVE, EXIT_INFRASTRUCTURE, EXIT_SERVICE
from harness.core.quote import terminal as quoted
from harness.core.record_codec import dumps
from harness.core.units import duration
from harness.experiment.claims import ClaimsRun, RepeatProgress
from harness.experiment.reproduce import catalogue
from harness.report.claims import HEADINGS, cells, headline, provenance
from harness.store.write import replace_file

STYLES = {
    Conclusion.CONFIRMED: "green",
    Conclusion.REFUTED: "red",
    Conclusion.NOT_SHOWN: "yellow",
    Conclusion.NOT_MEASURED: "yellow",
}
NARROW = 170  # columns below which each claim is a block of lines
# Options for runs of single profiles; with --all the loads and repeats of the profiles apply.
ALONE = ("profiles", "repeat", "connections", "concurrency", "real_time", "list_only", "keep_going")
ONLY_ALL = ("resume", "jobs", "max_time")


def check_options(context: click.Context, *, everything: bool) -> None:
    """Refuse options that have no effect. Raises click.UsageError that names the option."""
    for name in ALONE if everything else ONLY_ALL:
        source = context.get_parameter_source(name)
        # Compared by its source, because an option may be given with the value that is its default.
        if source is not None and source.name != "DEFAULT":
            option = next(p.opts[0] for p in context.command.params if p.name == name)
            raise click.UsageError(
                f"{option} has no effect with --all: leave out one of them"
                if everything
                else f"{option} has no effect without --all: add --all"
            )


def run_all_claims(
    *,
    out: Path | None,
    resume: Path | None,
    jobs: int,
    max_time: str,
    seed: int,
    json_file: Path | None,
    quiet: bool,
) -> NoReturn:
    """Measure, print and write the table. Raises click's Exit with the exit code of ``harness reproduce``."""
    if out and resume:
        raise click.UsageError(f"--out {out}: a resumed run uses its own folder; leave out --out")
    with Interrupt() as interrupt:
        run = ClaimsRun(
            catalogue(),
            out=out,
            resume=resume,
            interrupt=interrupt,
            seed=seed,
            jobs=jobs,
            max_seconds=duration("--max-time", max_time),
            show=(lambda _: None) if quiet else _progress,
        )
        if not quiet:
            print_error(
                f"{len(run.record.remaining())} repeats to measure, {jobs} at a time, in {run.folder}"
            )
        record = run.run()
    failures: list[str] = []
    if json_file:
        text = dumps(to_dict(record), indent=1) + "\n"
        attempt("the JSON file", lambda: replace_file(json_file, text.encode()), failures.append)
    console = terminal()
    show(record, console)
    for line in (*record.unexpected_results(), *run.problems, *failures):
        console.print(quoted(line, 1000), soft_wrap=True, markup=False)
    console.print(quoted(f"report: {run.folder / 'claims.html'}", 4000), soft_wrap=True, markup=False)
    raise click.exceptions.Exit(exit_code(record, run.problems))


def exit_code(record: ClaimsRecord, problems: list[str]) -> int:
    """0 when everything was measured and ended as described. problems: repeats that the harness itself failed."""
    if problems:
        return EXIT_INFRASTRUCTURE
    if record.remaining():
        return EXIT_INCONCLUSIVE
    return EXIT_SERVICE if record.unexpected_results() else 0


def _progress(news: RepeatProgress) -> None:
    minutes, seconds = divmod(int(news.at), 60)
    print_error(
        f"[{news.done:3}/{news.total}, {minutes:2}:{seconds:02}] {news.name} {news.repeat} of {news.need}: "
        f"{quoted(news.text, 200)}"
    )


def show(record: ClaimsRecord, console: Console) -> None:
    """The table, or a block of lines for each claim on a narrow terminal."""
    console.print(f"{provenance(record)}. {headline(record)}.", soft_wrap=True, markup=False)
    rows: list[tuple[Any, tuple[str, ...]]] = [(row.conclusion, cells(row, record)) for row in record.rows()]
    if console.width >= NARROW:
        table = Table(show_lines=True)
        for heading in HEADINGS:
            table.add_column(heading, overflow="fold")
        for conclusion, texts in rows:
            shown = [Text(quoted(text, 1000)) for text in texts]
            shown[-1].stylize(STYLES[conclusion])
            table.add_row(*shown)
        console.print(table)
        return
    for conclusion, texts in rows:
        console.print(Text(quoted(texts[0], 1000), style="bold"), soft_wrap=True)
        for heading, text in list(zip(HEADINGS, texts, strict=True))[1:]:
            style = STYLES[conclusion] if heading == "conclusion" else ""
            console.print(Text(f"  {heading + ':':18}{quoted(text, 1000)}", style=style), soft_wrap=True)
