"""``harness memory``: what a Python program retains between two snapshots, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.text import Text

from harness.cli.console import console as terminal
from harness.cli.interrupt import Interrupt
from harness.cli.streams import safe_line
from harness.core import quote
from harness.core.errors import ConfigError
from harness.core.units import counted
from harness.core.units import duration as parse_duration
from harness.experiment import memory
from harness.report.memory import render
from harness.runtime.python_sites import is_library, line_growth
from harness.runtime.snapshot import Snapshot, difference
from harness.store.write import replace_file

PATH = click.Path(path_type=Path)
MAX_ROWS = 200  # lines in the table of the page
connections_option = click.option(
    "--connections",
    type=click.IntRange(1),
    help="Connections opened between the snapshots, if the files do not contain the number.",
)


@click.group("memory", short_help="find what a Python program retains, line by line")
def command() -> None:
    """Compare snapshots of live allocations (tracemalloc): of `harness memory run`, of a guard that found a leak
    (before.snapshot and after.snapshot in its folder), or of tracemalloc.Snapshot.dump.
    """


@command.command("diff", short_help="print what grew between two snapshots, by line")
@click.argument("before", type=PATH)
@click.argument("after", type=PATH)
@connections_option
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="Lines shown.")
def diff(before: Path, after: Path, connections: int | None, top: int) -> None:
    """Print what grew from BEFORE to AFTER, by line; the program's own lines first."""
    old, new = Snapshot.load(before), Snapshot.load(after)
    show_growth(old, new, _connections(old, new, connections), top)


@command.command("show", short_help="write what grew as a flame graph (HTML)")
@click.argument("before", type=PATH)
@click.argument("after", type=PATH)
@connections_option
@click.option("--out", type=PATH, default=Path("memory.html"), show_default=True, metavar="FILE")
def show(before: Path, after: Path, connections: int | None, out: Path) -> None:
    """Write what grew as a flame graph: one HTML file that needs no network."""
    old, new = Snapshot.load(before), Snapshot.load(after)
    click.echo(safe_line(str(page(old, new, _connections(old, new, connections), out))))


@command.command("run", short_help="run a program, and print what grew while it ran")
@click.option("--out", type=PATH, default=Path("memory"), show_default=True, metavar="DIR")
@click.option(
    "--after", default="2s", show_default=True, metavar="TIME", help="Take the first snapshot after TIME."
)
@click.option(
    "--every", default="5s", show_default=True, metavar="TIME", help="Take another snapshot every TIME."
)
@click.option(
    "--for",
    "length",
    metavar="TIME",
    help="Stop the program after TIME [default: on Ctrl-C, or when it exits].",
)
@click.option("--frames", type=click.IntRange(1, 100), default=12, show_default=True, help="Depth of stacks.")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="Lines shown.")
@connections_option
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND …")
def run(
    out: Path,
    after: str,
    every: str,
    length: str | None,
    frames: int,
    top: int,
    connections: int | None,
    program: Sequence[str],
) -> None:
    """Run a program with its allocations traced, and print what grew while it ran. The harness
    neither sends it load nor changes it.

    \b
    harness memory run --for 1m -- python app.py

    The files first.snapshot, last.snapshot, memory.html and target.log are written to DIR, or to a new folder in it
    if it contains such files already. Exit codes: 0 two snapshots were compared, 1 the program ended before that, 2
    usage, 3 interrupted before that.
    """
    with Interrupt() as interrupt:
        done = memory.run(
            program,
            out,
            memory.Tracing(
                every=parse_duration("--every", every),
                after=parse_duration("--after", after),
                duration=parse_duration("--for", length) if length else None,
                frames=frames,
            ),
            interrupt=interrupt,
        )
    old, new = Snapshot.load(done.first), Snapshot.load(done.last)
    if done.ended is not None:
        click.echo(f"the program exited with {done.ended}")
    click.echo(f"between two snapshots {done.seconds:.1f} s apart:")
    show_growth(old, new, connections, top)
    click.echo(safe_line(f"flame graph: {page(old, new, connections, done.first.parent / 'memory.html')}"))


def show_growth(old: Snapshot, new: Snapshot, connections: float | None, top: int) -> None:
    """The lines that grew, "and N more", the sum."""
    console = terminal()
    found = line_growth(old, new, connections or 1.0)
    if not found:
        console.print("nothing grew")
    for growth in found[:top]:
        text = growth.line() if connections else growth.line("")
        console.print(Text(quote.terminal(text)), soft_wrap=True)
    if len(found) > top:
        console.print(f"and {len(found) - top} more")
    blocks, size = new.blocks - old.blocks, new.size - old.size
    console.print(
        f"in all {counted(size, 'byte', '+,')}, {counted(blocks, 'block', '+,')}" + _over(size, connections)
    )
    if new.dropped:
        console.print(f"left out: {counted(new.dropped, 'further traceback')}")


def _over(size: float, connections: float | None) -> str:
    return (
        f" over {counted(connections, 'connection', 'g')}: {size / connections:+,.1f} bytes each"
        if connections
        else ""
    )


def page(old: Snapshot, new: Snapshot, connections: float | None, out: Path) -> Path:
    """Write the flame graph; its path. Raises StoreError."""
    found = line_growth(old, new, connections or 1.0)
    rows = [(g.site, g.per_connection, g.bytes_per_connection or 0.0) for g in found[:MAX_ROWS]]
    notes = (f"left out: {counted(new.dropped, 'further traceback')}",) if new.dropped else ()
    text = render(
        difference(old, new),
        rows,
        connections=connections,
        is_library=is_library,
        more=max(0, len(found) - MAX_ROWS),
        notes=notes,
    )
    replace_file(out, text.encode(errors="replace"))
    return out


def _connections(old: Snapshot, new: Snapshot, asked: int | None) -> float | None:
    """Connections between the snapshots: as given, else from the files. Raises ConfigError for files in the wrong
    order."""
    if asked:
        return float(asked)
    if old.connections is None or new.connections is None:
        return None
    if new.connections <= old.connections:
        raise ConfigError(
            f"the second snapshot was taken after {counted(new.connections, 'connection')}, the first after "
            f"{old.connections}; expected the earlier one first"
        )
    return float(new.connections - old.connections)
