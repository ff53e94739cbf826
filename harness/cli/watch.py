"""``harness watch``: a live view of a running process, without a load."""

from __future__ import annotations

import click

from harness.cli.console import console as terminal
from harness.cli.interrupt import Interrupt
from harness.cli.quantities import interval_option
from harness.cli.streams import print_error
from harness.core.errors import ConfigError
from harness.export.exports import Exports
from harness.probe.watch import watch
from harness.target.listening import listening_pid


@click.command("watch", short_help="watch what a running process holds, and what grows")
@click.argument("pid", type=click.IntRange(1), required=False)
@click.option("--port", type=click.IntRange(1, 65535), help="The process that listens on this port.")
@interval_option
@click.option(
    "--prometheus",
    metavar="[HOST:]PORT",
    help="Serve the same figures at /metrics, to every user of this machine; without HOST on 127.0.0.1; port 0 takes "
    "a free one.",
)
@click.option(
    "--otlp",
    metavar="URL",
    help="Send the same figures to this OpenTelemetry collector (OTLP over HTTP), such as http://127.0.0.1:4318.",
)
def command(
    pid: int | None, port: int | None, interval: float, prometheus: str | None, otlp: str | None
) -> None:
    """Show what a process and its descendants hold, until Ctrl-C or its exit.

    \b
    harness watch 4711
    harness watch --port 8000 --prometheus 9464
    harness watch --port 8000 --otlp http://127.0.0.1:4318

    Growth since the start is described in words. Nothing is judged: the exit code is 0, also after Ctrl-C.
    """
    if (pid is None) == (port is None):
        raise ConfigError("expected exactly one of PID and --port")
    pid = pid or listening_pid(port or 0, option="port")
    console = terminal(unread=0)
    with Interrupt() as stop, Exports(f"pid {pid}", prometheus=prometheus, otlp=otlp) as exports:
        if exports.address:
            console.print(exports.address, soft_wrap=True)
        watch(pid, console=console, interval=interval, export=exports, stop=stop)
    for failure in exports.failures:
        print_error(f"harness: {failure}")
