"""Measures what the agent costs a Python target at its start, while idle and per reading, compared with a tool that is
loaded in the same way.

python -m bench.runtime [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from harness.process.child import Child
from harness.runtime import node, python
from harness.runtime.counters import Counters
from harness.runtime.python import PythonCounters

PAIRS = 40
AT_START = 30.0  # ms
IDLE_SECONDS = 10.0
IDLE_CORES = 1e-4
READING = 250.0  # ms, at a quarter of a million objects
OBJECTS = 250_000


def started(env: Mapping[str, str], *argv: str) -> float:
    """Milliseconds that a program runs."""
    begin = time.perf_counter()
    subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - begin) * 1e3


def added(env: Mapping[str, str], plain: list[str], rival: list[str]) -> tuple[float, float, float]:
    """Medians of three start-up times: without an agent, added by the agent, added by the rival. They are measured in
    turn, so that noise affects all."""
    times: tuple[list[float], list[float], list[float]] = ([], [], [])
    for _ in range(PAIRS):
        times[0].append(started(os.environ, *plain))
        times[1].append(started(env, *plain))
        times[2].append(started(os.environ, *rival))
    base, ours, other = map(statistics.median, times)
    return base, ours - base, other - base


def startup(folder: Path) -> dict[str, object]:
    """A Python with the agent, beside one under coverage, which starts in the same way."""
    program = folder / "empty.py"
    program.write_text("pass\n")
    rival = [sys.executable, "-m", "coverage", "run", f"--data-file={folder}/c", str(program)]
    env = python.prepare_env(os.environ, folder / "agents")
    base, ours, other = added(env, [sys.executable, str(program)], rival)
    print(f"python: {base:.1f} ms without, +{ours:.1f} ms with the agent, +{other:.1f} ms under coverage")
    return row("added to the start of a Python", ours, "ms", "coverage run", other, AT_START)


def node_startup(folder: Path) -> dict[str, object] | None:
    """A Node with the agent, beside one that collects V8's coverage."""
    program = shutil.which("node")
    if not program:
        print("node: not installed")
        return None
    env = node.prepare_env(os.environ, folder / "node")
    rival = ["env", f"NODE_V8_COVERAGE={folder}/v8", program, "-e", "0"]
    base, ours, other = added(env, [program, "-e", "0"], rival)
    print(f"node: {base:.1f} ms without, +{ours:.1f} ms with the agent, +{other:.1f} ms with V8's coverage")
    return row("added to the start of a Node", ours, "ms", "NODE_V8_COVERAGE", other, AT_START)


def on_cpu(pid: int) -> float:
    """Seconds on a CPU of all threads, to the nanosecond (/proc/PID/task/TID/schedstat)."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def idle(folder: Path) -> dict[str, object]:
    """A target that sleeps, with the agent and without: cores used."""
    cores = []
    for name, env in (
        ("with", python.prepare_env(os.environ, folder / "idle")),
        ("without", dict(os.environ)),
    ):
        argv = [sys.executable, "-c", "import time; time.sleep(600)"]
        with Child.spawn(argv, log=folder / f"{name}.log", name="target", env=env) as child:
            time.sleep(1.0)
            before = on_cpu(child.pid)
            time.sleep(IDLE_SECONDS)
            cores.append((on_cpu(child.pid) - before) / IDLE_SECONDS)
    print(f"at rest: {cores[0]:.2g} cores with the agent, {cores[1]:.2g} without")
    return row("at rest", cores[0], "cores", "without the agent", cores[1], IDLE_CORES)


def reading(folder: Path) -> dict[str, object]:
    """One reading of a target that holds many objects, beside a bare gc.collect() of its own."""
    code = (
        f"import gc, time\nheld = [[] for _ in range({OBJECTS})]\n"
        "start = time.perf_counter(); gc.collect(); print((time.perf_counter() - start) * 1e3, flush=True)\n"
        "time.sleep(600)"
    )
    env = python.prepare_env(os.environ, folder / "reading")
    with Child.spawn([sys.executable, "-c", code], log=folder / "r.log", name="target", env=env) as child:
        reader = PythonCounters(folder / "reading", child.pid)
        while not child.tail():
            child.wait(0.05)
        assert isinstance(reader.probe(), Counters)
        times = []
        for _ in range(10):
            begin = time.perf_counter()
            reader.read()
            times.append((time.perf_counter() - begin) * 1e3)
        bare = float(child.tail()[0])
    print(
        f"a reading of {OBJECTS} objects: {statistics.median(times):.1f} ms; gc.collect() alone {bare:.1f} ms"
    )
    return row("one reading", statistics.median(times), "ms", "gc.collect() alone", bare, READING)


def row(metric: str, value: float, unit: str, rival: str, other: float, target: float) -> dict[str, object]:
    """One line of the result; ``holds``: value is at most target."""
    return {
        "metric": f"runtime agent, {metric}",
        "value": round(value, 6),
        "unit": unit,
        "rival": rival,
        "rival_value": round(other, 6),
        "ratio": round(value / other, 4) if other else None,
        "target": target,
        "holds": value <= target,
    }


def main() -> None:
    """Measure all, and print whether they are within their limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts = (startup, node_startup, idle, reading)
        rows = [found for part in parts if (found := part(Path(folder)))]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    sys.exit(0 if all(row["holds"] for row in rows) else 1)


if __name__ == "__main__":
    main()
