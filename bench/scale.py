"""Measures one, two and four workers that join a master over TCP, as workers of other machines do: their throughput
here, and the cost of each.

python -m bench.scale [--quick] [--json FILE]

Server, master and workers share this machine's cores, so the streams per second of more workers than cores say little.
What a stream and an event cost a worker is its own CPU time, and that is what a cluster is sized by.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench._swarm_pair import ADDRESSES, Peer
from harness.core.cycle import CycleSpec
from harness.swarm.launch import Swarm
from harness.swarm.load import LoadOptions
from harness.swarm.setup import SECRET_VARIABLE, SwarmSetup
from harness.target.spawn import free_port

WORKERS = (1, 2, 4)
EACH = 50  # streams open at once of each worker, while streams are opened and closed
PATHS = ("/events",)
TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20
FOR_EVER = 3600.0
QUIET = 1.0  # seconds to wait until the opened streams are idle


@dataclass(frozen=True, slots=True)
class Size:
    """churn: streams to open and close. streams: held open; each gets ``events``, one every ``every`` seconds."""

    churn: int = 20_000
    streams: int = 4_000
    events: int = 10
    every: float = 0.5


QUICK = Size(1_000, 200, 4, 0.1)
SMOKE = Size(60, 20, 2, 0.05)


@dataclass(frozen=True, slots=True)
class Row:
    """The results of a number of workers. cpu_stream, cpu_event: microseconds of a worker's core. master: cores, while
    events came. memory: MiB of anonymous pages of a worker with its share of the open streams; memory_stream: KiB of
    that for each."""

    workers: int
    streams_per_second: float
    cpu_stream: float
    events_per_second: float
    cpu_event: float
    memory: float
    memory_stream: float
    master: float
    lost: int


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used (proc(5), stat, fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def anonymous(pid: int) -> int:
    """Bytes of its anonymous pages."""
    line = next(
        one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("RssAnon")
    )
    return int(line.split()[1]) * 1024


@contextmanager
def swarm_of_workers(count: int, folder: Path) -> Iterator[tuple[Peer, Swarm, list[int]]]:
    """A server, a master and its workers: (server, swarm, pids of the workers)."""
    with ExitStack() as stack:
        server = Peer("bench._swarm_server", host := f"127.0.3.{next(ADDRESSES)}")
        stack.callback(server.end)
        bind, secret = f"127.0.0.1:{free_port()}", secrets.token_urlsafe(32)
        load = LoadOptions(processes=0, remote_workers=count, bind=bind, stall_after=60.0)
        url = f"http://{host}:{server.first['port']}"
        swarm = stack.enter_context(Swarm(SwarmSetup(url, load, secret=secret), folder))
        pids = []
        for _ in range(count):
            argv = [sys.executable, "-m", "harness.swarm.worker", bind]
            worker = subprocess.Popen(
                argv, env={**os.environ, SECRET_VARIABLE: secret}, stderr=subprocess.DEVNULL
            )
            stack.callback(worker.wait)
            stack.callback(worker.kill)
            pids.append(worker.pid)
        swarm.wait_ready()
        yield server, swarm, pids


def measure(count: int, size: Size, folder: Path) -> Row:
    """Open and close streams; then hold some open and send events to them."""
    with swarm_of_workers(count, folder) as (server, swarm, pids):
        spec = CycleSpec(0, 10 * count, EACH * count, 60.0, 1, "rst", PATHS)
        swarm.cycle(spec)
        before = [cpu(pid) for pid in pids]
        ledger = swarm.cycle(CycleSpec(1, size.churn, EACH * count, 60.0, 1, "rst", PATHS))
        churn = sum(cpu(pid) - used for pid, used in zip(pids, before, strict=True))
        lost = ledger.opened - ledger.completed

        empty = [anonymous(pid) for pid in pids]
        over = threading.Event()
        held = CycleSpec(2, size.streams, size.streams, FOR_EVER, 0, "rst", PATHS)
        running = threading.Thread(target=swarm.cycle, args=(held,), kwargs={"cancelled": over.is_set})
        opened = server.ask("stats")["opened"]
        running.start()
        server.ask(f"open {opened + size.streams}")
        time.sleep(QUIET)
        full = [anonymous(pid) for pid in pids]
        before, master, began = [cpu(pid) for pid in pids], cpu(swarm.pid), time.monotonic()
        sent = server.ask(f"send {size.events} {size.every}")
        seconds = time.monotonic() - began
        flow = sum(cpu(pid) - used for pid, used in zip(pids, before, strict=True))
        master = (cpu(swarm.pid) - master) / seconds
        over.set()
        running.join()
    return Row(
        count,
        ledger.completed / ledger.seconds,
        1e6 * churn / size.churn,
        sent["sent"] / seconds,
        1e6 * flow / sent["sent"],
        max(full) / MIB,
        (sum(full) - sum(empty)) / 1024 / size.streams,
        master,
        lost,
    )


def table(rows: list[Row]) -> str:
    """As in docs/scale.md."""
    head = (
        "| workers | streams/s opened and closed | CPU of a stream | events/s | CPU of an event | memory of a worker | "
        "of a stream | master |\n|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(
        f"| {row.workers} | {row.streams_per_second:,.0f} | {row.cpu_stream:.0f} µs | {row.events_per_second:,.0f} | "
        f"{row.cpu_event:.1f} µs | {row.memory:.0f} MiB | {row.memory_stream:.1f} KiB | {100 * row.master:.0f} % |\n"
        for row in rows
    )


def main() -> None:
    """Measure, print the table, exit with 1 where a stream was lost."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer streams")
    parser.add_argument("--smoke", action="store_true", help="only whether it works")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    size = SMOKE if given.smoke else QUICK if given.quick else Size()
    rows = []
    for count in WORKERS[:2] if given.smoke else WORKERS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(count, size, Path(folder)))
    print(table(rows), end="")
    print(f"load average: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if given.json:
        found = [
            {
                "metric": f"{name}, {row.workers} workers", "value": value, "unit": "", "rival": "",
                "rival_value": None, "ratio": None, "target": None, "holds": row.lost == 0,
            }
            for row in rows
            for name, value in asdict(row).items()
        ]  # fmt: skip
        given.json.write_text(json.dumps(found, indent=1))
    sys.exit(1 if any(row.lost for row in rows) else 0)


if __name__ == "__main__":
    main()
