"""Planted leaks, guarded beside two busy loops: does the first place name the line that leaks?

``python -m bench.places [NAME …]`` guards the named leaks, or all; results stay in ``reports/places.json``, so that the
rows can be run one after another. Needs Node, Go and a JDK for their rows. Exits with 1 when fewer than 19 of 20 rows
are right, or any names a line of a library first.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVICES = Path(__file__).parent / "places_services"
RESULTS = Path(__file__).parents[1] / "reports" / "places.json"
ROWS: dict[str, tuple[str, ...]] = {
    "asyncio_orders.py": ("subscriber", "task", "library_task", "name", "event", "callback", "sleeper"),
    "thread_orders.py": ("thread", "library_thread", "session", "memoize"),
    "gevent_orders.py": ("greenlet", "library_greenlet", "order"),
    "orders.js": ("subscriber", "timer", "listener"),
    "go/main.go": ("goroutine", "event"),
    "java/Orders.java": ("thread",),
}
REQUIRED = 19
# A leak that a retention time would have to be waited for is certain at once; the place is what is measured here.
LOAD = {
    "retention": 0.0,
    "connections": 100,
    "concurrency": 25,
    "dwell": 0.4,
    "settle": 0.3,
    "sensitivity": 0.01,
}


def command(file: str, leak: str, folder: Path) -> tuple[str, ...]:
    """How the service starts. Go and Java are built first."""
    source = SERVICES / file
    if file.endswith(".js"):
        return ("node", str(source), "{port}", leak)
    if file.endswith(".go"):
        binary = folder / "orders"
        subprocess.run(
            ["go", "build", "-o", str(binary), source.name], cwd=source.parent, check=True, timeout=300
        )
        return (str(binary), "{port}", leak)
    if file.endswith(".java"):
        subprocess.run(["javac", "-d", str(folder), str(source)], check=True, timeout=300)
        return ("java", "-Xmx256m", "-cp", str(folder), "Orders", "{port}", leak)
    return (sys.executable, str(source), "{port}", leak)


def line_of(file: str, leak: str) -> int:
    """The line that is marked as planted."""
    lines = (SERVICES / file).read_text().splitlines()
    return next(
        n for n, line in enumerate(lines, 1) if line.endswith((f"# planted {leak}", f"// planted {leak}"))
    )


def _spin() -> None:
    while True:
        pass


@contextmanager
def busy(loops: int = 2) -> Iterator[None]:
    """Two processes that each keep a core busy."""
    running = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(loops)]
    for one in running:
        one.start()
    try:
        yield
    finally:
        for one in running:
            one.terminate()
            one.join()


def measure(file: str, leak: str) -> dict[str, object]:
    """Guard one leak; returns its first place, and whether that is the planted line."""
    from harness.experiment.guard import guard_once
    from harness.experiment.options import request_of

    with tempfile.TemporaryDirectory() as folder:
        argv = command(file, leak, Path(folder))
        with busy():
            request = request_of(
                command=argv, url="http://127.0.0.1:{port}/events", out=Path(folder) / "run", max_time=150.0, **LOAD
            )  # fmt: skip
            done = guard_once(request, command=f"places {file} {leak}")
    places = done.trial.places
    first = next((place for place in places.places if place.container is None), None) if places else None
    wanted = f"{Path(file).name}:{line_of(file, leak)}"
    text = first.text if first else ""
    return {
        "right": bool(re.search(rf"(?:^|/){re.escape(wanted)}(?!\d)", text)),
        "wanted": wanted,
        "first": text.replace(str(SERVICES), ""),
        "own": bool(first and first.own),
        "container": next((place.text for place in places.places if place.container), "") if places else "",
        "partial": bool(places and places.partial),
        "outcome": done.verdict.outcome.value,
        "explanation": done.verdict.explanation,
        "notes": [note.text for note in places.notes] if places else [],
    }


def main() -> int:
    """Guard the leaks that the command line names, and print the table."""
    # Each allocation is sampled, as docs/runtime.md advises.
    os.environ.setdefault("GODEBUG", "memprofilerate=1")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    chosen = [(file, leak) for file, leaks in ROWS.items() for leak in leaks]
    wanted = sys.argv[1:]
    for file, leak in chosen:
        name = f"{file}:{leak}"
        if wanted and not any(word in name for word in wanted):
            continue
        try:
            results[name] = measure(file, leak)
        except Exception as error:
            results[name] = {"right": False, "own": False, "first": f"{type(error).__name__}: {error}"}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        row = results[name]
        print(
            "right" if row["right"] else "WRONG",
            name,
            "|",
            row["first"],
            "|",
            row.get("container", ""),
            flush=True,
        )
    right = sum(bool(row["right"]) for row in results.values())
    library = [name for name, row in results.items() if not row["own"]]
    print(
        f"{right} of {len(results)} rows name the planted line first; a library first: {', '.join(library) or 'none'}"
    )
    return 0 if right >= REQUIRED and not library else 1


if __name__ == "__main__":
    sys.exit(main())
