"""``harness soak``: the same cycles for hours; what was measured survives an interruption."""

from __future__ import annotations

import shlex
from typing import Any

import click
from rich.console import Console

from harness.cli.guard import request_from, service_options
from harness.cli.interrupt import Interrupt
from harness.cli.result import finish, view
from harness.core.units import duration as parse_duration
from harness.core.units import rate
from harness.experiment.guard import guard_once
from harness.experiment.soak import soak_steps

SLACK = 600.0  # seconds beyond the duration before a cycle that hangs ends the soak


@click.command("soak", short_help="the same cycles for hours; survives interruption")
@click.option("--duration", required=True, metavar="TIME", help="How long: 30s, 20m, 8h.")
@click.option("--sensitivity", default="1/1000", show_default=True, metavar="RATE",
              help="Smallest leak per connection that must not be missed.")  # fmt: skip
@service_options
def command(duration: str, sensitivity: str, **options: Any) -> None:
    """Load a service for a given time in the cycles of a guard, and judge it at the end.

    \b
    harness soak --duration 8h --url http://127.0.0.1:{port}/events -- python app.py --port {port}

    Every finished cycle is on disk at once: an interruption loses at most the one under way, and
    `harness judge RUN` judges what there is.
    """
    seconds = parse_duration("--duration", duration)
    request = request_from(
        options,
        sensitivity=rate("--sensitivity", sensitivity),
        max_time=seconds + SLACK,
        cycles=10_000_000,
        name="soak",
    )
    console = Console(highlight=False)
    text = f"harness soak --duration {duration} {shlex.join(options['urls'])}"
    with Interrupt() as interrupt, view(console, quiet=options["quiet"]) as show:
        done = guard_once(
            request, command=text, interrupt=interrupt, show=show, steps=soak_steps(request, seconds)
        )
    finish(done.run, done.report, console, json_file=options["json_file"])
