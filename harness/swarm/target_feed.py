"""Follows the target with ``harness probe``, and relates its counts to the streams that the swarm opened.

The summary is informal: a verdict requires the idle controls and settled levels of ``harness guard``.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import gevent

from harness.core.stats.distributions import ratio_interval

MAX_READINGS = 3000  # beyond it every second one is dropped, so that they span the whole run
CENSUS_INTERVAL = 2.0  # seconds between two counts by class
RESTART_DELAY = 2.0  # seconds before the probe is started again
MAX_LINE = 4 << 20  # characters
MAX_ERRORS = 300  # characters of the end of what the command writes to standard error
PARTS = 20  # parts of the run from which the interval of a growth rate is computed
MIN_PAIRS = 5  # parts with answered streams: fewer give no interval that is worth showing
METRICS = ("fds", "threads", "rss")
LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class StreamTotals:
    """Streams of all users. open: now. answered: had their first event. cut: ended by Stop."""

    open: int = 0
    answered: int = 0
    cut: int = 0


class TargetFeed:
    """Readings, marks and classes of one target. streams: counts at the moment of the call. probe_command: arguments
    of a command that prints what ``harness probe`` prints, for a target on another machine."""

    def __init__(
        self,
        host: str,
        pid: int | None,
        streams: Callable[[], StreamTotals] = StreamTotals,
        *,
        probe_command: Sequence[str] = (),
    ) -> None:
        self.samples: deque[dict[str, Any]] = deque(maxlen=MAX_READINGS)
        self.marks: list[dict[str, Any]] = []
        self.classes: dict[str, int] = {}
        self.problem = ""
        self.target = f"pid {pid}" if pid else plain_address(host)
        self._streams = streams
        # Of each ``_every`` + 1 readings one is taken; ``_skipped`` were not since then.
        self._every = self._skipped = 0
        self._child: subprocess.Popen[str] | None = None
        argv = list(probe_command) or [sys.executable, "-m", "harness.cli", "probe"]
        if not probe_command:
            argv += ["--pid", str(pid)] if pid else ["--port", str(urlsplit(host).port or 80)]
        if not probe_command and not pid and urlsplit(host).hostname not in LOCAL:
            self.problem = (
                "the target is on another machine: pass --probe-command 'ssh HOST harness probe --pid PID', or "
                "--target-pid"
            )
            return
        gevent.spawn(self._follow, argv)

    def _follow(self, argv: list[str]) -> None:
        while True:
            try:
                child = self._child = subprocess.Popen(
                    argv,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    # The command may print anything; bytes that are not UTF-8 must not end the thread that reads it.
                    errors="replace",
                )
            except OSError as error:
                self.problem = f"{argv[0]}: {error.strerror}"
            else:
                self._read_lines(child)
            gevent.sleep(RESTART_DELAY)

    def _read_lines(self, child: subprocess.Popen[str]) -> None:
        """Process its lines until it ends. The program at the other end is not trusted."""
        assert child.stdout
        requester = gevent.spawn(self._request_censuses, child)
        last_words = gevent.spawn(self._end_of_errors, child)
        while line := child.stdout.readline(MAX_LINE):
            try:
                self._take(json.loads(line))
            except (ValueError, TypeError, AttributeError, RecursionError):
                self.problem = f"the probe sent {line[:100]!r}; expected what `harness probe` prints"
        requester.kill()
        child.wait()
        self.problem = last_words.get().strip() or self.problem or "the probe ended"

    @staticmethod
    def _end_of_errors(child: subprocess.Popen[str]) -> str:
        """The end of what it writes to standard error, read as it comes: ``ssh -v`` fills the pipe, and a full pipe
        would stop the readings."""
        assert child.stderr
        end = ""
        while part := child.stderr.read(MAX_ERRORS):
            end = (end + part)[-MAX_ERRORS:]
        return end

    @staticmethod
    def _request_censuses(child: subprocess.Popen[str]) -> None:
        assert child.stdin
        try:
            while True:
                child.stdin.write("census\n")
                child.stdin.flush()
                gevent.sleep(CENSUS_INTERVAL)
        except OSError:
            return  # it has exited; its stderr is read elsewhere

    def _take(self, line: dict[str, Any]) -> None:
        if isinstance(found := line.get("census"), dict):
            kinds = found.get("fds")
            self.classes = {str(kind): _count(held) for kind, held in kinds.items()} if kinds else {}
        if "at" not in line:
            return
        self.problem = line.get("gap", "")
        self._skipped += 1
        if self._skipped <= self._every:
            return
        self._skipped = 0
        streams = self._streams()
        reading = {"at": time.time(), "open": streams.open, "answered": streams.answered}
        self.samples.append(reading | {key: line.get(key) for key in METRICS})
        if len(self.samples) == MAX_READINGS:
            # Halving the resolution keeps the whole run in bounded memory; from then on only every second reading is
            # taken.
            self.samples = deque(list(self.samples)[::2], maxlen=MAX_READINGS)
            self._every = 2 * self._every + 1

    def mark(self, what: str) -> None:
        """The test has started or stopped."""
        self.marks.append({"at": time.time(), "what": what})
        # A web UI may start and stop tests for days.
        del self.marks[:-20]

    def state(self) -> dict[str, Any]:
        """Everything the page shows. Times are seconds since the epoch, ``rss`` bytes."""
        samples, streams = list(self.samples), self._streams()
        starts = [mark["at"] for mark in self.marks if mark["what"] == "start"]
        return {
            "samples": samples,
            "problem": self.problem,
            "marks": self.marks,
            "classes": self.classes,
            "streams": {"open": streams.open, "answered": streams.answered, "cut": streams.cut},
            "metrics": {name: summary(samples, name, starts[-1] if starts else None) for name in METRICS},
        }

    def stop(self) -> None:
        """End the probe."""
        if self._child and self._child.poll() is None:
            self._child.terminate()


def plain_address(url: str) -> str:
    """A URL without its user info, path and query, which may hold secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _count(held: Any) -> int:
    return int(held["count"] if isinstance(held, dict) else held)


def summary(samples: list[dict[str, Any]], name: str, started: float | None) -> dict[str, Any]:
    """Before the test, the peak since, and now; growth per answered stream with its 95 % interval.

    started: when the last test started; None: no test yet. What is not known is None.
    """
    read = [sample for sample in samples if sample.get(name) is not None]
    before = [sample[name] for sample in read if started is not None and sample["at"] < started]
    during = [sample for sample in read if started is None or sample["at"] >= started]
    return {
        "before": before[-1] if before else None,
        "peak": max((sample[name] for sample in during), default=None),
        "now": read[-1][name] if read else None,
        "growth": growth(during, name) if started is not None else None,
    }


def growth(during: list[dict[str, Any]], name: str) -> dict[str, float] | None:
    """Growth per answered stream; None with too few readings. Open streams have a descriptor each, which is
    subtracted. Only readings after the first answered stream count, because the first requests load modules for
    good."""
    begun = [sample for sample in during if sample["answered"] > during[0]["answered"]]
    # Single readings are too noisy, and neighbouring ones are correlated, so the run is divided into a few long parts.
    step = max(1, (len(begun) - 1) // PARTS)
    points = begun[::step]
    pairs = []
    for earlier, later in itertools.pairwise(points):
        answered = later["answered"] - earlier["answered"]
        grown = later[name] - earlier[name]
        if name == "fds":
            # More open streams are not a leak: the service has one socket for each.
            grown -= later["open"] - earlier["open"]
        if answered > 0:
            pairs.append((float(grown), float(answered)))
    if len(pairs) < MIN_PAIRS:
        return None
    rate, low, high = ratio_interval(pairs)
    return {"rate": rate, "low": low, "high": high}
