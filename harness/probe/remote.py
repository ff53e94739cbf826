"""Samples from another machine: from any command that prints what ``harness probe`` prints.

``ssh host harness probe --pid 12``, ``kubectl exec -i pod -- python3 - --pid 1 < file``, ``docker exec …``.
A broken connection is a gap; the command is restarted until the run ends.
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
from harness.probe.remote_command import RemoteCommand
from harness.probe.tree import EXITED

START_TIMEOUT = 20.0  # seconds until the first sample: ssh may ask a jump host
WAKE = 0.1  # seconds between two checks for cancellation
ANSWER_TIMEOUT = 10.0  # seconds for a census of a very large service
STALE = 3.0  # seconds (or ten intervals) without a line after which the last one is out of date
MAX_ANSWERS = 8  # answers queued
BROKEN = "cut"  # key of the answer that takes the place of one which will not come any more
RETRY = 2.0  # seconds between two attempts to start the command again
DRIFT = 1e-4  # relative difference of the pace of two monotonic clocks


class RemoteSampler:
    """The same interface as ``Sampler``, fed by a command. Context manager.

    ``pid`` is the remote one. The fastest line so far determines the offset between the clocks. Raises ProbeError when
    the command cannot be run, uses another protocol or sends no sample within START_TIMEOUT, Interrupted when it is
    cancelled before.
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
        self._orders = threading.Lock()  # held from an order to its answer, which does not name its order
        self._stop = threading.Event()
        self._first = threading.Event()  # set by the first sample, or by the error that comes instead
        self._answers: queue.Queue[Mapping[str, Any]] = queue.Queue(MAX_ANSWERS)
        self._offset = math.inf  # seconds between the two clocks; infinite before the first line
        self._arrived = clock()  # when the last line came
        self._hello: Mapping[str, Any] = {}
        self.ended = False
        self.error: BaseException | None = None
        self._command = RemoteCommand(self._argv)
        self._thread = threading.Thread(target=self._run, name="remote-probe", daemon=True)
        self._thread.start()
        ends = time.monotonic() + timeout
        while not (first_arrived := self._first.wait(WAKE)) and time.monotonic() < ends and not cancelled():
            pass
        if cancelled() and not first_arrived:
            self.close()
            raise Interrupted("stopped before the remote probe sent a sample")
        if not first_arrived or self.error:
            self.close()
            raise self.error or ProbeError(
                f"the remote probe sent no sample within {timeout:g} s; expected `{argv[0]} …` to print JSON lines"
            )

    @property
    def pid(self) -> int:
        """The target's pid on its machine."""
        return int(self._hello.get("pid", 0))

    @property
    def interval(self) -> float:
        """Seconds between two samples, as the remote probe reports."""
        return float(self._hello.get("interval", 0.1))

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                greeted = self._follow()
                if self._stop.is_set() or self.ended:
                    return
                why = self._command.exit_text()
                self._answer({BROKEN: why})  # ends the wait for an answer
                if not self._first.is_set():
                    raise ProbeError(f"the remote probe sent no sample: {why}")
                # The command works again, but its process does not exist: it exited while the connection was broken.
                if not greeted and "no such process" in why:
                    self._keep(Sample(self._clock(), gap=f"{EXITED}, while the connection was broken"))
                    self.ended = True
                    return
                if greeted:
                    self._keep(Sample(self._clock(), gap=f"the connection to the remote probe broke: {why}"))
                self._stop.wait(self._retry)
                self._command.close()
                if not self._stop.is_set():
                    self._command = RemoteCommand(self._argv)
        except BaseException as error:
            self.error = error
        finally:
            # The constructor waits for this event, also after an error, which it then raises.
            self._first.set()

    def _follow(self) -> bool:
        """Read the output of one run of the command; returns whether it sent its hello line."""
        greeted = False
        while lines := self._command.read():
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
        """Queue an answer for the caller that waits for it. Only one order is open at a time, so other answers are
        dropped."""
        while True:
            try:
                self._answers.put_nowait(data)
                return
            except queue.Full:
                try:
                    self._answers.get_nowait()
                except queue.Empty:
                    pass  # it was taken in the meantime

    def _greet(self, data: Mapping[str, Any]) -> None:
        check_hello(data)
        names = ("boot", "pid", "started")
        before = self._hello
        if before and any(before.get(name) != data.get(name) for name in names):
            self._keep(Sample(self._clock(), gap=f"{EXITED}: {_why_another(before, data)}"))
            self.ended = True
            return
        self._hello = data
        self._offset = math.inf  # the remote probe counts from its own start

    def _sample(self, data: Mapping[str, Any]) -> None:
        now = self._clock()
        remote = at_of(data)
        # The fastest line gives the best estimate of the offset; slower ones were delayed.
        self._offset = min(self._offset + DRIFT * (now - self._arrived), now - remote)
        self._arrived = now
        last = self._history.last()
        at = remote + self._offset
        # A better estimate of the offset moves times back; the samples of a run must stay in order all the same.
        sample = sample_of(data, max(at, last.at) if last else at)
        self._keep(sample)
        if sample.gap and sample.gap.startswith(EXITED):
            self.ended = True  # set last, so that a caller that sees it also finds the last sample
        self._first.set()

    def _keep(self, sample: Sample) -> None:
        with self._lock:
            self._history.append(sample)
        if self._on_sample:
            self._on_sample(sample)

    def latest(self) -> Sample:
        """The newest reading. A gap, not an old value, once the connection is broken or sends nothing."""
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
        """The readings, oldest first; fewer of the older ones, so that memory is bounded."""
        with self._lock:
            return self._history.all()

    def _ask(self, order: str, key: str) -> Any:
        if not self._hello.get("orders"):
            raise ProbeError(
                f"the remote probe does not read requests, so it cannot return its {key}; expected its standard input "
                "to be open (kubectl exec -i, docker exec -i; a script passed as a file, not on standard input)"
            )
        with self._orders:
            # What is queued answers an order whose caller has given up.
            while not self._answers.empty():
                self._answers.get_nowait()
            self._command.send(order)
            try:
                answer = self._answers.get(timeout=ANSWER_TIMEOUT)
            except queue.Empty:
                raise ProbeError(
                    f"the remote probe did not answer {order!r} within {ANSWER_TIMEOUT:g} s; expected one line"
                ) from None
        if BROKEN in answer:
            raise ProbeError(
                f"the connection to the remote probe broke: {answer[BROKEN]}; expected its {key}"
            )
        if key not in answer:
            raise ProbeError(f"the remote probe answered {json.dumps(answer)[:200]}; expected its {key}")
        return answer[key]

    def census(self, at: float) -> Census:
        """A census taken by the remote probe; one without readings when it does not read requests."""
        try:
            return census_of(self._ask("census", "census"), at)
        except ProbeError as error:
            return Census(at=at, unreadable=(f"fds and all else: {error}",))

    def inbound(self, port: int) -> int | None:
        """Established connections to ``port`` on the remote machine; None while the probe cannot be asked."""
        try:
            answer = self._ask(f"inbound {port}", "inbound")
        except ProbeError:
            return None
        return answer if isinstance(answer, int) else None

    def limits(self) -> dict[str, float]:
        """The ceilings that the target may reach. Raises ProbeError."""
        return limits_of(self._ask("limits", "limits"))

    def close(self) -> None:
        """End the command and whatever it started. Idempotent."""
        self._stop.set()
        while self._thread.is_alive():
            self._command.kill()  # repeatedly, because the command may just have been restarted
            self._thread.join(WAKE)
        self._command.close()

    def __enter__(self) -> RemoteSampler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self.error and error is None:
            raise self.error


def _why_another(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if before.get("boot") != now.get("boot"):
        return "the remote machine was rebooted"
    return f"pid {now.get('pid')} is another process now"
