"""Runs pytest on one mutant after another without starting anew: a process that has imported pytest, its plugins and
the libraries, but no module of the project, and forks for each mutant. A start costs more than most of the tests."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from harness.process.readable import readable

# What tests import, and no module of ours; a module that is absent is passed over.
PRELOADED = (
    "pytest", "_pytest.assertion.rewrite", "_pytest.python", "_pytest.junitxml", "_pytest.doctest", "_pytest.fixtures",
    "_pytest.logging", "_pytest.tmpdir", "_pytest.terminal", "_pytest.unittest", "pytest_asyncio.plugin",
    "pytest_timeout", "pytest_cov.plugin", "xdist.plugin", "anyio.pytest_plugin", "hypothesis", "click.testing",
    "xml.etree.ElementTree", "jinja2", "html.parser", "http.server", "multiprocessing", "zmq", "concurrent.futures",
)  # fmt: skip


class Runner:
    """Owns the process. root: the copy of the project, its working directory."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from tests.mutation.runner import serve; serve({os.getpid()})"],
            cwd=root,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, arguments: Sequence[str], timeout: float) -> int | None:
        """The exit code of pytest; None where it did not end within the time."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([list(arguments), timeout]).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that runs the tests has ended")
        answer: int | None = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process. Idempotent."""
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(parent: int) -> None:
    """Read orders from standard input, one a line, until it ends or the parent has."""
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    for line in sys.stdin:
        if os.getppid() != parent:
            return
        arguments, timeout = json.loads(line)
        answers.write(json.dumps(_forked(arguments, timeout)) + "\n")
        answers.flush()


def _forked(arguments: list[str], timeout: float) -> int | None:
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            import pytest

            code = int(pytest.main(arguments))
        finally:
            os._exit(code)
    handle = os.pidfd_open(pid)
    try:
        ended = readable(handle, timeout)
        if not ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(handle)
    return os.waitstatus_to_exitcode(status) if ended else None
