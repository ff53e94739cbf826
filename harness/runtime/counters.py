"""The counters of a runtime, read from inside: the values, and the one interface by which every runtime is read."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from harness.core.errors import HarnessError, ProbeError
from harness.core.metric import Key
from harness.core.note import Note, NoteKind
from harness.core.record import Container
from harness.core.units import bytes_text, counted

OBJECTS = Key("memory", "objects")
BLOCKS = Key("memory", "blocks")
HEAP_BYTES = Key("memory", "heap-bytes")
ASYNCIO_TASKS = Key("tasks", "asyncio-task")
GREENLETS = Key("tasks", "greenlet")
GOROUTINES = Key("tasks", "goroutine")
HANDLES = Key("tasks", "handle")

MAX_PLACES = 10  # places that an attribution lists
MIN_PER_CONNECTION = 0.02  # units per connection: smaller growth is a reading's own noise
MAX_COUNT = 1 << 63  # of any count: a larger one is an invalid answer


F = TypeVar("F", bound=Callable[..., Any])


def cut_short(why: object) -> Note:
    """The note on an answer or a search that is incomplete."""
    return Note(NoteKind.PARTIAL, f"partial: {why}", {"reason": str(why)})


NO_TIME_FOR_CONTAINERS = cut_short("there was no time to compare containers")


def partial(bodies: Iterable[Mapping[str, Any]]) -> tuple[Note, ...]:
    """Notes on answers that agents cut short, because complete ones would have blocked the service for too long."""
    found = dict.fromkeys(str(body["partial"]) for body in bodies if body.get("partial"))
    return tuple(map(cut_short, found))


def as_probe_error(reading: F) -> F:
    """Decorate a function that reads another process: an invalid answer raises ProbeError, like a missing one."""

    @functools.wraps(reading)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            return reading(*args, **kwargs)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise ProbeError(
                f"what the target answered is not a reading ({type(error).__name__}: {str(error)[:100]}); expected the "
                "answer of the agent, or of the runtime itself: does the service answer in its place?"
            ) from None

    return cast("F", checked)


@dataclass(frozen=True, slots=True)
class Counters(Mapping[Key, float]):
    """One reading, taken after a collection and summed over the process tree.

    levels: level per key. names: threads or resources by name, numbers in names written ``N``.
    processes: pids that were read. notes: what a reader of the figures should know. limits: ceiling name → value, of
    the first reading.
    """

    levels: Mapping[Key, float]
    names: Mapping[str, int] = field(default_factory=dict)
    processes: tuple[int, ...] = ()
    notes: tuple[Note, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError for a level that is no count."""
        for key, level in self.levels.items():
            if not 0 <= level < MAX_COUNT:
                raise ValueError(f"{key} is {level!r}")

    def __getitem__(self, key: Key) -> float:
        return self.levels[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self.levels)

    def __len__(self) -> int:
        return len(self.levels)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """There are no counters. reason: one line that says why, and what would help. unknown_runtime: nothing would help,
    because no counters exist for such a service."""

    reason: str
    unknown_runtime: bool = False


@dataclass(frozen=True, slots=True)
class Growth:
    """Something that grew with the connections, and where.

    site: ``file:line in function``, a type, a stack's own line, or a resource. kind: ``line`` | ``task`` |
    ``greenlet`` | ``thread`` | ``type`` | ``goroutine`` | ``resource`` | ``class``. unit: what is counted.
    bytes_per_connection: where memory is known as well. frames: the whole stack, innermost first, frames of the
    service before those of libraries. own: the site is code of the service. container: of kind ``container``.
    """

    site: str
    per_connection: float
    unit: str
    kind: str = "line"
    bytes_per_connection: float | None = None
    frames: tuple[str, ...] = ()
    own: bool = True
    container: Container | None = None

    @classmethod
    def of_container(cls, container: Container, rate: float, frames: tuple[str, ...], *, own: bool) -> Growth:
        """A container that gains elements."""
        return cls(container.site, rate, "elements", "container", None, frames, own, container)

    def line(self, per: str = "connection") -> str:
        """One line for a report: ``app.py:12 in serve: 1.00 blocks, 2.1 kB per connection``. per: what the
        cycles counted, when that is not connections; "" where the numbers are sums."""
        each = f" per {per}" if per else ""
        amount = f"{self.per_connection:.2f}" if per else f"{self.per_connection:,.0f}"
        if self.container:
            return f"{self.site} that gains {amount}{each}"
        text = f"{self.site}: {amount} {self.unit}"
        if self.bytes_per_connection is not None:
            text += f", {bytes_text(self.bytes_per_connection)}"
        return f"{text}{each}"


@dataclass(frozen=True, slots=True)
class Attribution:
    """The places that grew, the most useful first. more: how many further places were left out. notes: the limits of
    the search."""

    growths: tuple[Growth, ...]
    more: int = 0
    notes: tuple[Note, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """The attribution as text: the first places, "and N more places", then the notes."""
        more = (f"and {counted(self.more, 'more place')}",) if self.more else ()
        return (*(growth.line() for growth in self.growths), *more, *(note.text for note in self.notes))


# Runs one load cycle to quiescence. Returns how many connections it opened, or the count of another driver of growth.
Cycle = Callable[[], float]
TimeLeft = Callable[[], float]  # the seconds that remain for a search
# The second reading of the containers also describes them, and takes this many times as long as the first.
SECOND_READING_FACTOR = 2.0


def unlimited() -> float:
    """Seconds left, for a search without a time limit."""
    return math.inf


class RuntimeReader(Protocol):
    """Reads one runtime. ``read`` forces a garbage collection, so it is called at quiescence only."""

    name: str

    def probe(self) -> Counters | Unavailable:
        """A first reading, which also loads what reading needs; call it before the first level counts."""
        ...

    def read(self) -> Counters:
        """Raises ProbeError when a process that answered before does not answer now: a gap, never a zero."""
        ...

    def attribute(self, cycle: Cycle, *, time_left: TimeLeft = unlimited) -> Attribution:
        """Find where it grows, over two or three further cycles that ``cycle`` runs. time_left: returns the seconds
        that remain for the search; a step that would take longer is left out, with a note. Raises ProbeError."""
        ...


class SearchOver(HarnessError):
    """Raised instead of running a cycle: the time of the search is over, or the service did not settle."""


def run_cycles(
    cycle: Cycle, wanted: int, between: Callable[[], None] = lambda: None
) -> tuple[list[float], tuple[Note, ...]]:
    """Run up to ``wanted`` cycles. Returns the count of each, and a note if there were fewer.

    between: called after each complete cycle. Raises ProbeError if none was complete.
    """
    done: list[float] = []
    for _ in range(wanted):
        try:
            done.append(cycle())
        except SearchOver as error:
            if not done:
                raise ProbeError(str(error)) from None
            return done, (cut_short(error),)
        between()
    return done, ()


def first_places(growths: list[Growth], notes: tuple[Note, ...] = ()) -> Attribution:
    """The first MAX_PLACES of growths that are sorted already."""
    return Attribution(tuple(growths[:MAX_PLACES]), max(0, len(growths) - MAX_PLACES), notes)
