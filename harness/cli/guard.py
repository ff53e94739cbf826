"""``harness guard``: any service, spawned or running."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from harness.cli.interrupt import Interrupt
from harness.cli.result import finish, view
from harness.core.cycle import DISCONNECT_MODES
from harness.core.errors import ConfigError
from harness.core.units import duration, rate
from harness.experiment.guard import Request, guard_once
from harness.target.attach import listening_pid


def parse_headers(values: tuple[str, ...]) -> dict[str, str]:
    """``Name: value`` options as a mapping. Raises ConfigError for anything else."""
    found = {}
    for value in values:
        name, colon, text = value.partition(":")
        if not colon or not name.strip() or any(char in value for char in "\r\n"):
            raise ConfigError(f"--header {value!r}: expected 'Name: value'")
        found[name.strip()] = text.strip()
    return found


def service_options(function: Any) -> Any:
    """The options that guard and soak share."""
    for option in reversed(
        (
            click.option(
                "--url",
                "urls",
                multiple=True,
                required=True,
                metavar="URL",
                help="Where the streams are; {port} is replaced. Repeatable, same host.",
            ),
            click.option("--pid", type=click.IntRange(1), help="A service that already runs."),
            click.option(
                "--attach-port", type=click.IntRange(1, 65535), help="The same, by the port it listens on."
            ),
            click.option(
                "--ready", metavar="URL", help="Answers below 500 once ready [default: the port accepts]."
            ),
            click.option("--ready-timeout", default="30s", show_default=True, metavar="TIME"),
            click.option(
                "--connections", type=click.IntRange(1), default=300, show_default=True, help="Per cycle."
            ),
            click.option(
                "--concurrency",
                type=click.IntRange(1, 20000),
                default=50,
                show_default=True,
                help="Streams open at once.",
            ),
            click.option(
                "--events",
                type=click.IntRange(0),
                default=1,
                show_default=True,
                help="Leave after so many events; 0: stay for the whole dwell.",
            ),
            click.option(
                "--dwell", default="2s", show_default=True, metavar="TIME", help="Longest life of a stream."
            ),
            click.option(
                "--disconnect",
                type=click.Choice(["mixed", *DISCONNECT_MODES]),
                default="mixed",
                show_default=True,
                help="How clients leave.",
            ),
            click.option(
                "--mode",
                type=click.Choice(["stream", "request"]),
                default="stream",
                show_default=True,
                help="SSE streams, or plain HTTP requests.",
            ),
            click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Repeatable."),
            click.option(
                "--settle",
                default="1s",
                show_default=True,
                metavar="TIME",
                help="Counts must not move for so long.",
            ),
            click.option("--nofile", type=click.IntRange(16), help="RLIMIT_NOFILE of the service."),
            click.option(
                "--with-broker", is_flag=True, help="Start a fake broker; {broker} is its endpoint."
            ),
            click.option("--seed", type=int, default=0, show_default=True),
            click.option(
                "--out", type=click.Path(path_type=Path), help="Folder of the run [default: reports/RUN-ID]."
            ),
            click.option(
                "--json", "json_file", type=click.Path(path_type=Path), help="Write the verdict here."
            ),
            click.option("--quiet", is_flag=True, help="No progress; only the verdict."),
            click.argument("service", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND …]"),
        )
    ):
        function = option(function)
    return function


def request_from(options: dict[str, Any], **more: Any) -> Request:
    """The request that the shared options describe."""
    pid = options["pid"]
    if options["attach_port"]:
        if pid:
            raise ConfigError("--pid and --attach-port name the service twice; expected one of them")
        pid = listening_pid(options["attach_port"])
    return Request(
        url=options["urls"],
        command=options["service"] or None,
        pid=pid,
        connections=options["connections"],
        concurrency=options["concurrency"],
        dwell=duration("--dwell", options["dwell"]),
        events=options["events"],
        disconnect=options["disconnect"],
        mode=options["mode"],
        settle=duration("--settle", options["settle"]),
        headers=parse_headers(options["headers"]),
        ready=options["ready"],
        ready_timeout=duration("--ready-timeout", options["ready_timeout"]),
        nofile=options["nofile"],
        with_broker=options["with_broker"],
        out=options["out"],
        seed=options["seed"],
        **more,
    )


@click.command("guard", short_help="any service: load it, judge whether it gives everything back")
@service_options
@click.option("--sensitivity", default="1/1000", show_default=True, metavar="RATE",
              help="Smallest leak per connection that must not be missed.")  # fmt: skip
@click.option(
    "--max-time", default="2m", show_default=True, metavar="TIME", help="End after so long at the latest."
)
@click.option("--cycles", type=click.IntRange(3), default=60, show_default=True, help="Load cycles at most.")
def command(sensitivity: str, max_time: str, cycles: int, **options: Any) -> None:
    """Start a service, let clients come and go, and judge whether everything came back.

    \b
    harness guard --url http://127.0.0.1:{port}/events -- python app.py --port {port}
    harness guard --url http://127.0.0.1:8000/events --pid 4711

    {port} is replaced by a free port in the URL and in the command, and PORT is set in the environment. Exit codes:
    0 everything came back, 1 the service's fault, 2 usage, 3 inconclusive or interrupted, 4 infrastructure.
    """
    request = request_from(
        options,
        sensitivity=rate("--sensitivity", sensitivity),
        max_time=duration("--max-time", max_time),
        cycles=cycles,
    )
    console = Console(highlight=False)
    text = f"harness guard {shlex.join(options['urls'])}"
    with Interrupt() as interrupt, view(console, quiet=options["quiet"]) as show:
        done = guard_once(request, command=text, interrupt=interrupt, show=show)
    finish(done.run, done.report, console, json_file=options["json_file"])
