"""The live view, line by line, from samples and censuses that were made up."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from harness.core.sample import Census, Sample
from harness.probe import watch
from harness.probe.sparkline import sparkline
from harness.probe.watch import View

MIB = 1 << 20
NOW = Sample(10.0, fds=30, threads=4, processes=2, zombies=0, rss=6 * MIB, cpu=2.5)
FIRST = Census(1.0, fds={"file": 3, "eventfd": 9, "pipe": 2}, memory={"anonymous": 10 * MIB}, processes=1)
LAST = Census(
    7.4, fds={"file": 3, "eventfd": 5, "pipe": 9, "socket": 1}, memory={"anonymous": 11 * MIB}, processes=1,
    examples={"file": ("/var/log",), "pipe": ("pipe:[7]", "pipe:[8]")},
    unreadable=("a", "b", "c", "d"),
)  # fmt: skip


def view_of(*censuses: Census, name: str = "app") -> View:
    view = View(7, name)
    for one in censuses:
        view.census(one)
    return view


def shown(view: View, samples: Sequence[Sample], now: float = 12.3, width: int = 120) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(view.render(list(samples), now))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_the_headline_names_the_process_and_how_long_it_was_watched() -> None:
    assert shown(view_of(), [NOW])[0] == "pid 7 (app), watched for 12 s"
    assert shown(view_of(), [Sample(1.0, gap="gone\x1b[31m")])[0].startswith("pid 7: no reading: gone")
    assert "\x1b" not in shown(view_of(name="a\x1b[31m"), [NOW])[0]


def test_each_count_is_shown_with_its_change_since_the_first_reading() -> None:
    first = Sample(0.5, gap="not yet")
    then = Sample(9.0, fds=21, threads=4, processes=3, zombies=0, rss=8 * MIB, cpu=1.0)
    rows = {line.split()[0]: line.split() for line in shown(view_of(), [first, then, NOW]) if line.strip()}
    assert rows["now"] == ["now", "change"]
    assert rows["descriptors"][:3] == ["descriptors", "30", "+9"]
    assert rows["threads"] == ["threads", "4", "·▁▁"]
    assert rows["processes"][:3] == ["processes", "2", "-1"]
    assert rows["resident"][:4] == ["resident", "6.0", "MiB", "-2.0"]
    assert rows["cpu"] == ["cpu", "150.0", "%"]
    assert rows["descriptors"][3] == "·▁█"
    lost = replace(NOW, fds=None)
    rows = {line.split()[0]: line.split() for line in shown(view_of(), [then, lost]) if line.strip()}
    assert rows["descriptors"] == ["descriptors", "?", "▁·"], "what is not known has not changed"
    rows = {line.split()[0]: line.split() for line in shown(view_of(), [lost, NOW]) if line.strip()}
    assert rows["descriptors"] == ["descriptors", "30", "·▁"]
    unread = {line.split()[0]: line.split() for line in shown(view_of(), [Sample(3.0)]) if line.strip()}
    assert unread["descriptors"][:2] == ["descriptors", "?"]
    assert unread["cpu"] == ["cpu", "?"]


@pytest.mark.parametrize(
    ("cpus", "cores"),
    [
        (((0.0, 1.0), (1.0, 1.5)), 0.5), (((0.0, 1.0), (0.99, 1.5)), None), (((0.0, 1.0), (4.0, 3.0)), 0.5),
        (((0.0, 1.0), (2.0, 9.0), (2.5, 1.25)), 0.1), (((0.0, None), (2.0, 1.0)), None),
        (((0.0, 1.0), (2.0, None)), None),
        (((0.0, 3.0), (2.0, 1.0)), 0.0), (((0.0, 1.0), (1.0, None), (3.0, 1.3)), 0.1),
    ],
)  # fmt: skip
def test_cores_are_those_of_about_the_last_second(
    cpus: tuple[tuple[float, float | None], ...], cores: float | None
) -> None:
    found = watch._cores([Sample(at, cpu=cpu) for at, cpu in cpus])
    assert found == (None if cores is None else pytest.approx(cores))


def test_classes_are_ranked_by_their_change_with_examples() -> None:
    lines = shown(view_of(FIRST, LAST), [NOW])
    start = next(at for at, line in enumerate(lines) if line.split()[:1] == ["class"])
    table = [line.split() for line in lines[start : start + 5]]
    assert table == [
        ["class", "now", "change", "for", "example"], ["pipe", "9", "+7", "pipe:[7],", "pipe:[8]"],
        ["eventfd", "5", "-4"], ["socket", "1", "+1"], ["file", "3", "/var/log"],
    ]  # fmt: skip
    assert [line for line in lines if line.startswith("not read")] == [
        "not read: a",
        "not read: b",
        "not read: c",
    ]
    assert any(line.startswith("grown since the start (6 s): +7 pipe") for line in lines)
    assert any(line.endswith("+1.0 MiB of anonymous memory") for line in lines)


def test_twelve_classes_are_shown_and_the_rest_is_counted() -> None:
    for count, rest in ((12, ""), (13, "and 1 more"), (20, "and 8 more")):
        many = Census(1.0, fds={f"class-{n:02}": n + 1 for n in range(count)}, processes=1)
        lines = shown(view_of(many), [NOW])
        assert sum(line.startswith("class-") for line in lines) == 12
        assert [line for line in lines if line.startswith("and ")] == ([rest] if rest else [])
        assert next(line for line in lines if line.startswith("class-")).split()[0] == f"class-{count - 1:02}"


def test_growth_of_memory_is_shown_from_a_mebibyte() -> None:
    less = replace(LAST, fds=FIRST.fds, memory={"anonymous": 11 * MIB - 1})
    assert view_of(FIRST, less).words() == ""
    assert "nothing has grown since the start (6 s)" in shown(view_of(FIRST, less), [NOW])
    assert (
        view_of(FIRST, replace(less, memory={"anonymous": 11 * MIB})).words()
        == "+1.0 MiB of anonymous memory"
    )
    assert view_of().words() == ""
    assert view_of().grown() == []


def test_growth_counts_from_the_first_census_that_saw_a_process() -> None:
    view = view_of(Census(0.0), FIRST, Census(2.0), LAST)
    assert (view.first, view.last) == (FIRST, LAST)
    assert view_of(Census(0.0)).first is None
    assert watch.UNKNOWN in shown(view_of(Census(0.0)), [NOW])


def test_the_last_four_events_are_kept() -> None:
    view = view_of(FIRST)
    view.sample(Sample(1.0, events=("one", "two", "three")))
    view.sample(Sample(2.0))
    view.sample(Sample(3.0, events=("four", "five\x07")))
    assert view.events == ["two", "three", "four", "five\x07"]
    assert [line[:4] for line in shown(view, [NOW])[-4:]] == ["two", "thre", "four", "five"]


def test_a_plain_line_has_every_count_and_what_grew() -> None:
    assert watch._line(view_of(), NOW) == (
        f"10.0 s  descriptors 30  threads 4  processes 2  zombies 0  resident 6.0 MiB  {watch.UNKNOWN}")  # fmt: skip
    assert watch._line(view_of(FIRST), replace(NOW, threads=None)).endswith(
        "threads ?  processes 2  zombies 0  resident 6.0 MiB  nothing has grown")  # fmt: skip
    assert "+7 pipe" in watch._line(view_of(FIRST, LAST), NOW)
    assert watch._line(view_of(), Sample(3.25, gap="it\x1b is gone")).startswith("3.2 s  no reading: it")


@pytest.mark.parametrize(("width", "length"), [(100, 40), (40, 40), (12, 12)])
def test_a_series_takes_what_is_left_up_to_forty_columns(width: int, length: int) -> None:
    console = Console(width=width)
    line = watch.Sparkline([float(n) for n in range(200)])
    measured = line.__rich_measure__(console, console.options)
    assert (measured.minimum, measured.maximum) == (1, length)
    (text,) = line.__rich_console__(console, console.options)
    assert len(str(text)) == length


@pytest.mark.parametrize(
    ("values", "width", "text"),
    [
        ([], 5, ""), ([1.0], 0, ""), ([1.0], 5, "▁"), ([1.0, 2.0], 5, "▁█"), ([None, 1.0, None, 3.0], 4, "·▁·█"),
        ([None, None], 4, "··"), ([0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"), ([0, 9, 0, 0, 0, 1], 3, "█▁▂"),
        ([0, None, None, None, 5, 5], 3, "▁·█"), ([3.0, 3.0, 3.0], 3, "▁▁▁"), ([0, 1, 2, 3, 4], 2, "▁█"),
    ],
)  # fmt: skip
def test_a_sparkline_shows_peaks_and_gaps(values: list[float | None], width: int, text: str) -> None:
    assert sparkline(values, width) == text


class ScriptedSampler:
    """A sampler with a scripted end; each look costs a tenth of a second of a made-up clock."""

    def __init__(self, ends_after: int, seconds: float = 0.0) -> None:
        self.now, self.looks, self.censuses = 0.0, 0, list[float]()
        self._ends_after, self._seconds = ends_after, seconds

    @property
    def ended(self) -> bool:
        return self.looks >= self._ends_after

    def clock(self) -> float:
        return self.now

    def census(self, at: float) -> Census:
        self.censuses.append(at)
        self.now += self._seconds
        return replace(FIRST, at=at)

    def latest(self) -> Sample:
        self.looks += 1
        return replace(NOW, at=self.now)

    def samples(self) -> list[Sample]:
        return [NOW]


class Step(threading.Event):
    """An event whose ``wait`` advances the simulated clock."""

    def __init__(self, scripted: ScriptedSampler) -> None:
        super().__init__()
        self.scripted, self.waits = scripted, list[float | None]()

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        self.scripted.now += timeout or 0.0
        return self.is_set()


@pytest.mark.parametrize(
    ("seconds", "censuses"), [(0.0, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]), (0.1, [0.0, 5.1, 10.2])]
)
def test_a_plain_stream_gets_a_line_every_five_seconds_and_a_large_target_few_censuses(
    seconds: float, censuses: list[float]
) -> None:
    """A census that takes a tenth of a second is taken every five seconds."""
    scripted, view = ScriptedSampler(45, seconds), View(7, "app")
    stream, exported = io.StringIO(), list[Any]()
    export = type(
        "Board", (), {"sample": lambda self, one: None, "census": lambda self, one: exported.append(one)}
    )()
    watch._loop(view, scripted, None, Console(file=stream, width=200), export, Step(scripted), scripted.clock)  # type: ignore[arg-type]
    assert scripted.censuses == pytest.approx(censuses, abs=0.3)
    assert len(exported) == len(scripted.censuses)
    times = [float(line.split()[0]) for line in stream.getvalue().splitlines()]
    assert len(times) == 3
    assert times[1] - times[0] == pytest.approx(5.0, abs=0.3)


def test_a_stop_ends_the_loop_before_any_reading() -> None:
    scripted = ScriptedSampler(9)
    stop = Step(scripted)
    stop.set()
    watch._loop(View(7), scripted, None, Console(file=io.StringIO()), None, stop, scripted.clock)  # type: ignore[arg-type]
    assert (scripted.looks, scripted.censuses) == (0, [])
    scripted = ScriptedSampler(3)
    stop = Step(scripted)
    watch._loop(View(7), scripted, None, Console(file=io.StringIO()), None, stop, scripted.clock)  # type: ignore[arg-type]
    assert stop.waits == [watch.REDRAW] * 2
