"""The latest figures of a run, or of a watched process: written by the measuring thread, read by the publishing
threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from harness import __version__
from harness.core import figures
from harness.core.cycle import Ledger
from harness.core.figures import Value
from harness.core.judge.trial import judge
from harness.core.record import Trial
from harness.core.sample import Census, Sample
from harness.core.verdict import Verdict

JUDGING_SHARE = 0.02  # of the run's time that intermediate judgements may take


class Board:
    """target: its name in labels. redact: applied to every label, because the names of threads and processes
    are the service's own. Readers run in threads of their own."""

    def __init__(
        self,
        target: str = "",
        *,
        redact: Callable[[str], str] = lambda text: text,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._redact = redact
        self._clock = clock
        self._started = clock()
        self._judging = 0.0  # seconds spent on verdicts while the run is in progress
        self._lock = threading.Lock()
        self._sample: Sample | None = None
        self._census: Census | None = None
        self._run: tuple[str, str] | None = None
        self._phase = ""
        self._current: Ledger | None = None
        self._cycles = 0
        self._trial: Trial | None = None
        self._shown: Verdict | None = None  # on the cycles so far: the growth in it is published
        self._verdict: Verdict | None = None  # of the finished run

    @property
    def finished(self) -> bool:
        """True once the figures hold a verdict."""
        return self._verdict is not None

    def sample(self, sample: Sample) -> None:
        """The newest reading; a gap removes the values before it."""
        with self._lock:
            self._sample = sample
            if sample.gap is not None:
                self._census = None

    def census(self, census: Census) -> None:
        """The newest census."""
        with self._lock:
            self._census = census

    def begin(self, run: str, mode: str) -> None:
        """A run with this id and mode has begun."""
        with self._lock:
            self._run = (run, mode)

    def progress(self, phase: str, sample: Sample | None, ledger: Ledger | None, cycle: int) -> None:
        """Update the progress of the run. ledger: of cycle number ``cycle``, None between two cycles."""
        with self._lock:
            self._phase = phase
            # A finished cycle is counted until the record contains it, so that no counter ever falls.
            if ledger is not None and cycle >= self._cycles:
                self._current = ledger
        if sample is not None:
            self.sample(sample)

    def trial(self, trial: Trial) -> None:
        """The trial so far; with a verdict, its end."""
        with self._lock:
            changed = len(trial.observations) != self._cycles
            self._trial, self._cycles = trial, len(trial.observations)
            if changed:
                self._current = None
                self._census = next(
                    (one.census for one in reversed(trial.observations) if one.census), self._census
                )
            self._verdict = trial.verdict
        if trial.verdict is not None:
            self._shown = trial.verdict
        elif changed:
            self._judge(trial)

    def _judge(self, trial: Trial) -> None:
        """Judge the trial so far, rarely enough for the growing cost of judging a long run."""
        began = self._clock()
        if self._judging > JUDGING_SHARE * (began - self._started):
            return
        self._shown = judge(trial)
        self._judging += self._clock() - began

    def values(self) -> list[Value]:
        """Everything that is known now."""
        with self._lock:
            found = list(self._values())
        return [
            Value(one.figure, one.value, tuple(self._redact(label) for label in one.labels)) for one in found
        ]

    def _values(self) -> Iterator[Value]:
        yield from figures.of_sample(self._sample, self._target)
        yield from figures.of_census(self._census)
        if self._run is not None:
            run, mode = self._run
            yield figures.value("harness_run_info", 1, run, self._target, mode, __version__)
            yield figures.value("harness_run_seconds", self._clock() - self._started)
            yield figures.value("harness_cycles", self._cycles)
            if self._phase:
                yield figures.value("harness_phase", 1, self._phase)
        if self._trial is not None:
            ledgers = [one.ledger for one in self._trial.observations]
            yield from figures.of_streams([*ledgers, self._current or Ledger()])
            yield from figures.of_levels(self._trial)
        yield from figures.of_growth(self._shown)
        yield from figures.of_verdict(self._verdict)
