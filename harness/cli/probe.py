"""``harness probe``: readings of a process tree as JSON lines."""

from __future__ import annotations

import sys
import time

import click

from harness.cli.interrupt import Interrupt
from harness.core.errors import ConfigError
from harness.probe.census import census
from harness.probe.lines import census_line, hello, sample_line
from harness.probe.tree import Tree
from harness.target.attach import listening_pid


@click.command("probe", short_help="print readings of a process tree as JSON lines")
@click.option("--pid", type=click.IntRange(1), help="The process; its descendants are followed.")
@click.option("--port", type=click.IntRange(1, 65535), help="The same, by the port it listens on.")
@click.option(
    "--interval", type=click.FloatRange(0.01, 3600), default=0.1, show_default=True, help="Seconds."
)
@click.option("--count", type=click.IntRange(1), help="Stop after so many samples [default: until the end].")
@click.option("--census", "with_census", is_flag=True, help="One census of everything held, and stop.")
def command(pid: int | None, port: int | None, interval: float, count: int | None, with_census: bool) -> None:
    """Print what a process and its descendants hold, one JSON object per line.

    The first line names the protocol; every other line is a sample. A line with "gap" says why nothing
    could be read; the last one says that the process has ended.
    """
    if (pid is None) == (port is None):
        raise ConfigError("expected exactly one of --pid and --port")
    pid = pid or listening_pid(port or 0)
    try:
        tree = Tree(pid)
    except PermissionError as error:
        raise ConfigError(f"--pid {pid}: {error.strerror}; run as the service's user or as root") from None
    start = time.monotonic()
    click.echo(hello(pid, interval))
    if with_census:
        click.echo(census_line(census(pid, at=0.0)))
        return
    taken = 0
    with Interrupt() as stop:
        while not stop.is_set() and (count is None or taken < count):
            sample = tree.read(time.monotonic() - start)
            click.echo(sample_line(sample))
            sys.stdout.flush()
            taken += 1
            if sample.gap:
                break
            stop.wait(max(0.0, start + taken * interval - time.monotonic()))
    tree.close()
