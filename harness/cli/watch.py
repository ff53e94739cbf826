"""``harness watch``: a live view of a running process, with no load at all."""

from __future__ import annotations

from contextlib import nullcontext

import click

from harness.cli.console import console as terminal
from harness.cli.interrupt import Interrupt
from harness.cli.interval import interval_option
from harness.core.errors import ConfigError
from harness.export.prometheus import Exporter
from harness.probe.watch import watch
from harness.target.listening import listening_pid


@click.command("watch", short_help="live view of a running process: counts, classes, what grew")
@click.argument("pid", type=click.IntRange(1), required=False)
@click.option("--port", type=click.IntRange(1, 65535), help="The process, by the port it listens on.")
@interval_option
@click.option(
    "--prometheus",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve the same figures on 127.0.0.1:PORT/metrics, to every user of this machine; 0 takes a free port.",
)
def command(pid: int | None, port: int | None, interval: float, prometheus: int | None) -> None:
    """Show what a process and its descendants hold, as it changes, until Ctrl-C or its end.

    \b
    harness watch 4711
    harness watch --port 8000 --prometheus 9464

    What grew since the start is said in words. Nothing is judged: the exit code is 0, also after Ctrl-C.
    """
    if (pid is None) == (port is None):
        raise ConfigError("expected exactly one of PID and --port")
    pid = pid or listening_pid(port or 0, option="--port")
    console = terminal(unread=0)
    serving = Exporter(prometheus, target=f"pid {pid}") if prometheus is not None else nullcontext()
    with Interrupt() as stop, serving as export:
        if export:
            console.print(f"http://127.0.0.1:{export.port}/metrics", soft_wrap=True)
        watch(pid, console=console, interval=interval, export=export, stop=stop)
