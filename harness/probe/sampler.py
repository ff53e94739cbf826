"""A thread that reads a tree ten times a second and keeps what it saw."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType

from harness.core.sample import Sample
from harness.probe.tree import Tree

KEPT = 36_000  # one hour at 10 Hz; what is older is on disk


class Sampler:
    """Context manager. on_sample is called in the sampler's thread, after each reading; an error in
    it stops the sampling and is raised again at the end."""

    def __init__(
        self,
        pid: int,
        *,
        clock: Callable[[], float],
        interval: float = 0.1,
        on_sample: Callable[[Sample], None] | None = None,
    ) -> None:
        self.pid = pid
        self._tree = Tree(pid)
        self._clock = clock
        self._interval = interval
        self._on_sample = on_sample
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.error: BaseException | None = None
        self._samples.append(self._tree.read(clock()))
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)

    def _run(self) -> None:
        due = self._clock() + self._interval
        try:
            while not self._stop.wait(max(0.0, due - self._clock())):
                self._take()
                due = max(due + self._interval, self._clock())
        except BaseException as error:
            self.error = error

    def _take(self) -> Sample:
        with self._lock:
            sample = self._tree.read(self._clock())
            self._samples.append(sample)
        if self._on_sample:
            self._on_sample(sample)
        return sample

    def latest(self) -> Sample:
        """The newest reading; at most one interval old while the sampler runs."""
        return self._samples[-1]

    def samples(self) -> list[Sample]:
        """Every kept reading, oldest first."""
        with self._lock:
            return list(self._samples)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(5.0)
        self._tree.close()
        if self.error and error is None:
            raise self.error
