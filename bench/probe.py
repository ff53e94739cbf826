"""The probe compared with psutil: the cost of a reading for the harness and for the service, and the memory that it
keeps.

python -m bench.probe [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from harness.core.sample import Sample
from harness.probe.census import census
from harness.probe.history import History
from harness.probe.sampler import Sampler
from harness.probe.tree import Tree

SIZES = (1000, 10_000, 19_500)  # descriptors
MICRO, MILLI = 1e6, 1e3
SAMPLES = 100_000
PACE = 0.1  # seconds between two samples
ROUNDS = 8  # of work with and without a reader, taken in turn
FLAT = 1.5  # a sample of the largest target over one of the smallest
Row = dict[str, object]


class Target:
    """The process that holds descriptors."""

    def __init__(self, count: int) -> None:
        script = Path(__file__).with_name("_probe_target.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._out = self.process.stdin, self.process.stdout
        if self._out.readline() != "ready\n":
            sys.exit(f"no process could hold {count} descriptors: see ulimit -n")
        self.pid = self.process.pid

    def work(self, seconds: float) -> float:
        """Round trips per second that it gets done."""
        self._in.write(f"work {seconds}\n")
        self._in.flush()
        return float(self._out.readline())


@contextmanager
def held(count: int) -> Iterator[Target]:
    """Start a target, and end it afterwards."""
    target = Target(count)
    try:
        yield target
    finally:
        target.process.kill()
        target.process.communicate()


def clocked(what: Callable[[], object]) -> float:
    """The seconds that one call takes."""
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def compared(
    ours: Callable[[], object], rival: Callable[[], object], rounds: int, each: int
) -> tuple[float, float]:
    """Median seconds of both, measured in turn so that a noisy moment affects both. each: calls of ours per round."""
    ours(), rival()
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        mine.extend(clocked(ours) for _ in range(each))
        theirs.append(clocked(rival))
    return statistics.median(mine), statistics.median(theirs)


def row(
    metric: str,
    value: float,
    unit: str,
    rival: str,
    rival_value: float,
    ratio: float,
    target: float,
    holds: bool,
) -> Row:
    """One line of the table and of the JSON. rival_value: in the same unit."""
    print(
        f"{'holds ' if holds else 'MISSED'} {metric:48} {value:11.4g} {unit:9} {rival}: {rival_value:.4g}; "
        f"ratio {ratio:.4g}, asked {target:g}",
        flush=True,
    )
    return {
        "metric": metric,
        "value": value,
        "unit": unit,
        "rival": rival,
        "rival_value": rival_value,
        "ratio": ratio,
        "target": target,
        "holds": holds,
    }


def readings() -> Iterator[Row]:
    """Hot samples and censuses at each size."""
    smallest = 0.0
    for count in SIZES:
        with held(count) as target:
            other = psutil.Process(target.pid)
            tree = Tree(target.pid)
            seen = tree.read(0.0).fds
            if seen != count or other.num_fds() != count:
                sys.exit(f"the target holds {other.num_fds()}, we see {seen}: expected {count}")

            def cheap(other: psutil.Process = other) -> None:
                other.num_fds()
                other.memory_info()

            hot, theirs = compared(lambda tree=tree: tree.read(1.0), cheap, 30, 100)  # type: ignore[misc]
            smallest = smallest or hot
            most = count == SIZES[-1]
            yield row(
                f"hot sample, {count} descriptors", hot * MICRO, "us", "psutil num_fds + memory_info",
                theirs * MICRO, theirs / hot, 300.0 if most else 1.0,
                hot * MICRO <= 60 and theirs / hot >= (300 if most else 1),
            )  # fmt: skip
            if most:
                yield row(
                    "hot sample, largest over smallest target", hot * MICRO, "us", f"at {SIZES[0]} descriptors",
                    smallest * MICRO, hot / smallest, FLAT, hot / smallest <= FLAT,
                )  # fmt: skip

            def dear(other: psutil.Process = other) -> None:
                other.net_connections()
                other.open_files()

            def full_census(
                tree: Tree = tree,
            ) -> None:  # as a run takes it: the hot lane has followed the tree
                census(tree.root, at=0.0, known=tree.processes(), newest=tree.newest)

            full, theirs = compared(full_census, dear, 7, 3)
            tree.close()
            yield row(
                f"census, {count} descriptors", full * MILLI, "ms", "psutil net_connections + open_files",
                theirs * MILLI, theirs / full, 3.5, theirs / full >= 3.5,
            )  # fmt: skip


def own_cost(target: Target) -> Row:
    """CPU of a sampler at 10 Hz in this process, as a share of a core."""
    seconds = 10.0
    with Sampler(target.pid, clock=time.monotonic, interval=PACE) as sampler:
        before = time.process_time()
        start = time.monotonic()
        time.sleep(seconds)
        share = (time.process_time() - before) / (time.monotonic() - start)
        taken = len(sampler.samples())
    if taken < seconds / PACE * 0.9:
        sys.exit(f"the sampler took {taken} samples in {seconds:g} s: expected {seconds / PACE:g}")
    other = psutil.Process(target.pid)
    before = time.process_time()
    for _ in range(20):
        other.num_fds()
        other.memory_info()
    theirs = (time.process_time() - before) / 20 / PACE
    percent = share * 100
    return row("own CPU at 10 Hz, 19500 descriptors", percent, "% of core", "psutil num_fds + memory_info at 10 Hz",
               theirs * 100, theirs / share, 0.5, percent < 0.5)  # fmt: skip


def own_memory(target: Target) -> Row:
    """Growth of this process between two counts of samples kept as a run keeps them."""
    tree, history = Tree(target.pid), History()
    me = psutil.Process()
    early = 0
    for number in range(SAMPLES):
        history.append(tree.read(number * PACE))
        if number == SAMPLES // 10:
            early = me.memory_full_info().uss
    late = me.memory_full_info().uss
    tree.close()
    grown = (late - early) / 1024
    allowed = 256.0  # KiB: what an allocator may round; kept samples would be 20 MiB
    size = sys.getsizeof(Sample(0.0)) * SAMPLES / 1024
    return row(f"own memory grown over {SAMPLES} samples", grown, "KiB", "keeping them all, at the least", size,
               grown / allowed, 1.0, grown <= allowed)  # fmt: skip


def cost_to_target(target: Target) -> Iterator[Row]:
    """The throughput of the target with a reader at 10 Hz and without, in turn."""

    @contextmanager
    def ours() -> Iterator[None]:
        with Sampler(target.pid, clock=time.monotonic, interval=PACE):
            yield

    @contextmanager
    def psutils() -> Iterator[None]:
        stop = threading.Event()
        other = psutil.Process(target.pid)

        def read() -> None:
            while not stop.wait(PACE):
                other.num_fds()
                other.memory_info()

        thread = threading.Thread(target=read)
        thread.start()
        yield
        stop.set()
        thread.join()

    found: dict[str, list[float]] = {"alone": [], "ours": [], "psutil": []}
    target.work(0.5)
    for _ in range(ROUNDS):
        found["alone"].append(target.work(1.0))
        with ours():
            found["ours"].append(target.work(1.0))
        with psutils():
            found["psutil"].append(target.work(1.0))
    rates = {name: statistics.median(each) for name, each in found.items()}
    kept = statistics.median(b / a for a, b in zip(found["alone"], found["ours"], strict=True))
    theirs = statistics.median(b / a for a, b in zip(found["alone"], found["psutil"], strict=True))
    yield row("target's throughput, read at 10 Hz", rates["ours"], "trips/s", "without a reader", rates["alone"], kept,
              0.97, kept >= 0.97)  # fmt: skip
    print(f"       (read by psutil at 10 Hz: {rates['psutil']:.4g} trips/s, ratio {theirs:.4g})")


def main() -> None:
    """Measure everything; the exit code is 0 if every figure is within its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = list(readings())
    with held(SIZES[-1]) as target:
        rows.append(own_memory(target))
        rows.append(own_cost(target))
        rows.extend(cost_to_target(target))
    print(f"{len(os.sched_getaffinity(0))} cores, {os.uname().release}, psutil {psutil.__version__}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    sys.exit(0 if all(each["holds"] for each in rows) else 1)


if __name__ == "__main__":
    main()
