"""Services that no rule was tuned on, each guarded once with the defaults: is the verdict right?

python -m bench.unseen [--rows REGEX] [--jobs N] [--max-time TIME] [--json FILE] [--keep DIR]

Half of the rows (marked) never led to a change of a rule; only the others may. Needs Node, Go, a JDK, a C compiler and
rustc for their rows. Prints a row for each service and exits with 1 when a verdict was wrong: a healthy service that is
not bounded, or a leaking one whose outcome or driver is not the planted one.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVICES = Path(__file__).parent / "unseen_services"
TIMEOUT = 600.0  # seconds of one guard, beyond which it is ended
LOADED = ("connection", "answered-stream")


@dataclass(frozen=True, slots=True)
class Row:
    """One service. leaks: the drivers that are right for it; empty for a healthy one. held_back: no rule was changed
    after looking at it."""

    language: str
    behaviour: str
    means: str
    leaks: tuple[str, ...] = ()
    held_back: bool = False


ROWS = (
    Row("python", "late-7", "a pipe per stream, closed 7 s later"),
    Row("python", "tenants-90", "a descriptor for each of 90 tenants", held_back=True),
    Row("python", "cap-700", "a pipe per stream until 700, then only 503", LOADED),
    Row("python", "reset", "a pipe per stream that ended with an error", ("abort",), held_back=True),
    Row("node", "late-22", "a descriptor per stream, closed 22 s later"),
    Row("node", "swept-13", "a descriptor per stream, closed by a sweep every 13 s", held_back=True),
    Row("node", "lumpy", "20 timers for every fortieth stream", LOADED, held_back=True),
    Row(
        "node", "stalled", "6 to 12 kB queued per second behind a stalled reader", ("stalled-second", "event")
    ),
    Row("go", "late-45", "a file per stream, closed 45 s later", held_back=True),
    Row("go", "goroutine", "a goroutine per stream that waits for ever, without pprof", LOADED),
    Row("go", "time", "350 kB a second, without pprof", ("time",)),
    Row("go", "garbage", "1 MB of garbage a second beside 20 MB, without pprof"),
    Row("java", "blocked-90", "a pool of 90 workers that block for ever", LOADED),
    Row("java", "pool-20", "a pool of threads that end when idle for 20 s", held_back=True),
    Row("c", "tick-6", "a departure is noticed by the write every 6 s"),
    Row("c", "bytes-3000", "3,000 bytes per stream", LOADED, held_back=True),
    Row("c", "reset-eventfd", "an eventfd per stream that was reset", ("abort",), held_back=True),
    Row("rust", "bytes-per-event", "2,500 bytes per event", ("event", *LOADED)),
    Row("rust", "file-per-25", "a file for every 25th stream", LOADED, held_back=True),
    Row("rust", "flat", "nothing", held_back=True),
)


def build(folder: Path, languages: set[str]) -> None:
    """Compile the services that need it."""
    commands = {
        "c": ("cc", "-O1", "-pthread", "-o", f"{folder}/service_c", f"{SERVICES}/service.c"),
        "go": ("go", "build", "-o", f"{folder}/service_go", f"{SERVICES}/go/main.go"),
        "java": ("javac", "-d", f"{folder}", f"{SERVICES}/java/Service.java"),
        "rust": ("rustc", "-O", "-o", f"{folder}/service_rust", f"{SERVICES}/service.rs"),
    }
    for language in sorted(languages & set(commands)):
        subprocess.run(commands[language], check=True, timeout=TIMEOUT)


def command(row: Row, folder: Path) -> tuple[str, ...]:
    """How the service starts."""
    if row.language == "python":
        return (sys.executable, f"{SERVICES}/service.py", "{port}", row.behaviour)
    if row.language == "node":
        return ("node", f"{SERVICES}/service.js", "{port}", row.behaviour)
    if row.language == "java":
        return ("java", "-Xmx256m", "-cp", str(folder), "Service", "{port}", row.behaviour)
    return (f"{folder}/service_{row.language}", "{port}", row.behaviour)


def guarded(row: Row, folder: Path, max_time: str, keep: Path | None) -> dict[str, Any]:
    """The verdict of one guard, as ``harness guard --json`` writes it."""
    name = f"{row.language}-{row.behaviour}"
    out = folder / f"{name}.json"
    saved = ("--out", str(keep / name)) if keep else ("--out", str(folder / name))
    subprocess.run(
        [
            *(
                str(Path(sys.executable).with_name("harness")),
                "guard",
                "--url",
                "http://127.0.0.1:{port}/events",
            ),
            *("--max-time", max_time, "--json", str(out), *saved, "--", *command(row, folder)),
        ],
        timeout=TIMEOUT,
        capture_output=True,
        check=False,
    )
    return dict(json.loads(out.read_text())) if out.exists() else {"outcome": "none", "findings": []}


def right(row: Row, verdict: dict[str, Any]) -> bool:
    """Whether the outcome is the planted one, and the first finding's driver as well."""
    if not row.leaks:
        return bool(verdict["outcome"] == "bounded")
    found = [one for one in verdict["findings"] if one["status"] == "leaking"]
    return verdict["outcome"] == "leaking" and bool(found) and found[0]["driver"] in row.leaks


def line(row: Row, verdict: dict[str, Any]) -> str:
    """A row of the table."""
    found = verdict["findings"][:1]
    rate = f"{found[0]['metric']} {found[0].get('kind', '')} per {found[0]['driver']}" if found else ""
    mark = "yes" if row.held_back else ""
    ok = "right" if right(row, verdict) else "**wrong**"
    truth = "leaking" if row.leaks else "healthy"
    return f"| {row.language}: {row.means} | {mark} | {truth} | {verdict['outcome']} | {rate} | {ok} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Guard the rows and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.unseen", description=__doc__)
    parser.add_argument(
        "--rows", default="", metavar="REGEX", help="only rows whose 'LANGUAGE-BEHAVIOUR' matches"
    )
    parser.add_argument("--jobs", type=int, default=1, help="guards at a time [1]")
    parser.add_argument("--max-time", default="2m", help="of each guard [2m]")
    parser.add_argument("--json", type=Path, help="write the verdicts here")
    parser.add_argument("--keep", type=Path, help="keep the runs in this folder")
    options = parser.parse_args(arguments)
    rows = [row for row in ROWS if re.search(options.rows, f"{row.language}-{row.behaviour}")]
    if not rows:
        parser.error(f"--rows {options.rows!r}: no row matches; expected part of a name such as 'go-late-45'")
    with tempfile.TemporaryDirectory() as made, ThreadPoolExecutor(options.jobs) as pool:
        folder = Path(made)
        build(folder, {row.language for row in rows})
        verdicts = []
        for row, verdict in zip(
            rows,
            pool.map(lambda row: guarded(row, folder, options.max_time, options.keep), rows),
            strict=True,
        ):
            print(line(row, verdict), flush=True)
            verdicts.append(
                {"row": f"{row.language}-{row.behaviour}", "right": right(row, verdict), **verdict}
            )
    if options.json:
        options.json.write_text(json.dumps(verdicts, indent=1) + "\n")
    good = sum(one["right"] for one in verdicts)
    print(f"{good} of {len(rows)} right")
    return 0 if good == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
