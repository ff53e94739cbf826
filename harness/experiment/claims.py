"""Measures every claim of the analysis in one run: each trial several times, and resumable after an interruption.

The run's folder holds ``claims.json``, replaced after each repeat, and the record and logs of each repeat.
A repeat that the harness failed or the user interrupted is not a measurement and is run again.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness import __version__
from harness.core.claims import needed
from harness.core.claims_record import ClaimsRecord, from_dict, to_dict
from harness.core.errors import ConfigError, HarnessError, StoreError
from harness.core.measurement import Measurement, measure
from harness.core.record import Trial
from harness.core.record_codec import dumps
from harness.core.units import counted
from harness.core.verdict import Outcome
from harness.experiment.provenance import machine
from harness.experiment.reproduce import Catalogue, LoadOverrides, ProfileSpec, confirmed, setup_for
from harness.experiment.run import Run
from harness.process.read import read_bounded
from harness.report.claims import render_html, render_markdown
from harness.store.claim import claim
from harness.store.run_dir import REPORTS, run_id
from harness.store.write import make_directory, replace_file

STATE, TRIALS = "claims.json", "trials"
MAX_STATE_BYTES = 64 << 20  # bytes of the saved state
TRIES = 3  # attempts at one repeat, if the harness fails
OVERHEAD = 8.0  # seconds of a trial besides its load: starts, settling, the end
# A trial may take this many times as long as on an idle machine: late crashes and slow cycles still count.
MAX_SLOWDOWN = 3.0


@dataclass(frozen=True, slots=True)
class RepeatProgress:
    """One finished repeat. name: of its profile or variation. repeat: its number, from 1 on. need: how many repeats the
    claims need of this profile. text: its result in words. done, total: repeats of all profiles. at: seconds since this
    run's start."""

    name: str
    repeat: int
    need: int
    text: str
    done: int
    total: int
    at: float


class ClaimsRun:
    """One run in progress, with a folder of its own. ``run`` returns when everything is measured, the time is used up
    or the user interrupts it. Raises ConfigError for a folder that cannot be resumed, StoreError.

    out: the folder; None: one of its own. resume: the folder of a run to resume. jobs: trials that run at the same
    time. max_seconds: no trial starts that would end later. show: called after each repeat, in the thread that ran it.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        out: Path | None,
        resume: Path | None,
        interrupt: threading.Event,
        seed: int = 0,
        jobs: int = 2,
        max_seconds: float = 2700.0,
        show: Callable[[RepeatProgress], None] = lambda _: None,
    ) -> None:
        self.catalogue = catalogue
        self.interrupt = interrupt
        self.seed = seed
        self.jobs = jobs
        self.max_seconds = max_seconds
        self.show = show
        self.folder, self.record = _resumed(resume, catalogue) if resume else _fresh(out, catalogue)
        self.record = replace(self.record, jobs=jobs)
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._before = self.record.seconds
        self._took: dict[str, float] = {}  # seconds of the last repeat, by profile
        self._failures: dict[tuple[str, int], int] = {}
        self._left = self.record.remaining()
        self._total = sum(needed(self.record.claims).values())
        self.problems: list[str] = []  # repeats that the harness itself failed, one line each

    def run(self) -> ClaimsRecord:
        """Measure the repeats that are missing."""
        # A folder without a state could not be resumed if the run ends before its first repeat.
        self._save()
        workers = [threading.Thread(target=self._work, name=f"claims-{n}") for n in range(self.jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            while worker.is_alive():  # short joins, so that a second Ctrl-C is noticed
                worker.join(0.2)
        with self._lock:
            self.record = replace(self.record, unmeasured=self._why_unmeasured())
            self._save()
        self._write("claims.md", render_markdown(self.record))
        self._write("claims.html", render_html(self.record))
        return self.record

    def _why_unmeasured(self) -> str:
        """Why repeats may be missing, and how to measure them."""
        if self.interrupt.is_set():
            return f"the run was interrupted; --resume {self.folder.name} continues it"
        return f"the time of {self.max_seconds:g} s was used up; --resume {self.folder.name} continues it"

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _work(self) -> None:
        while not self.interrupt.is_set():
            with self._lock:
                task = self._next()
            if task is None:
                return
            name, repeat = task
            # Outside of the lock, because a trial takes seconds and the other jobs run theirs meanwhile.
            try:
                found, text = self._measure(name, repeat)
            except HarnessError as error:
                found, text = None, str(error)
            with self._lock:
                self._keep(name, repeat, found, text)

    def _next(self) -> tuple[str, int] | None:
        """The next repeat that fits into the time that is left."""
        for index, (name, _) in enumerate(self._left):
            # A shorter one may still fit where the first in the list does not.
            if self._elapsed + self._expected(name) <= self.max_seconds:
                return self._left.pop(index)
        return None

    def _expected(self, name: str) -> float:
        """Seconds that a repeat of this profile will take."""
        spec = self.catalogue.spec(name)
        return self._took.get(name, OVERHEAD + float(spec.load["seconds"]))

    def _measure(self, name: str, repeat: int) -> tuple[Measurement | None, str]:
        spec = self.catalogue.spec(name)
        began = self._elapsed
        run = Run(
            command=f"harness reproduce --all: {name}",
            # Each repeat makes other random choices: equal ones would measure one course of events several times.
            seed=self.seed + repeat,
            out=self.folder / TRIALS / f"{name}-{repeat + 1}",
            interrupt=self.interrupt,
        )
        try:
            trial = run.trial(
                setup_for(spec, LoadOverrides(real_time=spec.real_time, max_seconds=_time_limit(spec))),
                lambda trial: _confirm(trial, spec),
            )
        finally:
            run.directory.close()
        # Repeats of a trial take about equally long, so the last one shows whether another one fits into the time
        # left.
        self._took[name] = self._elapsed - began
        assert trial.verdict
        if trial.interrupted:
            return None, "interrupted"
        if trial.verdict.outcome is Outcome.INFRASTRUCTURE:
            return None, trial.verdict.explanation
        found = measure(trial)
        good = "as described" if found.expected else f"not as described: {found.note}"
        return found, f"{found.outcome} after {found.seconds:.1f} s, {good}"

    def _keep(self, name: str, repeat: int, found: Measurement | None, text: str) -> None:
        if found is not None:
            self.record = self.record.with_measurement(name, found)
        elif not self.interrupt.is_set():
            failures = self._failures[name, repeat] = self._failures.get((name, repeat), 0) + 1
            if failures < TRIES:
                # Appended, so that repeats which have not been tried yet come first.
                self._left.append((name, repeat))
            else:
                self.problems.append(f"{name}: {text} ({counted(failures, 'try', 'tries')})")
        self.record = replace(self.record, seconds=self._before + self._elapsed)
        self._save()
        done = sum(self.record.repeats_done().values())
        need = needed(self.record.claims)[name]
        self.show(RepeatProgress(name, repeat + 1, need, text, done, self._total, self._elapsed))

    def _save(self) -> None:
        self._write(STATE, dumps(to_dict(self.record), indent=1) + "\n")

    def _write(self, name: str, text: str) -> None:
        replace_file(self.folder / name, text.encode())


def _time_limit(spec: ProfileSpec) -> float | None:
    """The time limit of a trial in seconds, which is generous because each trial ends by itself; None: that of
    ``--real-time``."""
    if spec.real_time:
        return None
    return float(spec.load["seconds"]) * MAX_SLOWDOWN


def _confirm(trial: Trial, spec: ProfileSpec) -> Trial:
    if spec.load.get("ramp"):  # a ramp is run to count its checks, and has too few connections for a verdict
        good, why = trial.exit is None, "the service exited" if trial.exit else "served every client"
    else:
        good, why = confirmed(trial, spec)
    return replace(trial, about=replace(trial.about, confirmed=good, note=why))


def _fresh(out: Path | None, catalogue: Catalogue) -> tuple[Path, ClaimsRecord]:
    now = datetime.datetime.now(datetime.UTC)
    identifier = run_id(now, os.getpid())
    folder = claim(out or REPORTS / f"claims-{identifier}", identifier, marker=STATE, signs=(STATE,))
    make_directory(folder)
    make_directory(folder / TRIALS)
    return folder, ClaimsRecord(
        run_id=identifier,
        started_at=now.isoformat(timespec="seconds"),
        machine=machine(),
        harness_version=__version__,
        **_described(catalogue),
    )


def _resumed(folder: Path, catalogue: Catalogue) -> tuple[Path, ClaimsRecord]:
    """The state of a resumed run. The claims are those that the service describes now. Measurements are kept, except
    for trials that have changed since."""
    folder = folder.parent if folder.name == STATE else folder
    record = load(folder / STATE)
    described = _described(catalogue)
    same = {
        name for name, digest in described["definitions"].items() if record.definitions.get(name) == digest
    }
    return folder, replace(
        record,
        **described,
        measured={name: found for name, found in record.measured.items() if name in same},
        resumed=record.resumed + 1,
    )


def _described(catalogue: Catalogue) -> dict[str, Any]:
    specs = {name: catalogue.spec(name) for name in needed(catalogue.claims)}
    return {
        "claims": catalogue.claims,
        "tests": {name: settings_text(spec) for name, spec in specs.items()},
        "expected": {name: spec.expected.value for name, spec in specs.items()},
        "definitions": {name: _digest(spec) for name, spec in specs.items()},
    }


def _digest(spec: ProfileSpec) -> str:
    """A digest of everything that influences the result of a trial; its wording does not."""
    # Texts that only people read are left out: a better wording must not discard hours of measurements.
    parts = {**asdict(spec), "summary": "", "load": dict(spec.load)}
    del parts["claim"]
    parts["said"] = ""  # the name of that text when the measurements were made: another changes every digest
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def load(path: Path) -> ClaimsRecord:
    """A saved run of claims. Raises ConfigError where there is none, StoreError where it cannot be read."""
    if not path.is_file():
        why = "not a regular file" if path.exists() else "no such file"
        raise ConfigError(f"{path}: {why}; expected the folder of a run of `harness reproduce --all`")
    expected = "what `harness reproduce --all` wrote"
    try:
        data: Mapping[str, Any] = json.loads(
            read_bounded(path, MAX_STATE_BYTES, option=str(path), expected=expected)
        )
    except (ValueError, RecursionError) as error:
        raise StoreError(
            f"cannot read {path}: it is not JSON ({error}); run again in another folder"
        ) from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected an object, as `harness reproduce --all` writes it")
    try:
        return from_dict(data)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def settings_text(spec: ProfileSpec) -> str:
    """A trial's settings in a few words."""
    load = spec.load
    clients = (
        "1 to {} clients".format(max(load["ramp"]))
        if load.get("ramp")
        else counted(load["concurrency"], "client")
    )
    times = "original times" if spec.real_time else "scaled times"
    return f"{spec.summary}; {spec.broker} broker, {clients}, {times}"
