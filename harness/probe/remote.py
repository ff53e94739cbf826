"""Samples from anywhere: any command that prints what ``harness probe`` prints.

``ssh host harness probe --pid 12``, ``kubectl exec -i pod -- python3 - --pid 1 < file``, ``docker exec …``.
A line that is cut is a gap; the command is started again until the run ends.
"""

from __future__ import annotations

import json
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from harness.core.errors import Interrupted, ProbeError
from harness.core.sample import Census, Sample
from harness.probe.history import History
from harness.probe.lines import at_of, census_of, check_hello, limits_of, parse, sample_of
from harness.probe.remote_line import Line
from harness.probe.tree import ENDED

START_TIMEOUT = 20.0  # seconds until the first sample: ssh may ask a jump host
WAKE = 0.1  # seconds between two looks whether it is cancelled
ANSWER_TIMEOUT = 10.0  # seconds for a census of a very large service
STALE = 3.0  # seconds (or ten intervals) without a line after which the last one says nothing any more
MOST_ANSWERS = 8  # that wait to be taken
CUT = "cut"  # key of an answer that will not come
RETRY = 2.0  # seconds between two attempts to start the command again
DRIFT = 1e-4  # by how much two monotonic clocks may differ in pace


class RemoteSampler:
    """The same interface as ``Sampler``, fed by a command. Context manager.

    ``pid`` is the far side's. Samples are placed on our clock by the quickest line seen. Raises ProbeError
    when the command cannot be run, speaks another protocol or sends no sample within START_TIMEOUT, Interrupted
    when it is cancelled before.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        clock: Callable[[], float],
        on_sample: Callable[[Sample], None] | None = None,
        retry: float = RETRY,
        timeout: float = START_TIMEOUT,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._argv = list(argv)
        self._clock = clock
        self._on_sample = on_sample
        self._retry = retry
        self._history = History()
        self._lock = threading.Lock()
        self._orders = threading.Lock()
        self._stop = threading.Event()
        self._first = threading.Event()
        self._answers: queue.Queue[Mapping[str, Any]] = queue.Queue(MOST_ANSWERS)
        self._offset = math.inf
        self._arrived = clock()
        self._hello: Mapping[str, Any] = {}
        self.ended = False
        self.error: BaseException | None = None
        self._line = Line(self._argv)
        self._thread = threading.Thread(target=self._run, name="remote-probe", daemon=True)
        self._thread.start()
        ends = time.monotonic() + timeout
        while not (came := self._first.wait(WAKE)) and time.monotonic() < ends and not cancelled():
            pass
        if cancelled() and not came:
            self.close()
            raise Interrupted("stopped before the remote probe sent a sample")
        if not came or self.error:
            self.close()
            raise self.error or ProbeError(
                f"the remote probe sent no sample within {timeout:g} s; expected `{argv[0]} …` to print JSON lines"
            )

    @property
    def pid(self) -> int:
        """The target's pid on the far side."""
        return int(self._hello.get("pid", 0))

    @property
    def interval(self) -> float:
        """Seconds between two samples, as the far side says."""
        return float(self._hello.get("interval", 0.1))

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                greeted = self._follow()
                if self._stop.is_set() or self.ended:
                    return
                why = self._line.why()
                self._answer({CUT: why})  # whoever waits for an answer waits in vain
                if not self._first.is_set():
                    raise ProbeError(f"the remote probe sent no sample: {why}")
                if not greeted and "no such process" in why:
                    self._keep(Sample(self._clock(), gap=f"{ENDED}, while the line was cut"))
                    self.ended = True
                    return
                if greeted:
                    self._keep(Sample(self._clock(), gap=f"the remote probe's line was cut: {why}"))
                self._stop.wait(self._retry)
                self._line.close()
                if not self._stop.is_set():
                    self._line = Line(self._argv)
        except BaseException as error:
            self.error = error
        finally:
            self._first.set()

    def _follow(self) -> bool:
        """Read one run of the command to its end; whether it said hello."""
        greeted = False
        while lines := self._line.read():
            for line in lines:
                data = parse(line)
                if not greeted:
                    self._greet(data)
                    greeted = True
                elif "census" in data or "inbound" in data or "limits" in data or "error" in data:
                    self._answer(data)
                else:
                    self._sample(data)
                if self.ended:
                    return True
        return greeted

    def _answer(self, data: Mapping[str, Any]) -> None:
        """Keep it for whoever asked. Nobody asks for more than one at a time: what comes unasked is let go of."""
        while True:
            try:
                self._answers.put_nowait(data)
                return
            except queue.Full:
                try:
                    self._answers.get_nowait()
                except queue.Empty:
                    pass  # somebody has just taken it

    def _greet(self, data: Mapping[str, Any]) -> None:
        check_hello(data)
        names = ("boot", "pid", "started")
        before = self._hello
        if before and any(before.get(name) != data.get(name) for name in names):
            self._keep(Sample(self._clock(), gap=f"{ENDED}: {_another(before, data)}"))
            self.ended = True
            return
        self._hello = data
        self._offset = math.inf  # the far side counts from its own start

    def _sample(self, data: Mapping[str, Any]) -> None:
        now = self._clock()
        far = at_of(data)
        # The quickest line seen says best how the clocks stand; a slow one only came late.
        self._offset = min(self._offset + DRIFT * (now - self._arrived), now - far)
        self._arrived = now
        last = self._history.last()
        at = far + self._offset
        sample = sample_of(data, max(at, last.at) if last else at)
        self._keep(sample)
        if sample.gap and sample.gap.startswith(ENDED):
            self.ended = True  # once it is kept: who sees the end also finds how it was told
        self._first.set()

    def _keep(self, sample: Sample) -> None:
        with self._lock:
            self._history.append(sample)
        if self._on_sample:
            self._on_sample(sample)

    def latest(self) -> Sample:
        """The newest reading. A gap once the line is cut or silent: never an old value."""
        if self.error:
            raise self.error
        with self._lock:
            sample = self._history.last()
        now = self._clock()
        silent = now - self._arrived
        if sample is None or (sample.gap is None and silent > max(STALE, 10 * self.interval)):
            return Sample(now, gap=f"no line from the remote probe for {silent:.1f} s")
        return sample

    def samples(self) -> list[Sample]:
        """The readings, oldest first; the older ones thinned so that memory stays bounded."""
        with self._lock:
            return self._history.all()

    def _ask(self, order: str, key: str) -> Any:
        if not self._hello.get("orders"):
            raise ProbeError(
                f"the remote probe takes no orders, so no {key}; expected its standard input to be open "
                "(kubectl exec -i, docker exec -i; a script given as a file, not on standard input)"
            )
        with self._orders:
            while not self._answers.empty():
                self._answers.get_nowait()
            self._line.order(order)
            try:
                answer = self._answers.get(timeout=ANSWER_TIMEOUT)
            except queue.Empty:
                raise ProbeError(
                    f"the remote probe did not answer {order!r} within {ANSWER_TIMEOUT:g} s; expected one line"
                ) from None
        if CUT in answer:
            raise ProbeError(f"the line to the remote probe was cut: {answer[CUT]}; expected its {key}")
        if key not in answer:
            raise ProbeError(f"the remote probe answered {json.dumps(answer)[:200]}; expected its {key}")
        return answer[key]

    def census(self, at: float) -> Census:
        """A census taken on the far side; one without readings when it takes no orders."""
        try:
            return census_of(self._ask("census", "census"), at)
        except ProbeError as error:
            return Census(at=at, unreadable=(f"fds and all else: {error}",))

    def inbound(self, port: int) -> int | None:
        """Established connections to ``port`` on the far side; None while that cannot be asked."""
        try:
            answer = self._ask(f"inbound {port}", "inbound")
        except ProbeError:
            return None
        return answer if isinstance(answer, int) else None

    def limits(self) -> dict[str, float]:
        """The ceilings that the target will meet. Raises ProbeError."""
        return limits_of(self._ask("limits", "limits"))

    def close(self) -> None:
        """End the command and whatever it started. Idempotent."""
        self._stop.set()
        while self._thread.is_alive():
            self._line.kill()  # again and again: the command may just have been started anew
            self._thread.join(WAKE)
        self._line.close()

    def __enter__(self) -> RemoteSampler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self.error and error is None:
            raise self.error


def _another(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if before.get("boot") != now.get("boot"):
        return "the far machine was started anew"
    return f"pid {now.get('pid')} is another process now"
