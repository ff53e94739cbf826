"""A run of several trials: measures, saves, judges and reports them."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event

from harness import __version__
from harness.core.after_verdict import attempt
from harness.core.errors import ProbeError
from harness.core.judge.trial import judge
from harness.core.note import Note, NoteKind
from harness.core.record import RunRecord, TargetInfo, Trial
from harness.core.redact import Redactor
from harness.experiment.context import Progress, TrialContext
from harness.experiment.provenance import machine
from harness.experiment.reports import HTML, REPORTS, uncovered
from harness.experiment.resume import Resumption
from harness.experiment.setup import TrialSetup
from harness.experiment.stop_signal import GRACE, StopSignal
from harness.experiment.trial import run_trial
from harness.store.folder_limit import MAX_BYTES, FolderLimit
from harness.store.run_dir import RunDirectory, run_id


class Run:
    """One run in progress: its directory, its clock and its record so far.

    Raises ProbeError where /proc is missing, StoreError where its directory cannot be written."""

    def __init__(
        self,
        *,
        command: str,
        seed: int,
        out: Path | None,
        interrupt: Event,
        show: Callable[[Progress], None] = lambda _: None,
        redact: Redactor | None = None,
        resume: Resumption | None = None,
        max_size: int = MAX_BYTES,
    ) -> None:
        """redact: replaces secrets in everything that is stored or shown; None: it knows only those that names of
        options and headers reveal. resume: a run to resume, in its own folder. max_size: bytes of that folder."""
        self.redact = redact or Redactor()
        if not Path("/proc/self/stat").exists():
            raise ProbeError("/proc is not mounted, so nothing can be read; fix: mount -t proc proc /proc")
        now = datetime.datetime.now(datetime.UTC)
        self.directory = resume.directory if resume else RunDirectory.create(out, run_id(now, os.getpid()))
        self.folder_limit = FolderLimit(self.directory, max_size)
        self.interrupt = interrupt
        self.show = show
        self.on_change: Callable[[Trial], None] = lambda _: None
        """Called with each new state of a trial, its verdict included."""
        # The clock of a resumed run continues where it stopped, so that the times of both parts can be compared.
        start = time.monotonic() - (resume.at if resume else 0.0)

        def clock() -> float:
            return time.monotonic() - start

        self.clock = clock
        self.failures: list[str] = []  # of steps after a verdict, one line each
        self.record = (
            resume.record
            if resume
            else RunRecord(
                run_id=self.directory.run_id,
                command=self.redact.text(command),
                started_at=now.isoformat(timespec="seconds"),
                seed=seed,
                machine=machine(),
                harness_version=__version__,
            )
        )

    def trial(self, setup: TrialSetup, finish: Callable[[Trial], Trial] | None = None) -> Trial:
        """Run one trial and judge it; ``finish`` may add to the judged trial. Whatever ends it, the
        record on disk holds all that was measured."""
        done = self.record.trials
        setup = replace(setup, name=self.redact.text(setup.name))
        # A resumed trial keeps the start of its first part, because its limit covers all parts.
        limit = setup.limit
        began = setup.resumed.started if setup.resumed else self.clock()
        context = TrialContext(
            clock=self.clock,
            directory=self.directory,
            # The plan ends a trial at its limit. This signal cancels whatever is still in progress a moment later.
            interrupt=StopSignal(
                self.interrupt, self.clock, None if limit is None else began + limit + GRACE
            ),
            # Otherwise every trial of a run would repeat the random choices of the first one.
            seed=self.record.seed + len(done),
            show=self.show,
            keep=lambda trial: self._keep((*done, trial)),
            folder_limit=self.folder_limit,
        )
        trial = self._redacted(run_trial(setup, context))
        trial = replace(trial, verdict=judge(trial))
        more = attempt("the check of the budget", partial(uncovered, trial), self.failures.append) or ()
        trial = replace(trial, notes=(*trial.notes, *more))
        if finish:
            failed: list[str] = []
            judged = trial
            # The verdict is certain by now, so a self-test that fails adds a note and does not end the run.
            finished = attempt("the self-test", lambda: finish(judged), failed.append)
            trial = finished or replace(
                trial, notes=(*trial.notes, *(Note(NoteKind.STEP_FAILED, text) for text in failed))
            )
            self.failures.extend(failed)
        # A full disk must not take the verdict away from the user, who waits for it.
        attempt("saving the verdict", lambda: self._keep((*done, trial)), self.failures.append)
        return trial

    def add_failed_trial(self, setup: TrialSetup, why: str, advice: str = "") -> Trial:
        """Add a trial that ended before its first cycle to the record, judged. Notes about it (its target, a log that
        was cut, an exit that had to be forced) are kept. advice: the next step."""
        setup = replace(setup, name=self.redact.text(setup.name))
        # The trial may have saved itself before it failed. That entry is replaced, not repeated.
        done = [trial for trial in self.record.trials if trial.name != setup.name]
        service = setup.service
        # What the trial recorded before it failed is kept, such as its target and its notes.
        known = next((trial for trial in self.record.trials if trial.name == setup.name), setup.resumed)
        begun = known or Trial(
            name=setup.name,
            target=TargetInfo(service.command, service.url, service.pid or 0),
            budget=setup.judgement.allowed,
            notes=setup.judgement.budget_notes,
            about=setup.about,
        )
        about = replace(begun.about, advice=advice) if advice else begun.about
        trial = self._redacted(replace(begun, unready=why, about=about, ended=self.clock()))
        trial = replace(trial, verdict=judge(trial))
        attempt("saving the verdict", lambda: self._keep((*done, trial)), self.failures.append)
        return trial

    def replace_trials(self, trials: Sequence[Trial]) -> None:
        """Replace the trials by the same ones with additional notes."""
        self._keep(trials)

    def _keep(self, trials: Sequence[Trial]) -> None:
        self.record = replace(self.record, trials=tuple(map(self._redacted, trials)))
        self.directory.checkpoint(self.record)
        if self.record.trials:
            self.on_change(self.record.trials[-1])

    def _redacted(self, trial: Trial) -> Trial:
        """The trial without secrets. This happens before it is judged, because the verdict quotes the trial, and
        because a saved run must be judged alike."""
        command = trial.target.command
        if command:
            trial = replace(trial, target=replace(trial.target, command=self.redact.words(command)))
        return self.redact.value(trial)

    def report(self) -> Path:
        """Write report.html, summary.md and junit.xml; the path of the first, or the run's folder when it could not be
        written. A failure does not change the verdict; it is added to ``failures``."""
        # Each by itself, so that a failure of one form does not prevent the others.
        written = {
            name: attempt(name, partial(write, self.record, self.directory), self.failures.append)
            for name, write in REPORTS.items()
        }
        attempt("closing the run's files", self.directory.close, self.failures.append)
        return written[HTML] or self.directory.path
