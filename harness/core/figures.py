"""The figures that a run publishes while it is in progress: their names, and how they are computed.

The names are an interface: dashboards and alerts use them. docs/export.md lists them, and the Grafana dashboard in
deploy/ is tested against this table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from harness.core.cycle import Ledger
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.sample import Census, Sample
from harness.core.verdict import Outcome, Verdict

MAX_LABELS = 100  # values of one figure, so that a service cannot fill the collector's database
MAX_TEXT = 120  # characters of one label


@dataclass(frozen=True, slots=True)
class Figure:
    """One published name. kind: ``gauge`` or ``counter``; Prometheus appends ``_total`` to the name of a counter.
    unit: in UCUM, as OpenTelemetry requires. labels: names, in order."""

    name: str
    kind: str
    unit: str
    text: str
    labels: tuple[str, ...] = ()

    @property
    def prometheus(self) -> str:
        """The name in a query."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a figure, with the values of its labels."""

    figure: Figure
    value: float
    labels: tuple[str, ...] = ()


_GROWTH_LABELS = ("metric", "kind", "driver", "unit", "status")
FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        Figure("harness_target_up", "gauge", "1", "1 while the target can be read, 0 in a gap."),
        Figure("harness_target_info", "gauge", "1", "What is watched, and why it cannot be read.", ("target", "gap")),
        Figure("harness_fds", "gauge", "{fd}", "Open descriptors of the whole process tree."),
        Figure("harness_threads", "gauge", "{thread}", "Threads of the whole process tree."),
        Figure("harness_processes", "gauge", "{process}", "Living processes of the tree."),
        Figure("harness_zombies", "gauge", "{process}", "Children that exited and were not waited for."),
        Figure("harness_resident_bytes", "gauge", "By", "Resident memory, shared pages counted once per process."),
        Figure("harness_cpu_seconds", "counter", "s", "CPU time used since the probe started."),
        Figure("harness_context_switches", "counter", "{switch}", "Context switches of main threads."),
        Figure("harness_page_faults", "counter", "{fault}", "Page faults."),
        Figure("harness_process_fds", "gauge", "{fd}", "Open descriptors by process.", ("pid", "name")),
        Figure("harness_fds_by_class", "gauge", "{fd}", "Descriptors by class, at the last census.", ("class",)),
        Figure("harness_sockets", "gauge", "{socket}", "TCP sockets by state, at the last census.", ("state",)),
        Figure("harness_threads_by_name", "gauge", "{thread}", "Threads by name, at the last census.", ("name",)),
        Figure("harness_mappings", "gauge", "{mapping}", "Memory mappings by kind, at the last census.", ("kind",)),
        Figure("harness_memory_bytes", "gauge", "By", "Memory by kind, at the last census.", ("kind",)),
        Figure("harness_run_info", "gauge", "1", "The run.", ("run", "target", "mode", "version")),
        Figure("harness_run_seconds", "gauge", "s", "Time since the run's start."),
        Figure("harness_cycles", "counter", "{cycle}", "Finished cycles."),
        Figure("harness_phase", "gauge", "1", "1 for the phase of the run now.", ("phase",)),
        Figure("harness_level", "gauge", "1", "The settled level after the last cycle, in the unit that the label "
               "names.", ("metric", "kind", "unit")),
        Figure("harness_streams_open", "gauge", "{stream}", "Streams open now."),
        Figure("harness_streams_opened", "counter", "{stream}", "Streams opened."),
        Figure("harness_streams_answered", "counter", "{stream}", "Streams that the service answered."),
        Figure("harness_streams_failed", "counter", "{stream}", "Streams that failed, by cause.", ("cause",)),
        Figure("harness_events", "counter", "{event}", "Events received."),
        Figure("harness_stream_bytes", "counter", "By", "Bytes received."),
        Figure("harness_workers", "gauge", "{worker}", "Locust workers, by state.", ("state",)),
        Figure("harness_growth", "gauge", "1", "Growth per unit of its driver, in the unit that the label names.",
               _GROWTH_LABELS),
        Figure("harness_growth_low", "gauge", "1", "Lower end of the 95 % interval of the growth.", _GROWTH_LABELS),
        Figure("harness_growth_high", "gauge", "1", "Upper end of the 95 % interval of the growth.", _GROWTH_LABELS),
        Figure("harness_growth_at_most", "gauge", "1", "Upper bound (95 %) of what did not grow.",
               ("metric", "kind", "unit", "scope")),
        Figure("harness_verdict", "gauge", "1", "1 for the outcome of the finished run, 0 for every other.",
               ("outcome",)),
        Figure("harness_exit_code", "gauge", "1", "The exit code of the finished run."),
    )
}  # fmt: skip
_OF_SAMPLE = {
    "harness_fds": "fds", "harness_threads": "threads", "harness_processes": "processes",
    "harness_zombies": "zombies", "harness_resident_bytes": "rss", "harness_cpu_seconds": "cpu",
    "harness_context_switches": "switches", "harness_page_faults": "faults",
}  # fmt: skip
_OF_CENSUS = {
    "harness_fds_by_class": "fds", "harness_sockets": "sockets", "harness_threads_by_name": "threads",
    "harness_mappings": "mappings", "harness_memory_bytes": "memory",
}  # fmt: skip


def value(name: str, number: float, *labels: str) -> Value:
    """A value of the figure ``name``. Raises KeyError for a name that is not published."""
    return Value(FIGURES[name], float(number), tuple(label[:MAX_TEXT] for label in labels))


def bounded(counts: Mapping[str, float], most: int = MAX_LABELS) -> dict[str, float]:
    """The largest ``most`` classes; the rest under ``other``."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    found = dict(ranked[:most])
    rest = sum(count for _, count in ranked[most:])
    if rest:
        found["other"] = found.get("other", 0) + rest
    return found


def of_sample(sample: Sample | None, target: str) -> Iterator[Value]:
    """One reading. In a gap only ``harness_target_up 0`` is published: the collector then shows a hole, not a zero or
    an old value."""
    is_up = sample is not None and sample.gap is None
    yield value("harness_target_up", is_up)
    gap = "no reading yet" if sample is None else sample.gap or ""
    yield value("harness_target_info", 1, target, gap)
    if sample is None or not is_up:
        return
    for name, attribute in _OF_SAMPLE.items():
        number = getattr(sample, attribute)
        if number is not None:
            yield value(name, number)
    for process in sample.per_process[:MAX_LABELS]:
        if process.fds is not None:
            yield value("harness_process_fds", process.fds, str(process.pid), process.name)


def of_census(census: Census | None) -> Iterator[Value]:
    """Everything that a census classified."""
    for name, attribute in _OF_CENSUS.items() if census else ():
        counts: Mapping[str, float] = getattr(census, attribute)
        for kind, held in bounded(counts).items():
            yield value(name, held, kind)


def of_streams(ledgers: Iterable[Ledger]) -> Iterator[Value]:
    """The counts of the clients over all cycles; the last cycle may still be in progress."""
    ledgers = tuple(ledgers)
    causes: dict[str, float] = {}
    for ledger in ledgers:
        for cause, count in ledger.causes.items():
            causes[cause] = causes.get(cause, 0) + count
    yield value("harness_streams_open", ledgers[-1].open_now if ledgers else 0)
    yield value("harness_streams_opened", sum(ledger.opened for ledger in ledgers))
    yield value("harness_streams_answered", sum(ledger.answered or 0 for ledger in ledgers))
    for cause, failed in bounded(causes).items():
        yield value("harness_streams_failed", failed, cause)
    yield value("harness_events", sum(ledger.events for ledger in ledgers))
    yield value("harness_stream_bytes", sum(ledger.bytes for ledger in ledgers))


def of_levels(trial: Trial) -> Iterator[Value]:
    """The settled levels after the last cycle that has any."""
    seen = next((one for one in reversed(trial.observations) if one.levels), None)
    levels: Mapping[Key, float] = seen.levels if seen else trial.initial
    for key, level in sorted(levels.items())[:MAX_LABELS]:
        yield value("harness_level", level, key.metric, key.kind, key.unit)


def of_growth(verdict: Verdict | None) -> Iterator[Value]:
    """Rates with their intervals, and bounds of what did not grow. Before the end of the run they are what has been
    shown so far."""
    if verdict is None:
        return
    for one in verdict.findings[:MAX_LABELS]:
        if one.rate is None:
            continue
        labels = (one.metric, one.kind, one.driver or "", one.rate.unit, one.status)
        yield value("harness_growth", one.rate.value, *labels)
        yield value("harness_growth_low", one.rate.low, *labels)
        yield value("harness_growth_high", one.rate.high, *labels)
    for bound in verdict.bounds[:MAX_LABELS]:
        yield value(
            "harness_growth_at_most", bound.at_most, bound.metric, bound.kind, bound.unit, bound.scope
        )


def of_verdict(verdict: Verdict | None) -> Iterator[Value]:
    """The outcome of a finished run; nothing before it is finished."""
    if verdict is None:
        return
    for outcome in Outcome:
        yield value("harness_verdict", outcome is verdict.outcome, outcome.value)
    yield value("harness_exit_code", verdict.exit_code)
