"""Run every benchmark in turn: ``python -m bench`` (``make bench``)."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
import time
from pathlib import Path

LIMIT = 15 * 60  # seconds for all of them
# Half the runs a row: the table of docs/detector.md, of 1,000, takes more than six minutes for itself.
SHORTER = {
    "detector": ("--runs", "500", "--no-write"),
    "trend": ("--nights", "4000", "--runs", "60", "--no-write"),
}


def main() -> None:
    """Run each benchmark as a program of its own, so that one that fails does not stop the others."""
    names = sorted(info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)]))
    bad, end = [], time.monotonic() + LIMIT
    for name in names:
        if name.startswith("_") or name == "conformance":
            continue
        print(f"== {name}", flush=True)
        argv = [sys.executable, "-m", f"bench.{name}", *SHORTER.get(name, ())]
        try:
            done = subprocess.run(argv, check=False, timeout=max(1.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            print(f"{name}: the {LIMIT // 60} minutes for all benchmarks are used up")
            bad.append(name)
            continue
        if done.returncode:
            bad.append(name)
    print("all hold" if not bad else f"not held: {', '.join(bad)}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
