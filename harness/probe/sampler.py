"""A thread that reads a tree ten times a second and keeps the samples."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from harness.core.sample import Census, Sample
from harness.probe.census import census
from harness.probe.history import History
from harness.probe.limits import limits
from harness.probe.sockets import inbound
from harness.probe.tree import Tree

STALE = 1.0  # seconds (or ten intervals) without a reading after which the last one is out of date


class Sampler:
    """Context manager. on_sample is called in the sampler's thread, after each reading; an error in
    it stops the sampling, and is raised by ``latest`` and again at the end. adopter: as in ``Tree``.

    Raises ProbeError when the process does not exist. Once it has exited, the last sample is a gap.
    """

    def __init__(
        self,
        pid: int,
        *,
        clock: Callable[[], float],
        interval: float = 0.1,
        on_sample: Callable[[Sample], None] | None = None,
        adopter: int = 0,
    ) -> None:
        self.pid = pid
        self._tree = Tree(pid, adopter=adopter)
        self._clock = clock
        self._interval = interval
        self._stale = max(STALE, 10 * interval)
        self._on_sample = on_sample
        self._history = History()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.error: BaseException | None = None
        # Read here, so that ``latest`` always has a sample and a missing process is an error of the constructor.
        self._latest = self._tree.read(clock())
        self._history.append(self._latest)
        self._ended = self._tree.ended
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)

    def _run(self) -> None:
        due = self._clock() + self._interval
        try:
            while not self._tree.ended and not self._stop.wait(max(0.0, due - self._clock())):
                late = self._clock() - self._latest.at
                # A stopped or starved probe must not look like a service that did not change, so the record gets a
                # gap.
                if late > self._stale:
                    self._keep(Sample(self._latest.at + self._interval, gap=_delayed(late)))
                self._keep(self._tree.read(self._clock()))
                # Missed readings are not caught up in a burst: after a delay the next one is due at once, and then the
                # pace is kept.
                due = max(due + self._interval, self._clock())
        except BaseException as error:
            self.error = error

    def _keep(self, sample: Sample) -> None:
        with self._lock:
            self._latest = sample
            self._history.append(sample)
        if self._on_sample:
            self._on_sample(sample)
        # Set last, so that a caller that sees it also finds the gap with the reason.
        self._ended = self._tree.ended

    def latest(self) -> Sample:
        """The newest reading. A gap, not an old value, when the sampler itself was delayed."""
        if self.error:
            raise self.error
        sample = self._latest
        late = self._clock() - sample.at
        if late > self._stale and not self._ended and not self._stop.is_set():
            return Sample(self._clock(), gap=_delayed(late))
        return sample

    @property
    def ended(self) -> bool:
        """True once the target has exited: nothing more will be read."""
        return self._ended

    def samples(self) -> list[Sample]:
        """The readings, oldest first; fewer of the older ones, so that memory is bounded."""
        with self._lock:
            return self._history.all()

    def census(self, at: float) -> Census:
        """Classify everything that the processes of the tree hold now, orphans included."""
        newest = self._tree.newest  # read first, so that processes started in between are checked again
        return census(self.pid, at=at, known=self._tree.processes(), newest=newest)

    def inbound(self, port: int) -> int | None:
        """Established connections to ``port`` as the target sees them; None once it has exited."""
        return inbound(self.pid, port)

    def limits(self) -> dict[str, float]:
        """The ceilings that the target may reach."""
        return limits(self.pid)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        # Seconds. A reading of a huge tree takes less; a thread that is still alive then is stuck in the kernel.
        self._thread.join(5.0)
        # A thread that is stuck in a read may still use the descriptors; closing them could make it read others.
        if not self._thread.is_alive():
            self._tree.close()
        if self.error and error is None:
            raise self.error


def _delayed(late: float) -> str:
    return f"no reading for {late:.1f} s: the probe itself was delayed"
