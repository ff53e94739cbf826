"""What a runtime says of itself from inside: the values, and the one interface that every runtime is read by."""

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
from harness.core.units import counted

OBJECTS = Key("memory", "objects")
BLOCKS = Key("memory", "blocks")
HEAP_BYTES = Key("memory", "heap-bytes")
ASYNCIO_TASKS = Key("tasks", "asyncio-task")
GREENLETS = Key("tasks", "greenlet")
GOROUTINES = Key("tasks", "goroutine")
HANDLES = Key("tasks", "handle")

TOP = 10
MAX_COUNT = 1 << 63  # of any count


F = TypeVar("F", bound=Callable[..., Any])


def cut_short(why: object) -> Note:
    """The note on an answer or a search that is not whole."""
    return Note(NoteKind.PARTIAL, f"partial: {why}")


LATE = cut_short("there was no time to compare containers")


def partial(bodies: Iterable[Mapping[str, Any]]) -> tuple[Note, ...]:
    """Notes on answers that agents cut, because the whole would have blocked their service for too long."""
    found = dict.fromkeys(str(body["partial"]) for body in bodies if body.get("partial"))
    return tuple(map(cut_short, found))


def as_probe_error(reading: F) -> F:
    """Decorate a function that reads another process: an invalid answer raises ProbeError, as no answer does."""

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
    processes: pids that were read. notes: what a reader of the figures should know.
    """

    levels: Mapping[Key, float]
    names: Mapping[str, int] = field(default_factory=dict)
    processes: tuple[int, ...] = ()
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot have been counted."""
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
    """Counters cannot be had; ``reason`` is one line: what was met, and what would help. unknown_runtime: nothing would
    help, because no counters exist for such a service."""

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
        """One line for a report: ``app.py:12 in serve: 1.00 blocks, 2104 B per connection``. per: what the
        cycles counted, when that is not connections."""
        if self.container:
            return f"{self.site} that gains {self.per_connection:.2f} per {per}"
        text = f"{self.site}: {self.per_connection:.2f} {self.unit}"
        if self.bytes_per_connection is not None:
            text += f", {self.bytes_per_connection:.0f} B"
        return f"{text} per {per}"


@dataclass(frozen=True, slots=True)
class Attribution:
    """What grew, most telling first; ``more`` further sites were left out; notes say what limits it."""

    growths: tuple[Growth, ...]
    more: int = 0
    notes: tuple[Note, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """As a text: the top ones, "and N more places", then the notes."""
        more = (f"and {counted(self.more, 'more place')}",) if self.more else ()
        return (*(growth.line() for growth in self.growths), *more, *(note.text for note in self.notes))


# Runs one load cycle to quiescence; returns how many connections it opened (or of what else drives the growth).
Cycle = Callable[[], float]
Left = Callable[[], float]
COMPARED = 2.0  # times as long as the first look at the containers takes the second, which describes them


def endless() -> float:
    """Seconds left, where nobody waits for the end of the search."""
    return math.inf


class RuntimeReader(Protocol):
    """How a runtime is read. ``read`` collects first: only ever at quiescence."""

    name: str

    def probe(self) -> Counters | Unavailable:
        """A first reading, which also loads what reading needs; call it before the first level counts."""
        ...

    def read(self) -> Counters:
        """Raises ProbeError when a process that answered before does not answer now: a gap, never a zero."""
        ...

    def attribute(self, cycle: Cycle, *, top: int = TOP, left: Left = endless) -> Attribution:
        """Where it grows, over two further cycles that ``cycle`` runs. left: the seconds that the search has still;
        what takes longer is left out, and noted. Raises ProbeError."""
        ...


class SearchOver(HarnessError):
    """Raised by a cycle that is not run any more: the search has had its time, or the service did not settle."""


def run_cycles(
    cycle: Cycle, wanted: int, between: Callable[[], None] = lambda: None
) -> tuple[list[float], tuple[Note, ...]]:
    """Run up to ``wanted`` cycles; what each counted, and a note where there are fewer.

    between: called after each. Raises ProbeError when not even one was complete.
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


def most(growths: list[Growth], top: int, notes: tuple[Note, ...] = ()) -> Attribution:
    """The first ``top`` of growths that are in order already."""
    return Attribution(tuple(growths[:top]), max(0, len(growths) - top), notes)
