"""Compares snapshots before and after, repeatedly until nothing is left; after the timeout the rest is a leak."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

from harness.core.errors import ConfigError
from harness.core.units import size
from harness.no_leaks.ignore import Ignore, checked, covered
from harness.no_leaks.snapshot import Snapshot, snapshot, types_of

TIMEOUT = 2.0  # seconds in which threads, tasks and connections may still end by themselves
FIRST_WAIT, MAX_WAIT = 0.001, 0.1  # seconds between two comparisons; each is twice as long as the one before
# Seconds that the check must have slept, because a suspended machine may skip the whole timeout.
MIN_SLEPT = 0.4
MAX_SHOWN = 10  # objects of each kind that an error lists

Leaks = dict[str, list[str]]
"""kind → a description of each leaked object."""


class LeaksError(AssertionError):
    """Something was not released. leaks: kind → descriptions."""

    def __init__(self, leaks: Leaks, timeout: float | None = None) -> None:
        self.leaks = leaks
        waited = f", {timeout:g} s after the end" if timeout is not None else ""
        lines = [f"{count(leaks)} left{waited}:"]
        for kind, texts in leaks.items():
            lines.append(f"  {len(texts)} {kind}:")
            lines += [f"    {text}" for text in texts[:MAX_SHOWN]]
            if len(texts) > MAX_SHOWN:
                lines.append(f"    and {len(texts) - MAX_SHOWN} more")
        super().__init__("\n".join(lines))


def count(leaks: Mapping[str, list[str]]) -> str:
    """``2 descriptors, 1 threads``."""
    return ", ".join(f"{len(texts)} {kind}" for kind, texts in leaks.items())


def grown(before: Snapshot, after: Snapshot, *, ignore: Iterable[Ignore] = (), spare: int = 0) -> Leaks:
    """The things in ``after`` that were not in ``before``. spare: bytes of traced memory that may be retained."""
    found: Leaks = {}
    ignores = tuple(ignore)
    for kind, things in after.things.items():
        old = before.things.get(kind, {})
        for key, thing in things.items():
            # An identity may be an address, which is reused: a weak reference shows whether it is the same object.
            known = old.get(key)
            same = known is not None and (
                known.ref is None or thing.ref is None or known.ref() is thing.ref()
            )
            if not same and not covered(ignores, kind, thing.text):
                found.setdefault(kind, []).append(thing.text)
    for name, amount in after.objects.items():
        more = amount - before.objects.get(name, 0)
        if more > 0 and not covered(ignores, "objects", name):
            found.setdefault("objects", []).append(f"{name}: {more} more ({amount} in all)")
    if after.memory is not None and before.memory is not None and after.memory - before.memory > spare:
        text = f"{after.memory - before.memory} B more traced memory; allowed are {spare} B"
        if not covered(ignores, "memory", text):
            found["memory"] = [text]
    return found


def assert_no_growth(
    before: Snapshot, after: Snapshot, ignore: Iterable[Ignore] = (), *, memory: str = "0"
) -> None:
    """Compare two snapshots in a check of your own. memory: how much traced memory may be retained, ``"64 KiB"``.

    Raises LeaksError, an AssertionError, with what is in ``after`` and was not in ``before``.
    """
    __tracebackhide__ = True
    for given in (before, after):
        if not isinstance(given, Snapshot):
            raise ConfigError(f"assert_no_growth({given!r}): expected what snapshot() returned")
    leaks = grown(before, after, ignore=checked(ignore), spare=_bytes(memory))
    if leaks:
        raise LeaksError(leaks)


class NoLeaks:
    """One check: a context manager, and an asynchronous one that keeps the event loop running while it waits."""

    def __init__(
        self,
        *,
        ignore: Iterable[Ignore] = (),
        objects: Iterable[type] = (),
        memory: str | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._ignore = checked(ignore)
        self._objects = types_of(objects)
        self._spare = _bytes(memory) if memory is not None else None
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout >= 0:
            raise ConfigError(f"timeout={timeout!r}: expected a number of seconds, at least 0")
        self._timeout = timeout
        self._before: Snapshot | None = None
        self._tracing = False

    def ignore(self, kind: str, match: str, reason: str) -> None:
        """Ignore something that may be retained: a kind of KINDS (or ``*``), a shell pattern, and the reason."""
        self._ignore.append(Ignore(kind, match, reason))

    def adopt(self, before: Snapshot, after: Snapshot) -> None:
        """Exclude what was added between two snapshots: its owner lives longer than this check."""
        if self._before is not None:
            self._before = adopted(self._before, before, after)

    def begin(self) -> None:
        """Take a snapshot of the process."""
        if self._spare is not None and not tracemalloc.is_tracing():
            tracemalloc.start()
            self._tracing = True
        if self._spare is not None or self._objects:
            # Garbage from before would be collected during the block, and hide as much growth.
            gc.collect()
        self._before = self._take()

    def _take(self) -> Snapshot:
        return snapshot(objects=self._objects, memory=self._spare is not None)

    def _rounds(self) -> Iterator[float]:
        """Compare; yield the time to wait before the next comparison; end once nothing is left. Raises LeaksError."""
        __tracebackhide__ = True
        assert self._before is not None, "begin() comes first"
        deadline = time.monotonic() + self._timeout
        wait, slept, must_sleep = FIRST_WAIT, 0.0, min(self._timeout, MIN_SLEPT)
        collect = self._spare is not None or bool(self._objects)
        while True:
            if collect:
                gc.collect()
            leaks = grown(self._before, self._take(), ignore=self._ignore, spare=self._spare or 0)
            if not leaks:
                return
            if collect:
                if slept >= must_sleep and time.monotonic() >= deadline:
                    raise LeaksError(leaks, self._timeout)
                yield wait
                slept += wait
                wait = min(2 * wait, MAX_WAIT)
            collect = True  # garbage is not a leak, but a collection is slow, so it runs only when something is left

    def end(self) -> None:
        """Compare until nothing is left. Raises LeaksError when something is left after the timeout."""
        __tracebackhide__ = True
        try:
            for wait in self._rounds():
                time.sleep(wait)
        finally:
            self._stop_tracing()

    def _stop_tracing(self) -> None:
        if self._tracing:
            tracemalloc.stop()
            self._tracing = False

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        if error is None:
            self.end()
        else:
            self._stop_tracing()  # the block has failed, and what it left behind would only hide the reason

    async def __aenter__(self) -> Self:
        self.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        try:
            if error is None:
                for wait in self._rounds():
                    await asyncio.sleep(wait)
        finally:
            self._stop_tracing()


def _bytes(memory: object) -> int:
    """Bytes from a text or a whole number. Raises ConfigError."""
    return int(size("memory", memory if isinstance(memory, str) else repr(memory)))


def adopted(base: Snapshot, before: Snapshot, after: Snapshot) -> Snapshot:
    """``base`` and everything that is in ``after`` and not in ``before``."""
    things = {
        kind: {
            **base.things.get(kind, {}),
            **{k: v for k, v in held.items() if k not in before.things.get(kind, {})},
        }
        for kind, held in after.things.items()
    }
    return Snapshot(things, base.objects, base.memory)


def no_leaks(
    *,
    ignore: Iterable[Ignore] = (),
    objects: Iterable[type] = (),
    memory: str | None = None,
    timeout: float = TIMEOUT,
) -> NoLeaks:
    """A context manager that fails when its block leaves something behind.

    ignore: what may be retained, each with its reason. objects: types whose live instances must not grow in number.
    memory: traced memory that may be retained, such as ``"64 KiB"`` (with tracemalloc the block is several times
    slower). timeout: seconds until what still exists counts as a leak. Raises LeaksError, an AssertionError.
    """
    return NoLeaks(ignore=ignore, objects=objects, memory=memory, timeout=timeout)
