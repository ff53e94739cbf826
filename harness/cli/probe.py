"""``harness probe``: readings of a process tree as JSON lines."""

from __future__ import annotations

import os
import sys

import click

from harness.cli.interrupt import Interrupt
from harness.cli.quantities import interval_option
from harness.core.errors import ConfigError
from harness.probe.print_readings import orders_from, print_readings
from harness.probe.script import emit
from harness.target.listening import listening_pid


@click.command("probe", short_help="print readings of a process tree as JSON lines")
@click.option("--pid", type=click.IntRange(1), help="The process; its descendants are followed.")
@click.option("--port", type=click.IntRange(1, 65535), help="The process that listens on this port.")
@interval_option
@click.option(
    "--count", type=click.IntRange(1), help="Stop after N samples [default: until the process exits]."
)
@click.option(
    "--census",
    "census_only",
    is_flag=True,
    help="Print one census of everything that the processes hold, and stop.",
)
@click.option(
    "--emit-script",
    is_flag=True,
    help="Print this probe as one file for a machine that has Python 3.8 or newer and nothing else, and stop.",
)
def command(
    pid: int | None,
    port: int | None,
    interval: float,
    count: int | None,
    census_only: bool,
    emit_script: bool,
) -> None:
    """Print what a process and its descendants hold, one JSON object per line.

    \b
    harness probe --pid 4711
    harness guard --url http://host:8000/events --probe-command "ssh host harness probe --pid 4711"
    harness probe --emit-script > probe.py; scp probe.py host:; ssh host python3 probe.py --pid 4711

    The first line has the protocol and the process; every other line is a sample. A line with "gap" has the reason
    why nothing could be read; the last one reports that the process has exited. Each request on standard input (census,
    limits, inbound PORT) is answered by one line.
    """
    if emit_script:
        click.echo(emit(), nl=False)
        return
    if (pid is None) == (port is None):
        raise ConfigError("expected exactly one of --pid and --port")
    with Interrupt() as stop:
        try:
            print_readings(
                pid or listening_pid(port or 0, option="port"),
                interval=interval,
                count=count,
                census_only=census_only,
                out=sys.stdout,
                orders_descriptor=orders_from(sys.stdin),
                stop=stop,
            )
        except BrokenPipeError:
            # The reader has exited, which is the usual end of a probe over ssh.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
