"""Guard every example twice, healthy and leaky, by the command line: ``python -m examples [NAME …]``.

Exit code 1 when a verdict is not what the README says it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
HARNESS = [sys.executable, "-m", "harness.cli"]
SECONDS = 150.0
AT_ONCE = 2  # guards side by side: each mostly waits for its service to come to rest


@dataclass(frozen=True, slots=True)
class Example:
    """command: what starts it; PORT is in its environment. metric, kind: what its leak shows first.
    build: a command that is run first; empty: none."""

    name: str
    command: tuple[str, ...]
    metric: str
    kind: str
    build: tuple[str, ...] = ()


EXAMPLES = (
    Example("fastapi", (sys.executable, "fastapi_app.py"), "memory", "objects"),
    Example("aiohttp", (sys.executable, "aiohttp_app.py"), "tasks", "asyncio-task"),
    Example("flask-gevent", (sys.executable, "flask_gevent_app.py"), "fds", "file"),
    Example("go", ("go/example",), "tasks", "goroutine", build=("go", "build", "-o", "example", ".")),
    Example("node", ("node", "node/server.js"), "tasks", "handle"),
)


def guard(example: Example, folder: Path, *, leaky: bool) -> tuple[bool, str]:
    """One guard; whether it said what it should, and what it said."""
    result = folder / "verdict.json"
    command = [
        *(*HARNESS, "guard", "--retention", "0", "--url", "http://127.0.0.1:{port}/events", "--quiet"),
        *("--out", str(folder / "run"), "--json", str(result), "--", *example.command),
    ]
    environment = {**os.environ, "LEAKY": "1" if leaky else "0"}
    done = subprocess.run(
        command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if not result.exists():
        return False, f"exit code {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"
    verdict = json.loads(result.read_text())
    if not leaky:
        return verdict["outcome"] == "bounded" and done.returncode == 0, verdict["explanation"]
    found = any((f["metric"], f["kind"]) == (example.metric, example.kind) for f in verdict["findings"])
    right = verdict["outcome"] == "leaking" and found and done.returncode == 1
    return right, verdict["explanation"]


def main(names: Sequence[str]) -> int:
    known = [example.name for example in EXAMPLES]
    for name in names:
        if name not in known:
            sys.stderr.write(f"{name!r}: no such example; expected one of {', '.join(known)}\n")
            return 2
    chosen = [example for example in EXAMPLES if not names or example.name in names]
    for example in chosen:
        if example.build:
            subprocess.run(example.build, cwd=HERE / example.name, check=True, timeout=SECONDS)
    wrong = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as pool:

        def look(example: Example, leaky: bool) -> bool:
            start = time.monotonic()
            place = Path(folder) / f"{example.name}-{leaky}"
            place.mkdir()
            right, said = guard(example, place, leaky=leaky)
            word, kind = "ok" if right else "WRONG", "leaky" if leaky else "healthy"
            print(f"{word:5} {time.monotonic() - start:5.1f} s {example.name} {kind}: {said}", flush=True)
            return right

        looks = [pool.submit(look, example, leaky) for example in chosen for leaky in (False, True)]
        wrong = sum(not one.result() for one in looks)
    print(f"{wrong} wrong, {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
