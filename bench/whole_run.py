"""The cost of the whole run: what `harness reproduce` takes, beside the 120 seconds it may take.

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
PROFILES = ("original", "upstream", "solution-1", "solution-2", "solution-3", "fixed")


def main() -> None:
    """Run it once for all profiles, then once per profile, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for name in ("all", *PROFILES):
        wanted = [] if name == "all" else ["--profile", name]
        with tempfile.TemporaryDirectory() as folder:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = time.monotonic()
            argv = [
                sys.executable,
                "-m",
                "harness.cli",
                "reproduce",
                "--quiet",
                "--out",
                f"{folder}/run",
                *wanted,
            ]
            done = subprocess.run(argv, stdout=subprocess.DEVNULL, check=False)
            seconds = time.monotonic() - start
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"{name:12} {seconds:7.1f} s  {cpu:6.1f} s CPU  {size / 1e6:5.1f} MB on disk  exit {done.returncode}"
        )
        rows.append(
            {
                "metric": f"harness reproduce, {name}",
                "value": round(seconds, 2),
                "unit": "s",
                "rival": "budget",
                "rival_value": LIMIT,
                "ratio": round(seconds / LIMIT, 4),
                "target": 1.0,
                "holds": seconds <= LIMIT and done.returncode == 0,
            }
        )
    print(f"{len(os.sched_getaffinity(0))} cores")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    sys.exit(0 if all(row["holds"] for row in rows) else 1)


if __name__ == "__main__":
    main()
