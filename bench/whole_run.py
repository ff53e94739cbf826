"""Measures how long `harness reproduce` takes, compared with the 120 seconds that it may take.

python -m bench.whole_run [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 120.0  # seconds


def main() -> None:
    """Run all profiles once, and print the time of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.monotonic()
        argv = [sys.executable, "-m", "harness.cli", "reproduce", "--quiet", "--out", str(run)]
        done = subprocess.run(argv, stdout=subprocess.DEVNULL, check=False)
        seconds = time.monotonic() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        size = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
        trials = json.loads((run / "run.json").read_text())["trials"]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"all          {seconds:7.1f} s  {cpu:6.1f} s CPU  {size / 1e6:5.1f} MB on disk  exit {done.returncode}"
    )
    for trial in trials:
        print(f"{trial['name']:12} {trial['ended'] - trial['started']:7.1f} s")
    rows = [
        {
            "metric": "harness reproduce, all profiles",
            "value": round(seconds, 2),
            "unit": "s",
            "rival": "budget",
            "rival_value": LIMIT,
            "ratio": round(seconds / LIMIT, 4),
            "target": 1.0,
            "holds": seconds <= LIMIT and done.returncode == 0,
        }
    ]
    print(f"{len(os.sched_getaffinity(0))} cores")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    sys.exit(0 if all(row["holds"] for row in rows) else 1)


if __name__ == "__main__":
    main()
