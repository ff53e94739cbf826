"""Services that no rule was tuned on, each guarded once with the defaults: is the verdict right?

python -m bench.unseen [--rows REGEX] [--jobs N] [--max-time TIME] [--json FILE] [--keep DIR]

Most of the rows (marked) never led to a change of a rule; only the others may. Needs Node, Go, a JDK, a C compiler,
rustc, Ruby and PHP for their rows. Prints a row for each service and exits with 1 when a verdict was wrong: a healthy
service that is not bounded, or a leaking one whose outcome or driver is not the planted one.
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
from pathlib import Path
from typing import Any

from bench._unseen_rows import ROWS, Row

SERVICES = Path(__file__).parent / "unseen_services"
SCRIPTS = {
    "python": (sys.executable, "service.py"),
    "node": ("node", "service.js"),
    "ruby": ("ruby", "service.rb"),
    "php": ("php", "service.php"),
}
TIMEOUT = 600.0  # seconds after which a guard is stopped


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
    if row.language in SCRIPTS:
        program, source = SCRIPTS[row.language]
        return (program, f"{SERVICES}/{source}", "{port}", row.behaviour)
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
            *("--max-time", max_time, "--json", str(out), *saved),
            *(*row.options, "--", *command(row, folder)),
        ],
        timeout=TIMEOUT,
        capture_output=True,
        check=False,
    )
    return dict(json.loads(out.read_text())) if out.exists() else {"outcome": "none", "findings": []}


def right(row: Row, verdict: dict[str, Any]) -> bool:
    """Whether the outcome is the planted one, and the first finding's driver as well."""
    if not row.leaks:
        return verdict["outcome"] in row.passes
    if verdict["outcome"] in row.instead:
        return True
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
