"""The end of every measuring command: print, write, exit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from harness.cli.after_verdict import AfterVerdict
from harness.cli.console import console as terminal
from harness.cli.service_options import chosen_format
from harness.cli.streams import print_error, working_directory
from harness.core import quote
from harness.core.after_verdict import attempt, failure
from harness.core.record import RunRecord
from harness.core.record_codec import dumps, run_dict
from harness.experiment.reports import worst_exit_code
from harness.report import github, junit
from harness.report.live import LiveView
from harness.report.terminal import show_verdict
from harness.store.write import check_output, replace_file

if TYPE_CHECKING:
    from harness.experiment.context import Progress
    from harness.experiment.run import Run


@contextmanager
def view(console: Console | None = None, *, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """A live view, as the function that the experiment calls. Progress goes to stderr, or nowhere with ``quiet``."""
    with LiveView(console or terminal(stderr=True), quiet=quiet) as live:
        yield lambda news: live.show(
            news.trial, news.at, news.phase, news.cycle, news.connections, news.sample, news.note
        )


def json_text(record: RunRecord) -> str:
    """The published form (``harness schema``): the result and the record."""
    return dumps(run_dict(record), indent=1) + "\n"


def write_json(run: Run, json_file: Path | None) -> None:
    """Write ``verdict.json`` into the run's folder, and to the path of ``--json``."""
    text = json_text(run.record)
    run.directory.write_text("verdict.json", text)
    if json_file:
        replace_file(json_file, text.encode())


def check_outputs(options: Mapping[str, Any]) -> None:
    """Raise StoreError at the start for files that could not be written at the end of a long run."""
    for name in ("json", "junit"):
        check_output(f"--{name}", options[f"{name}_file"])


def finish(run: Run, report: Path, options: Mapping[str, Any]) -> None:
    """Write what was asked for, show the verdict in the chosen format, exit with the documented code.

    Files come first, so that a closed terminal or a full pipe cannot prevent them.
    """
    _write_files(run, options)
    try:
        _show(run, report, chosen_format(options["form"]))
    except OSError:
        raise  # standard output is full or closed
    except Exception as error:
        run.failures.append(failure("showing the verdict", error))
    note_failures(run)
    raise click.exceptions.Exit(worst_exit_code(run.record.trials))


def note_failures(run: Run) -> None:
    """Report on standard error, one line each, which steps after the verdict failed. They do not change it."""
    for text in run.failures:
        print_error(f"harness: {text}")


def _show(run: Run, report: Path, form: str) -> None:
    if form == "json":
        click.echo(quote.json_text(json_text(run.record)), nl=False)
    else:
        console = terminal()
        for trial in run.record.trials:
            show_verdict(trial, console, report=str(report), root=working_directory())
    if form == "github":
        for command in github.workflow_commands(run.record, os.environ.get("GITHUB_WORKSPACE", "")):
            click.echo(command)


def _write_files(run: Run, options: Mapping[str, Any]) -> None:
    """Write every file that was asked for. Failures are noted and do not change the verdict."""
    json_file, junit_file = options["json_file"], options["junit_file"]
    steps: dict[str, Callable[[], object]] = {"verdict.json": lambda: write_json(run, None)}
    if json_file:
        steps[f"--json {json_file}"] = lambda: replace_file(json_file, json_text(run.record).encode())
    if junit_file:
        steps[f"--junit {junit_file}"] = lambda: replace_file(junit_file, junit.render(run.record).encode())
    steps["the step summary"] = lambda: summarise(run.record)
    later: AfterVerdict = options["afterwards"]
    steps["the history"] = lambda: later.record(run)
    steps["the notification"] = later.notify
    for name, work in steps.items():
        attempt(name, work, run.failures.append)


def summarise(record: RunRecord) -> None:
    """Write the step summary of GitHub Actions if its environment names a file for it."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path or os.environ.get("GITHUB_ACTIONS") != "true":
        return
    try:
        # Non-blocking, because opening a pipe without a reader would wait for ever.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        with os.fdopen(os.open(path, flags, 0o644), "a", encoding="utf-8", errors="replace") as summary:
            summary.write(github.summary(record))
    except OSError as error:
        print_error(f"harness: GITHUB_STEP_SUMMARY {path}: {error.strerror}; no summary written")
