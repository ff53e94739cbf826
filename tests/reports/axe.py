"""axe-core, the accessibility rules of Deque, run inside an open page."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.reports.devtools import Page

VERSION = "4.14.1"
TIMEOUT = 60.0  # seconds


def source() -> str:
    """The script, from npm; skips the test where it cannot be had."""
    script, reason = _installed()
    if reason:
        pytest.skip(reason)
    return script


@functools.cache
def _installed() -> tuple[str, str]:
    """The script and "", or "" and why not. Asked once: each test waited a minute for an npm that cannot reach
    its registry."""
    npm = shutil.which("npm")
    if npm is None:
        return "", "npm is not installed"
    with tempfile.TemporaryDirectory() as folder:
        options = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0")
        install = (npm, "install", *options, "--prefix", folder, f"axe-core@{VERSION}")
        try:
            done = subprocess.run(install, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            return "", "npm cannot install axe-core: timeout"
        if done.returncode:
            return "", f"npm cannot install axe-core: {done.stderr.strip().partition(chr(10))[0]}"
        return (Path(folder) / "node_modules" / "axe-core" / "axe.min.js").read_text(), ""


def violations(page: Page) -> list[Any]:
    """Each violated rule with its first element."""
    page.ask("Runtime.evaluate", expression=f"{source()};0")
    each = "[v.id, v.nodes[0].html, v.nodes[0].failureSummary]"
    run = f"axe.run().then(r => JSON.stringify(r.violations.map(v => {each})))"
    got = page.ask("Runtime.evaluate", expression=run, awaitPromise=True, returnByValue=True)
    found: list[Any] = json.loads(got["result"]["value"])
    return found
