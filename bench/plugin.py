"""Measures what the pytest plugin costs a suite that does not use it, compared with the plugin of pytest-asyncio.

python -m bench.plugin [--json FILE]

``import``: CPU milliseconds that loading the module takes once pytest is there. ``collect``: added to a whole
``pytest --co``, in CPU time against the same without it (``-p no:…``), in turn.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 21
MAX_MS = 30.0  # ms
OURS, RIVAL = ("sse-leak-harness", "harness.pytest_plugin"), ("asyncio", "pytest_asyncio.plugin")
IMPORT = (
    "import pytest, time; begin = time.process_time(); import {}; print(1e3 * (time.process_time() - begin))"
)


def imported(module: str) -> float:
    """CPU milliseconds of an import, pytest being imported already; median."""
    argv = [sys.executable, "-c", IMPORT.format(module)]
    return statistics.median(
        float(subprocess.run(argv, check=True, capture_output=True).stdout) for _ in range(ROUNDS)
    )


def spent() -> float:
    """CPU seconds of the children that have ended: unlike the clock, other programs hardly move it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def collected(folder: Path) -> tuple[float, float]:
    """CPU milliseconds that each plugin adds to ``pytest --co`` of one empty test; medians."""
    (folder / "test_one.py").write_text("def test_one(): pass\n")
    times: dict[str, list[float]] = {"": [], OURS[0]: [], RIVAL[0]: []}
    for _ in range(ROUNDS):
        for kept, found in times.items():
            off = [word for name, _ in (OURS, RIVAL) if name != kept for word in ("-p", f"no:{name}")]
            begin = spent()
            subprocess.run(
                [sys.executable, "-m", "pytest", "--co", "-q", "-p", "no:cacheprovider", *off],
                cwd=folder, check=True, capture_output=True,
            )  # fmt: skip
            found.append((spent() - begin) * 1e3)
    base, ours, rival = (statistics.median(found) for found in times.values())
    return ours - base, rival - base


def row(metric: str, value: float, rival: float) -> dict[str, object]:
    """One line of the result; ``holds``: value is below MAX_MS."""
    print(f"pytest plugin, {metric}: {value:.1f} ms, pytest-asyncio {rival:.1f} ms (at most {MAX_MS:g})")
    return {
        "metric": f"pytest plugin, {metric}",
        "value": round(value, 3),
        "unit": "ms",
        "rival": "pytest-asyncio",
        "rival_value": round(rival, 3),
        "ratio": round(value / rival, 4) if rival else None,
        "target": MAX_MS,
        "holds": value < MAX_MS,
    }


def main() -> None:
    """Measure both, and print whether they are within their limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [row("import", imported(OURS[1]), imported(RIVAL[1]))]
    with tempfile.TemporaryDirectory() as folder:
        rows.append(row("collect", *collected(Path(folder))))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    sys.exit(0 if all(one["holds"] for one in rows) else 1)


if __name__ == "__main__":
    main()
