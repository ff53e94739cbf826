"""Go, read through the ``net/http/pprof`` pages that the service mounts. Nothing is injected.

Formats: runtime/pprof, the text of ``debug=1`` (pprof.go, writeHeapInternal and printCountProfile).
"""

from __future__ import annotations

import http.client
import os
import re
import time
from urllib.parse import urlsplit

from harness.core.errors import ProbeError
from harness.core.frames import own_first
from harness.core.note import Note, NoteKind
from harness.process.listeners import users_on
from harness.process.proc import users_of_tree
from harness.runtime.counters import (
    GOROUTINES,
    HEAP_BYTES,
    OBJECTS,
    Attribution,
    Counters,
    Cycle,
    TimeLeft,
    Unavailable,
    as_probe_error,
    cut_short,
    first_places,
    run_cycles,
    unlimited,
)
from harness.runtime.go_places import Stack, parse, sampling, scaled, site_growth, stack_growth, stacks_of

PAGES = "/debug/pprof/"
TIMEOUT = 20.0  # seconds: a collection of a heap of tens of GB
STREAM = "text/event-stream"
LIMIT = 64 << 20  # bytes of one profile's text
# sync.Pool keeps what it holds over one collection (its victim cache), and a finalizer needs one more.
COLLECTIONS = 3
# Finalizers run in a goroutine of their own: without a pause what they free is still there, and the count of
# objects scatters by ±40 a reading instead of ±5 (measured, Go 1.26, 300 connections a cycle).
COLLECTION_PAUSE = 0.05  # seconds between two collections
MAX_SAMPLING = 4096  # bytes between two samples of the heap, beyond which small leaks may be missing
NO_TIME = cut_short("there was no time to compare the heap")
LOCAL = ("localhost", "::1")
TOTAL = re.compile(r"^goroutine profile: total (\d+)")
# Listing every stack with its state stops the service: 5,000 of three frames for 11 ms (measured, Go 1.26).
MAX_STACKS = 5_000
MOUNT = "mount net/http/pprof in the service, or pass its address with --pprof URL"


class FinalResponse(http.client.HTTPResponse):
    """Skips every informational response; the standard library skips 100 Continue alone (RFC 9110, 15.2)."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 < status < 200 or status == 101:
                return version, status, reason
            http.client.parse_headers(self.fp)


class GoCounters:
    """The pprof pages of one process."""

    name = "go"

    def __init__(self, pid: int, url: str) -> None:
        """url: the service's origin, or the whole address of its pprof index. Raises ProbeError when malformed."""
        parts = urlsplit(url if "//" in url else f"http://{url}")
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            port = 0
        if parts.scheme not in ("http", "https") or not parts.hostname or not port:
            raise ProbeError(
                f"{url!r} is not an address of pprof pages; expected a URL such as http://127.0.0.1:6060/debug/pprof/"
            )
        self._port = port if parts.hostname in LOCAL or parts.hostname.startswith("127.") else None
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, port, timeout=TIMEOUT)
        self._connection.response_class = FinalResponse
        self._pages = parts.path.rstrip("/") + "/" if "pprof" in parts.path else PAGES
        self.pid = pid
        self.url = f"{parts.scheme}://{parts.netloc}{self._pages}"

    def probe(self) -> Counters | Unavailable:
        """A first reading, or why there is none."""
        try:
            return self.read()
        except ProbeError as error:
            return Unavailable(str(error))

    @as_probe_error
    def read(self) -> Counters:
        """Goroutines and the live heap after collections; see RuntimeReader."""
        text, goroutines = self._profiles()
        levels = {OBJECTS: _figure(text, "HeapObjects"), HEAP_BYTES: _figure(text, "HeapAlloc")}
        found = TOTAL.match(goroutines)
        if not found:
            raise ProbeError(
                f"{self.url}goroutine: not a goroutine profile: {goroutines[:60]!r}; expected Go's pprof"
            )
        levels[GOROUTINES] = float(found[1])
        names: dict[str, int] = {}
        for frames, (count, _) in parse(goroutines).items():
            own = own_first("go", frames)
            name = own[0][2] if own else "(runtime)"
            # By the innermost function of the service, so that goroutines that wait at several lines of it are one
            # entry.
            names[name] = names.get(name, 0) + int(count)
        return Counters(levels, names, (self.pid,))

    def attribute(self, cycle: Cycle, *, time_left: TimeLeft = unlimited) -> Attribution:
        """Goroutines by stack over two cycles, then the live heap by allocation site."""
        began = time.monotonic()
        heap, profile = self._profiles()
        # The second reading takes about as long as the first: both force the same collections.
        needed = time.monotonic() - began
        stacks = self._stacks(profile)
        cycles, stopped = run_cycles(cycle, 2)
        connections = sum(cycles)
        late = time_left() < needed
        heap_after, profile_after = self._profiles() if not late else (heap, self._goroutines())
        stacks_after = self._stacks(profile_after) if stacks is not None else None
        rate = sampling(heap_after)
        notes = (*stopped, *((NO_TIME,) if late else ()))
        if rate > MAX_SAMPLING and not late:
            text = (
                f"the heap was sampled every {rate} bytes, so small leaks may be missing here: start the service with "
                "GODEBUG=memprofilerate=1 to see each allocation"
            )
            notes = (*notes, Note(NoteKind.SEARCH_LIMIT, text))
        waiting = (
            site_growth(parse(profile), parse(profile_after), connections, "goroutines", "goroutine")
            if stacks is None or stacks_after is None
            else stack_growth(stacks, stacks_after, connections)
        )
        growths = [
            *waiting,
            *site_growth(
                scaled(parse(heap), rate), scaled(parse(heap_after), rate), connections, "objects", "line"
            ),
        ]
        return first_places(growths, notes)

    def _goroutines(self) -> str:
        """The goroutine profile alone, which needs no collection."""
        self._check_listener()
        try:
            return self._page("goroutine?debug=1")
        finally:
            self._connection.close()

    def _stacks(self, profile: str) -> dict[Stack, int] | None:
        """Every goroutine by its state and stack; None if there are too many, or the page cannot be read."""
        found = TOTAL.match(profile)
        if not found or int(found[1]) > MAX_STACKS:
            return None
        try:
            return stacks_of(self._page("goroutine?debug=2"))
        except ProbeError:
            return None
        finally:
            self._connection.close()

    def _profiles(self) -> tuple[str, str]:
        """Heap and goroutine profile. All pages use one connection, so that the service's side of it is the same in
        every reading. It is closed between readings, so that the service can settle."""
        self._check_listener()
        try:
            for turn in range(COLLECTIONS):
                if turn:
                    time.sleep(COLLECTION_PAUSE)
                # Only the last of the profiles counts; each request forces one collection.
                heap = self._page("heap?gc=1&debug=1")
            return heap, self._page("goroutine?debug=1")
        finally:
            self._connection.close()

    def _check_listener(self) -> None:
        """Raise ProbeError if another user of this machine listens where the pages are expected."""
        other_users = users_on(self._port) - users_of_tree(self.pid) - {0, os.geteuid()} if self._port else ()
        if other_users:
            raise ProbeError(
                f"{self.url}: user {min(other_users)} listens there; expected a user of process {self.pid} "
                f"({', '.join(map(str, sorted(users_of_tree(self.pid))))})"
            )

    def _page(self, name: str) -> str:
        """One page, over the connection that is open. Raises ProbeError."""
        try:
            self._connection.request("GET", self._pages + name)
            response = self._connection.getresponse()
            kind = response.getheader("Content-Type", "")
            # A service without the pprof pages may answer with a stream, whose body would never end.
            body = b"" if kind.startswith(STREAM) else _all_of(response)
        except (http.client.HTTPException, OSError) as error:
            raise ProbeError(
                f"{MOUNT} ({self.url}{name}: {type(error).__name__}: {error}; expected the pprof pages of the service)"
            ) from None
        # Only after the body has been read: the connection must be free for the next page.
        if response.status != 200:
            raise ProbeError(
                f"{MOUNT} ({self.url}{name} answers HTTP {response.status}; expected the pprof pages)"
            )
        if kind.startswith(STREAM):
            raise ProbeError(
                f"{MOUNT} ({self.url}{name} answers a stream of events; expected the pprof pages)"
            )
        if len(body) > LIMIT:
            raise ProbeError(f"{self.url}{name}: the page is larger than {LIMIT >> 20} MiB; expected less")
        return body.decode(errors="replace")


def _all_of(response: http.client.HTTPResponse) -> bytes:
    """The body, at most one byte more than LIMIT. Raises TimeoutError if it has not ended after TIMEOUT seconds,
    because the response may be an unlimited stream."""
    parts: list[bytes] = []
    size, end = 0, time.monotonic() + TIMEOUT
    while size <= LIMIT and (part := response.read1(1 << 16)):
        parts.append(part)
        size += len(part)
        if time.monotonic() > end:
            raise TimeoutError(f"still not complete after {TIMEOUT:g} s")
    if size <= LIMIT:
        response.read()  # nothing is left, but only this ends a body with a length (http.client, read1)
    return b"".join(parts)


def _figure(text: str, name: str) -> float:
    found = re.search(rf"^# {name} = (\d+)", text, re.MULTILINE)
    if not found:
        raise ProbeError(f"no {name} in the heap profile: {text[:60]!r}; expected Go's pprof with debug=1")
    return float(found[1])
