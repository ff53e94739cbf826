"""``harness soak``: loads a service for hours, and can be resumed after an interruption."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.interrupt import Interrupt
from harness.cli.quantities import SIZE, TIME
from harness.cli.resume import OPTION, Resumable, resumed_run, stored_arguments
from harness.cli.service_options import command_line, request_from, service_options
from harness.core.errors import ConfigError
from harness.swarm.load import MAX_CONNECTIONS

MIN_SIZE = 1 << 20  # bytes
SLACK = 600.0  # seconds beyond the duration after which a hanging cycle ends the soak


@click.command("soak", cls=Resumable, short_help="load a service for hours; can be resumed")
@click.option(
    "--duration",
    type=TIME,
    required=True,
    metavar="TIME",
    help="How long: 30s, 20m, 8h. Not needed with --resume.",
)
@click.option(
    OPTION,
    metavar="RUN",
    expose_value=False,
    help="Resume an interrupted soak with the same plan and total time. "
    "Give no other options, or the same command line.",
)
@click.option(
    "--max-size",
    type=SIZE,
    default="512 MiB",
    show_default=True,
    metavar="SIZE",
    help="Maximum size of the run's folder: old logs and samples are removed first; then the soak ends.",
)
@service_options
@click.pass_context
def command(ctx: click.Context, /, duration: float, max_size: int, **options: Any) -> None:
    """Load a service for a given time in the cycles of a guard, and judge it at the end. The verdict bounds the
    growth of every metric per hour; the verdict of an interrupted soak has the bounds so far.

    \b
    harness soak --duration 8h --url http://127.0.0.1:{port}/events -- python app.py --port {port}

    harness soak --resume reports/2026-03-01T02-00-00-81

    Every finished cycle is saved at once: an interruption, even kill -9 or a reboot, loses at most the current cycle.
    `--resume RUN` continues: the cycles measured so far count, and the service is started again. `harness judge RUN`
    judges what was measured so far.
    """
    if max_size < MIN_SIZE:
        raise ConfigError(f"--max-size {max_size}: too small; expected at least 1 MiB")
    resume = resumed_run(ctx)
    if resume:
        options["out"] = None  # it continues in its own folder
    # Imported late, as in harness.cli.guard.
    from harness.cli.result import check_outputs, finish, view
    from harness.experiment.guard import guard_once
    from harness.experiment.soak import soak_steps

    request = request_from(options, max_time=duration + SLACK, cycles=MAX_CONNECTIONS, name="soak", soak=True)
    check_outputs(options)
    with Interrupt() as interrupt, view(quiet=options["quiet"]) as show:
        done = guard_once(
            request,
            command=command_line("soak"),
            interrupt=interrupt,
            show=show,
            steps=soak_steps(request, duration, used=resume.used if resume else 0.0),
            arguments=stored_arguments(ctx),
            resume=resume,
            max_size=max_size,
        )
    finish(done.run, done.report, options)
