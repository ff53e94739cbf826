"""The search for the places in the source where a leak grows: a few further cycles, which are not judged."""

from __future__ import annotations

from dataclasses import replace

from harness.core.after_verdict import failure
from harness.core.cycle import CycleSpec
from harness.core.errors import Interrupted, ProbeError
from harness.core.judge.attribution import attribution_cycle, units
from harness.core.judge.unnoticed import unnoticed
from harness.core.note import NoteKind
from harness.core.time_left import MAX_SEARCH
from harness.experiment.trial_cycle import CycleRunner
from harness.experiment.trial_record import TrialRecord
from harness.experiment.trial_start import TrialParts
from harness.runtime.counters import SearchOver

SEARCH = "the search for its place in the source"
# The last readings of a search take this many times as long as its first: they also describe what has grown.
LAST_READINGS = 1.5
LEAST_SEARCH = 2.0  # seconds of load in a search, however long its first readings took


class PlaceSearch:
    """Searches once, and only when a leak is certain. The verdict is certain by then, so a search that fails only adds
    a note. A service that exits meanwhile has crashed, even if a request of the search made it crash."""

    def __init__(self, record: TrialRecord, parts: TrialParts, cycles: CycleRunner) -> None:
        self.record = record
        self.parts = parts
        self.cycles = cycles

    def run(self) -> None:
        """Search, unless it was done before or no leak is certain. Raises Interrupted."""
        record, target = self.record, self.parts.target
        try:
            self._search()
        except Interrupted:
            raise
        except Exception as error:
            record.note(NoteKind.STEP_FAILED, failure(SEARCH, error))
        if record.activity and record.context.interrupt.time_up:
            record.note_time_up()
        # Nobody has stopped the service yet: it may have exited during the search, or between two cycles.
        if record.trial.exit is None and record.trial.infrastructure is None and not target.alive:
            record.record_exit(target)

    def _search(self) -> None:
        record, parts = self.record, self.parts
        # The plan may order the search before its end, and ``RunningTrial.run`` calls it once more after the last
        # cycle.
        if record.trial.searched:
            return
        # First, so that a search that fails is not tried again.
        record.change(searched=True)
        if record.context.interrupt.is_set() or not parts.target.alive or parts.runtime.reader is None:
            return
        chosen = attribution_cycle(record.trial)
        if chosen is None:
            return
        step, per = chosen
        record.activity = "looking for its place in the source"
        cycles = SearchCycles(record, self.cycles, step, per)
        record.show("tracing", len(record.trial.observations), sample=parts.sampler.latest())
        found = parts.runtime.attribute(
            cycles.run,
            per,
            # A service that the harness did not start keeps running, so its tracing has to be stopped.
            keeps_running=not parts.target.logs,
            time_left=lambda: cycles.deadline - record.context.clock(),
        )
        took = round(record.context.clock() - cycles.began, 1)
        record.change(places=found, about=replace(record.trial.about, search_seconds=took))


class SearchCycles:
    """The cycles of one search, which takes MAX_SEARCH seconds at most.

    step: a cycle in which the driver acts. per: the unit of the driver. began, deadline: start and limit of the search,
    by the run's clock.
    """

    def __init__(self, record: TrialRecord, cycles: CycleRunner, step: CycleSpec, per: str) -> None:
        self.record = record
        self.cycles = cycles
        self.step = step
        self.per = per
        self.began = record.context.clock()
        self.deadline = self.began + record.time_left(MAX_SEARCH)
        self._load_until = self.deadline
        self._longest = 0.0  # seconds of the longest cycle so far
        self._cycle_ended = self.began  # when the readings before the next cycle began
        self._name_next()

    def run(self) -> float:
        """Run one cycle. Returns how many units of the driver it had. Raises SearchOver if there is no time for it."""
        record, clock = self.record, self.record.context.clock
        started = clock()
        if not self._longest:
            # The service has to settle after the load, and the last readings take longer than the first. Some load is
            # needed to show anything at all.
            reserved = LAST_READINGS * (started - self.began) + self._settling()
            self._load_until = max(started + LEAST_SEARCH, self._load_until - reserved)
        # The next cycle is expected to take as long as the longest, and the readings after it as long as those before.
        elif started + self._longest + (started - self._cycle_ended) > self._load_until:
            raise SearchOver(f"another cycle would have exceeded the {MAX_SEARCH:g} s of the search")
        # Numbered like the other cycles, although it is not judged, so that the log of the run stays in order.
        step = replace(self.step, index=len(record.trial.observations))
        seen = self.cycles.run(step, load_until=self._load_until, label=SEARCH)
        before = record.trial.observations
        record.change(observations=(*before, seen))
        self._name_next()
        if record.context.interrupt.is_set():
            raise Interrupted("stopped during the search for its place")
        if not seen.complete:
            raise ProbeError("the cycle was cut short")
        # Objects of a client whose departure the service has not noticed yet are alive, but they are no leak.
        open_before = max((unnoticed(one.levels) for one in before), default=0.0)
        if not seen.settled or (
            unnoticed(seen.levels) > open_before
            and not self.cycles.parts.reader.departed_closed(
                open_before, max(self._load_until, clock() + LEAST_SEARCH)
            )
        ):
            raise SearchOver("the service did not settle, so not everything that is alive is retained")
        self._cycle_ended = clock()
        self._longest = max(self._longest, self._cycle_ended - started)
        return units(seen.ledger, self.per, clock() - started)

    def _settling(self) -> float:
        """Seconds that the service took to settle after its last load."""
        observed = self.record.trial.observations
        took = [one.ended - one.load_ended for one in observed if one.load_ended is not None]
        return took[-1] if took else 0.0

    def _name_next(self) -> None:
        """Name the next cycle in the record: a crash while the agents are read, between two cycles, belongs to it."""
        self.record.step = f"cycle {len(self.record.trial.observations)} ({SEARCH})"
