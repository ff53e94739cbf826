"""npm's eventsource-parser: all streams through one process of Node."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess

from bench.conformance.oracle import HERE, Absent
from bench.conformance.streams import Found, Stream

INSTALL = [
    "npm",
    "install",
    "--no-package-lock",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
]
TIMEOUT = 120.0  # seconds


def ready() -> None:
    """Install the package beside its package.json, once. Raises Absent."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise Absent(f"{tool} is not installed")
    if (HERE / "node_modules" / "eventsource-parser").is_dir():
        return
    try:
        done = subprocess.run(INSTALL, cwd=HERE, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise Absent(f"npm install of eventsource-parser took more than {TIMEOUT:.0f} s") from None
    if done.returncode:
        raise Absent(f"npm cannot install eventsource-parser: {done.stderr.strip().partition(chr(10))[0]}")


def ask(streams: list[Stream]) -> list[Found]:
    """The events that the parser finds in each stream. Raises Absent."""
    ready()
    lines = [json.dumps([base64.b64encode(chunk).decode() for chunk in stream.chunks]) for stream in streams]
    done = subprocess.run(
        ["node", str(HERE / "parser.mjs")],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.split("\n") if line]
