"""Run every benchmark in turn: ``python -m bench`` (``make bench``)."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

LIMIT = 14 * 60  # seconds for all of them
SUPPORT = {"row"}


def main() -> None:
    """Each benchmark is a program of its own; one that fails does not stop the others."""
    names = sorted(info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)]))
    bad = []
    for name in names:
        if name.startswith("_") or name in SUPPORT or name == "conformance":
            continue
        print(f"== {name}", flush=True)
        done = subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False, timeout=LIMIT)
        if done.returncode:
            bad.append(name)
    print("all hold" if not bad else f"not held: {', '.join(bad)}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
