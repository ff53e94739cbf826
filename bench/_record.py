"""Record the levels of real servers under equal cycles, for the simulation: bench/traces/NAME.json.

python -m bench._record [NAME …]           servers on which the rules were tuned
python -m bench._record --held-back        other services, into bench/traces_held_back: only when the rules are final

Traces that were recorded before the rules were final are not proof of them. ``bench.detector --held-back with`` uses
those of ``traces_held_back`` as further healthy rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.core.cycle import CycleSpec, Phase
from harness.core.plan import Stop
from harness.core.record import Trial
from harness.experiment.guard import guard_once
from harness.experiment.options import GuardRequest, request_of
from tests.edges.servers.proof import SERVERS, server
from tests.sabotage.case import Case, Green

TRACES = Path(__file__).parent / "traces"
HELD_BACK = Path(__file__).parent / "traces_held_back"
SERVICES = SERVERS.parent.parent / "services"
PYTHON = sys.executable
SIZES = (300,) * 16 + (2000,) * 10  # connections per cycle
PORTS = {  # servers that print the port they chose
    "asyncio": [PYTHON, str(SERVERS / "asyncio_server.py")],
    "threads": [PYTHON, str(SERVERS / "thread_server.py")],
    "gevent": [PYTHON, str(SERVERS / "gevent_server.py")],
    "node": ["node", str(SERVERS / "server.js")],
}
GIVEN = {  # servers that get their port as an argument
    "streams": [PYTHON, str(SERVICES / "plain_sse.py"), "{port}", "healthy"],
    "uvicorn": [
        PYTHON, "-m", "uvicorn", "--log-level", "error", "--port", "{port}", "--app-dir", str(SERVERS), "asgi_app:app",
    ],
}  # fmt: skip
# Healthy services that no rule was tuned on: name → runtime and behaviour of tests/services.
OTHERS = {
    "gevent-cache": ("gevent", "cache"),
    "thread-arenas": ("thread", "arenas"),
    "asyncio-sessions": ("asyncio", "sessions"),
    "asyncio-imports": ("asyncio", "imports"),
    "prefork-healthy": ("prefork", "healthy"),
    "go-garbage": ("go", "garbage"),
    "go-cache": ("go", "cache"),
    "node-cache": ("node", "cache"),
    "node-garbage": ("node", "garbage"),
    "java-healthy": ("java", "healthy"),
}


def steps(path: str) -> Callable[[Trial], CycleSpec | Stop]:
    """Equal cycles, first small, then large."""

    def step(trial: Trial) -> CycleSpec | Stop:
        index = len(trial.observations)
        if index >= len(SIZES):
            return Stop("recorded")
        return CycleSpec(index, SIZES[index], 50, 0.3, 1, "mixed", (path,), Phase.LOAD)

    return step


@contextmanager
def started(name: str, folder: Path) -> Iterator[GuardRequest]:
    """A request for a guard of this server."""
    common = {"max_time": 300.0, "out": folder / "run", "settle": 0.8}
    if name in GIVEN:
        yield request_of(url="http://127.0.0.1:{port}/clean", command=GIVEN[name], **common)  # type: ignore[arg-type]
        return
    if name in OTHERS:
        case = Case(*OTHERS[name], Green())
        yield request_of(url="http://127.0.0.1:{port}/events", command=case.command, **common)  # type: ignore[arg-type]
        return
    argv = PORTS.get(name)
    if name == "go":
        argv = [str(folder / "server")]
        subprocess.run(["go", "build", "-o", argv[0], "main.go"], cwd=SERVERS / "go", check=True)
    if argv is None:
        sys.exit(f"{name!r}: expected one of {', '.join([*PORTS, *GIVEN, 'go', *OTHERS])}")
    with server(argv, folder) as (child, port):
        yield request_of(url=f"http://127.0.0.1:{port}/clean", pid=child.pid, **common)  # type: ignore[arg-type]


def record(name: str, folder: Path) -> None:
    """Record the levels of one server."""
    with tempfile.TemporaryDirectory() as text, started(name, Path(text)) as request:
        path = "/events" if name in OTHERS else "/clean"
        trial = guard_once(request, command="record", steps=steps(path)).trial
    seen = [o for o in trial.observations if o.levels]
    levels: dict[str, list[float]] = {}
    for key in sorted({str(key) for o in seen for key in o.levels}):
        levels[key] = [next((v for k, v in o.levels.items() if str(k) == key), 0.0) for o in seen]
    trace = {
        "server": name,
        "connections": [o.ledger.opened for o in seen],
        "seconds": [round(o.ended - o.started, 2) for o in seen],
        "levels": levels,
    }
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(trace, sort_keys=True) + "\n")
    print(name, trace["connections"], trace["seconds"], levels.get("memory/anonymous"), sep="\n", flush=True)


def main() -> None:
    """Record the servers named, or all of one sort."""
    parser = argparse.ArgumentParser(prog="python -m bench._record", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--held-back", action="store_true", help="into traces_held_back")
    options = parser.parse_args()
    for name in options.names or (OTHERS if options.held_back else [*PORTS, *GIVEN, "go"]):
        record(name, HELD_BACK if options.held_back else TRACES)


if __name__ == "__main__":
    main()
