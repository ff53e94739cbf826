"""A live view of a running process, with no load at all: counts, classes, and what grew, in words."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from harness.core.census_diff import Growth, difference
from harness.core.judge.recipe import sentence
from harness.core.metric import Key
from harness.core.quote import terminal
from harness.core.sample import Census, Sample
from harness.probe.sampler import Sampler
from harness.probe.sparkline import sparkline

CENSUS_EVERY = 2.0  # seconds
CENSUS_SHARE = 0.02  # of the time; a huge target gets its census less often
REDRAW = 0.25  # seconds
PLAIN_EVERY = 5.0  # seconds between two lines without a terminal
MEMORY_NEWS = 1 << 20  # bytes: smaller growth may be one allocation of an arena
WIDTH = 40  # characters of a sparkline
MAX_ROWS = 12  # classes of descriptors that are listed
UNKNOWN = "what it holds could not be read yet"


class Export(Protocol):
    """Receives the readings too, such as ``harness.export.board.Board``."""

    def sample(self, sample: Sample) -> None:
        """Receive the newest sample."""

    def census(self, census: Census) -> None:
        """Receive the newest census."""


class View:
    """The view: made from samples and censuses, rendered by Rich."""

    def __init__(self, pid: int, name: str = "") -> None:
        self.pid = pid
        self.name = name
        self.first: Census | None = None
        self.last: Census | None = None
        self.events: list[str] = []

    def census(self, census: Census) -> None:
        """Add a census; growth is counted from the first one."""
        if census.processes:
            self.first = self.first or census
            self.last = census

    def sample(self, sample: Sample) -> None:
        """Keep the last few events of the samples."""
        self.events = [*self.events, *sample.events][-4:]

    def grown(self) -> list[Growth]:
        """The growth since the first census, largest first."""
        return difference(self.first, self.last) if self.first and self.last else []

    def words(self) -> str:
        """The growth as text; memory only from MEMORY_NEWS on. Empty if nothing grew."""
        grown = {growth.key: growth.by for growth in self.grown()}
        counts = sentence({key: by for key, by in grown.items() if key.metric != "memory"}, per="")
        memory = grown.get(Key("memory", "anonymous"), 0.0)
        more = f"+{_mebibytes(memory)} of anonymous memory" if memory >= MEMORY_NEWS else ""
        return "; ".join(filter(None, (counts, more)))

    def render(self, samples: list[Sample], now: float) -> RenderableType:
        """The whole screen."""
        latest = samples[-1]
        parts: list[RenderableType] = [self._headline(latest, now), _counts(samples)]
        if self.last:
            parts.append(self._classes())
        if self.first and self.last:
            words = self.words()
            seconds = self.last.at - self.first.at
            parts.append(
                Text(f"grown since the start ({seconds:.0f} s): {terminal(words, 2000)}", style="yellow")
                if words
                else Text(f"nothing has grown since the start ({seconds:.0f} s)", style="green")
            )
        else:
            parts.append(Text(UNKNOWN, style="dim"))
        for reason in (self.last.unreadable if self.last else ())[:3]:
            parts.append(Text(f"not read: {terminal(reason)}", style="dim"))
        parts.extend(Text(terminal(event), style="dim") for event in self.events)
        return Group(*parts)

    def _headline(self, latest: Sample, now: float) -> Text:
        if latest.gap is not None:
            return Text(f"pid {self.pid}: no reading: {terminal(latest.gap)}", style="bold red")
        return Text(f"pid {self.pid} ({terminal(self.name)}), watched for {now:.0f} s", style="bold")

    def _classes(self) -> Table:
        assert self.first
        assert self.last
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        # Rich narrows the columns that may wrap, which are only the examples; their text is cut instead.
        table.add_column("class", no_wrap=True)
        table.add_column("now", justify="right", no_wrap=True)
        table.add_column("change", justify="right", no_wrap=True)
        table.add_column("for example")
        then = self.first.fds
        fresh = {growth.key.kind: growth.examples for growth in self.grown() if growth.key.metric == "fds"}
        ranked = sorted(
            self.last.fds.items(), key=lambda item: (-abs(item[1] - then.get(item[0], 0)), -item[1], item[0])
        )
        for kind, count in ranked[:MAX_ROWS]:
            by = count - then.get(kind, 0)
            examples = fresh.get(kind) or self.last.examples.get(kind, ())
            style = "yellow" if by > 0 else "" if by == 0 else "green"
            table.add_row(
                Text(terminal(kind)),
                str(count),
                Text(f"{by:+d}" if by else "", style=style),
                Text(terminal(", ".join(examples)), no_wrap=True, overflow="ellipsis"),
            )
        if len(ranked) > MAX_ROWS:
            table.add_row(f"and {len(ranked) - MAX_ROWS} more", "", "", "")
        return table


class Sparkline:
    """The whole series in the remaining part of WIDTH."""

    def __init__(self, series: Sequence[float | None]) -> None:
        self.series = series

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, WIDTH).clamp(max_width=options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(sparkline(self.series, min(WIDTH, options.max_width)), no_wrap=True)


def _counts(samples: list[Sample]) -> Table:
    """The counts now, their change since the first reading, and their course as a line of blocks."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in ("", "now", "change"):
        table.add_column(column, justify="left" if not column else "right", no_wrap=True)
    table.add_column("")
    first = next((sample for sample in samples if sample.gap is None), samples[0])
    latest = samples[-1]
    for name, read, show in _ROWS:
        series = [read(sample) for sample in samples]
        now, then = read(latest), read(first)
        by = (
            ""
            if now is None or then is None or now == then
            else f"{'+' if now > then else '-'}" + show(abs(now - then))
        )
        table.add_row(name, "?" if now is None else show(now), by, Sparkline(series))
    cores = _cores(samples)
    table.add_row("cpu", "?" if cores is None else f"{cores * 100:.1f} %", "", "")
    return table


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _mebibytes(value: float) -> str:
    return f"{value / (1 << 20):.1f} MiB"


_ROWS: tuple[tuple[str, Callable[[Sample], float | None], Callable[[float], str]], ...] = (
    ("descriptors", lambda sample: sample.fds, _whole),
    ("threads", lambda sample: sample.threads, _whole),
    ("processes", lambda sample: sample.processes, _whole),
    ("zombies", lambda sample: sample.zombies, _whole),
    ("resident", lambda sample: sample.rss, _mebibytes),
)


def _cores(samples: list[Sample]) -> float | None:
    """Cores used over about the last second."""
    latest = samples[-1]
    if latest.cpu is None:
        return None
    before = next((s for s in reversed(samples) if s.cpu is not None and latest.at - s.at >= 1.0), None)
    if before is None or before.cpu is None:
        return None
    return max(0.0, (latest.cpu - before.cpu) / (latest.at - before.at))


def watch(
    pid: int,
    *,
    console: Console,
    interval: float = 0.1,
    export: Export | None = None,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> View:
    """Show ``pid`` until it exits or ``stop`` is set; the last state is printed and returned.

    Raises ProbeError when there is no such process.
    """
    stop = stop or threading.Event()
    start = clock()
    view = View(pid, _name(pid))

    def seen(sample: Sample) -> None:
        view.sample(sample)
        if export:
            export.sample(sample)

    redrawn = console.is_terminal and not console.is_dumb_terminal
    with Sampler(pid, clock=lambda: clock() - start, interval=interval, on_sample=seen) as sampler:
        # Transient, because the last state is printed once more at the end.
        live = Live(console=console, refresh_per_second=8, transient=True) if redrawn else None
        if live:
            live.start()
        try:
            _loop(view, sampler, live, console, export, stop, lambda: clock() - start)
        finally:
            if live:
                live.stop()
        console.print(view.render(sampler.samples(), clock() - start))
    return view


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return "?"


def _loop(
    view: View,
    sampler: Sampler,
    live: Live | None,
    console: Console,
    export: Export | None,
    stop: threading.Event,
    now: Callable[[], float],
) -> None:
    next_census = next_line = 0.0
    while not stop.is_set():
        if now() >= next_census:
            began = now()
            taken = sampler.census(began)
            view.census(taken)
            if export and taken.processes:
                export.census(taken)
            # A census of a hundred thousand descriptors takes a third of a second: it must not take a large share of
            # the time.
            next_census = now() + max(CENSUS_EVERY, (now() - began) / CENSUS_SHARE)
        latest = sampler.latest()
        if live:
            live.update(view.render(sampler.samples(), now()))
        elif now() >= next_line:
            next_line = now() + PLAIN_EVERY
            console.print(Text(_line(view, latest)), soft_wrap=True)
        if sampler.ended:
            return
        stop.wait(REDRAW)


def _line(view: View, latest: Sample) -> str:
    if latest.gap is not None:
        return f"{latest.at:.1f} s  no reading: {terminal(latest.gap)}"
    shown = [
        f"{name} {'?' if (value := read(latest)) is None else show(value)}" for name, read, show in _ROWS
    ]
    words = (view.words() or "nothing has grown") if view.first else UNKNOWN
    return f"{latest.at:.1f} s  {'  '.join(shown)}  {terminal(words, 2000)}"
