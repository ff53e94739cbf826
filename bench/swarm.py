"""Compares the cost of the swarm with that of Locust's own users, k6 and two bare baselines, in one run with the same
server.

python -m bench.swarm [--quick] [--yardsticks] [--json FILE]

Server and client are processes of their own; CPU is process time, so that the two cores they share do not matter. The
first baseline (``yardstick``) is a gevent socket in a greenlet per stream with httptools, which counts blank lines. The
second is a plain epoll loop with httptools that only counts. Our swarm has everything enabled: statistics, checks of
ids, stall detection, ledger.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench._swarm_k6 import K6, find_k6
from bench._swarm_pair import EPOLL, Flow, Pair

OURS, USER, YARD, FAST, PLAIN = "pool", "SseUser", "yardstick", "FastHttpUser", "HttpUser"
MEDIANS = (OURS, YARD, EPOLL)  # run in every round, in turn; the median counts
KIB = 1024.0
FILES = 20_000  # ulimit -n
POOL_MEMORY, USER_MEMORY = 2.3, 14.0  # KiB a stream
CPU_EPOLL, CHURN_EPOLL = 1.3, 0.9  # times the epoll loop's
HALF = 0.5  # of the CPU that k6 and FastHttpUser take
CHURN = {FAST: 1.7, PLAIN: 4.0}
LAG = 2.0  # times the p99 of a yardstick
CONCURRENCY = 50
PORTS = 28_232  # net.ipv4.ip_local_port_range: what one run can leave in TIME_WAIT


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of it. flows: (streams, events for each, seconds between two of a stream)."""

    sizes: tuple[int, ...] = (2_000, 10_000, 18_000)
    flows: tuple[tuple[int, int, float], ...] = ((1_000, 25, 0.2), (10_000, 2, 2.0))
    churn: float = 4.0  # seconds; ports that wait (TIME_WAIT) count from the second one on
    rounds: int = 3  # of ours and the yardsticks
    wait: float = 61.0  # seconds, at most, until enough of TIME_WAIT is over
    locust: tuple[str, ...] = (FAST, PLAIN)


QUICK = Scale(sizes=(200, 600), flows=((200, 10, 0.1), (500, 2, 0.5)), churn=0.5, rounds=1)
SMOKE = Scale(sizes=(20,), flows=((20, 3, 0.05),), churn=0.05, rounds=1, locust=())

Row = dict[str, Any]


class Table:
    """Rows as they come: printed, and kept for --json."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def most(
        self, metric: str, value: float, unit: str, rival: str, other: float, target: float = 1.0
    ) -> None:
        """Add a row whose figure of ours may be at most ``target`` times the rival's."""
        self._add(metric, value, unit, rival, other, target, value <= target * other)

    def least(
        self, metric: str, value: float, unit: str, rival: str, other: float, target: float = 1.0
    ) -> None:
        """Add a row whose figure of ours must be at least ``target`` times the rival's."""
        self._add(metric, value, unit, rival, other, target, value >= target * other)

    def _add(
        self, metric: str, value: float, unit: str, rival: str, other: float, target: float, holds: bool
    ) -> None:
        ratio = round(value / other, 4) if other else None
        self.rows.append(
            {
                "metric": metric, "value": round(value, 4), "unit": unit, "rival": rival,
                "rival_value": round(other, 4), "ratio": ratio, "target": target, "holds": holds,
            }
        )  # fmt: skip
        said = "holds " if holds else "MISSED"
        times = "" if ratio is None else f" ({ratio:.2f}, asked {target:g})"
        print(f"{said} {metric:44} {value:10.4g} {unit:9} {rival}: {other:.4g}{times}", flush=True)

    def show(self, metric: str, kind: str, value: float, unit: str) -> None:
        """Add a row without a target."""
        print(f"       {metric:44} {value:10.4g} {unit:9} {kind}", flush=True)


def idle(table: Table, scale: Scale) -> None:
    """Memory of an idle stream, and the time to open them all."""
    memory: dict[tuple[str, int], float] = {}
    seconds: dict[str, float] = {}
    largest = scale.sizes[-1]
    for size in scale.sizes:  # the pool opens a cycle's streams at one go: a process for each size
        with Pair(OURS) as pair:
            before = pair.memory()
            seconds[OURS] = pair.open(size)
            memory[OURS, size] = (pair.memory() - before) / size / KIB
    for kind in (YARD, EPOLL, USER, *scale.locust):
        with Pair(kind) as pair:
            before, opened, seconds[kind] = pair.memory(), 0, 0.0
            for size in scale.sizes:
                seconds[kind] += pair.open(size - opened)
                opened = size
                memory[kind, size] = (pair.memory() - before) / size / KIB
    for size in scale.sizes:
        name = f"memory per idle stream, {size:,} open"
        table.most(f"{name}, pool", memory[OURS, size], "KiB", "asked", POOL_MEMORY)
        table.most(f"{name}, SseUser", memory[USER, size], "KiB", "asked", USER_MEMORY)
        for kind in (YARD, EPOLL, *scale.locust):
            table.show(name, kind, memory[kind, size], "KiB")
    table.most(f"seconds to open {largest:,}", seconds[OURS], "s", YARD, seconds[YARD])
    for kind in (EPOLL, USER, *scale.locust):
        table.show(f"seconds to open {largest:,}", kind, seconds[kind], "s")


def flow(table: Table, scale: Scale, streams: int, count: int, every: float, kinds: tuple[str, ...]) -> None:
    """CPU of an event, lag, and events lost."""
    done: dict[str, list[Flow]] = {kind: [] for kind in (OURS, YARD, EPOLL, *kinds)}
    for index in range(scale.rounds):
        for kind in done:
            if index == 0 or kind in MEDIANS:
                with Pair(kind) as pair:
                    done[kind].append(pair.flow(streams, count, every))
    load = f"{streams:,} streams x {1 / every:g}/s"
    cpu = {
        kind: statistics.median(flow.cpu / max(1, flow.received) * 1e6 for flow in flows)
        for kind, flows in done.items()
    }
    table.most(f"CPU per event, {load}", cpu[OURS], "us", YARD, cpu[YARD])
    table.most(f"CPU per event, {load}", cpu[OURS], "us", EPOLL, cpu[EPOLL], CPU_EPOLL)
    for kind in kinds:
        if kind == FAST:
            table.most(f"CPU per event, {load}", cpu[OURS], "us", FAST, cpu[FAST], HALF)
        else:
            table.show(f"CPU per event, {load}", kind, cpu[kind], "us")
    middle, last = (
        {
            kind: statistics.median(quantile(flow.lags, share) for flow in flows) * 1e3
            for kind, flows in done.items()
        }
        for share in (0.5, 0.99)
    )
    for kind in (YARD, EPOLL):
        table.most(f"lag p99, {load}", last[OURS], "ms", kind, last[kind], LAG)
    table.show(f"lag p50, {load}", OURS, middle[OURS], "ms")
    for kind in (YARD, EPOLL, *kinds):
        table.show(f"lag p50, {load}", kind, middle[kind], "ms")
        if kind in kinds:
            table.show(f"lag p99, {load}", kind, last[kind], "ms")
    lost = {kind: sum(flow.sent - flow.received for flow in flows) for kind, flows in done.items()}
    wrong = sum(flow.wrong for flow in done[OURS])
    table.most(f"events lost or wrongly counted, {load}", lost[OURS] + wrong, "events", "asked", 0.0)
    for kind in (YARD, EPOLL, *kinds):
        table.show(f"events lost, {load}", kind, lost[kind], "events")


class Churn:
    """Streams that are opened, get one event and are closed, in rounds between other measurements.

    The port of the side that closes first is in TIME_WAIT for a minute, or on loopback for a second when it is needed
    again. Once the kernel's table of such ports is full (tcp_max_tw_buckets), ports do not wait at all, so a client
    that runs then is faster. So a round starts only with room in the table.
    """

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.rates: dict[str, list[float]] = {kind: [] for kind in (OURS, YARD, EPOLL, *scale.locust, USER)}

    def round(self) -> None:
        """Ours and the yardsticks; the others in the first round only."""
        if len(self.rates[OURS]) >= self.scale.rounds:
            return
        for kind, found in self.rates.items():
            if not found or kind in MEDIANS:
                until_ports_are_free(self.scale.wait)
                with Pair(kind) as pair:
                    found.append(pair.churn(self.scale.churn, CONCURRENCY))

    def report(self, table: Table) -> None:
        """Print the medians."""
        rate = {kind: statistics.median(found) for kind, found in self.rates.items()}
        name = f"open, first event, close at concurrency {CONCURRENCY}"
        table.least(name, rate[OURS], "streams/s", YARD, rate[YARD])
        table.least(name, rate[OURS], "streams/s", EPOLL, rate[EPOLL], CHURN_EPOLL)
        for kind in self.scale.locust:
            table.least(name, rate[OURS], "streams/s", kind, rate[kind], CHURN[kind])
        table.show(name, USER, rate[USER], "streams/s")


def until_ports_are_free(timeout: float) -> None:
    """Wait until the table of ports in TIME_WAIT has room for one run."""
    most = int(Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").read_text())
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        words = next(
            s for s in Path("/proc/net/sockstat").read_text().splitlines() if s.startswith("TCP:")
        ).split()
        if int(words[words.index("tw") + 1]) + PORTS < most:
            return
        time.sleep(0.2)
    print("       TIME_WAIT is full: the rates of streams that come and go are not to be compared")


def quantile(values: list[float], share: float) -> float:
    """The value that a share of all do not pass; 0 without values."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def beside_k6(table: Table, scale: Scale) -> None:
    """k6 with xk6-sse, where it is installed."""
    k6 = find_k6()
    if k6 is None:
        print("       k6 with xk6-sse: not on PATH")
        return
    streams, count, every = scale.flows[0]
    ours = {row["metric"]: row["value"] for row in table.rows if row["rival"] == YARD}
    load = f"CPU per event, {streams:,} streams x {1 / every:g}/s"
    table.most(load, ours[load], "us", "k6", K6(k6).flow(streams, count, every), HALF)


def main(argv: list[str] | None = None) -> None:
    """Print the table; exit 1 when a row does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small numbers: a look, not a measurement")
    size.add_argument("--smoke", action="store_true", help="tiny numbers: that it works")
    parser.add_argument(
        "--yardsticks",
        action="store_true",
        help="leave out Locust's users, which a busy machine cannot hold open",
    )
    options = parser.parse_args(argv)
    scale = SMOKE if options.smoke else QUICK if options.quick else Scale()
    if options.yardsticks:
        scale = replace(scale, locust=())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        sys.exit(f"ulimit -Hn is {hard}; expected at least {FILES}: raise the hard limit")
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    table, churn = Table(), Churn(scale)
    churn.round()
    idle(table, scale)
    churn.round()
    for index, (streams, count, every) in enumerate(scale.flows):
        flow(table, scale, streams, count, every, (*scale.locust, USER) if index == 0 else ())
    churn.round()
    churn.report(table)
    beside_k6(table, scale)
    if options.json:
        options.json.write_text(json.dumps(table.rows, indent=1) + "\n")
    sys.exit(0 if all(row["holds"] for row in table.rows) else 1)


if __name__ == "__main__":
    main()
