"""A page in Debian's Chromium that is clicked as a person would: the DevTools protocol over two pipes, no network."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.reports.browser import FLAGS

TIMEOUT = 60.0  # seconds for one answer


class Page:
    """One open page."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self._rest = b""

    def open(self, page: Path | str) -> None:
        """A file, or the address of a page that a service on this machine serves."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.ask("Page.enable")
        url = page if isinstance(page, str) else page.as_uri()
        self.ask("Page.navigate", url=url)
        deadline = time.monotonic() + TIMEOUT
        while self.value("document.readyState + location.protocol") != f"complete{url.partition(':')[0]}:":
            assert time.monotonic() < deadline, "the page was not loaded"

    def ask(self, method: str, **parameters: Any) -> Any:
        """The result of one command."""
        number = next(self._numbers)
        order = {"id": number, "method": method, "params": parameters}
        if self._session:
            order["sessionId"] = self._session
        os.write(self._write, json.dumps(order).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "result" in answer, answer
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._read], [], [], TIMEOUT)[0], "Chromium says nothing"
            data = os.read(self._read, 1 << 16)
            assert data, "Chromium has ended"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def value(self, expression: str) -> Any:
        """What an expression gives in the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until an expression is true in the page."""
        deadline = time.monotonic() + TIMEOUT
        while self.value(expression) is not True:
            assert time.monotonic() < deadline, f"never came true: {expression}"
            time.sleep(0.02)

    def click(self, x: float, y: float) -> None:
        """The left button, down and up."""
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def _high(low: int) -> int:
    high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 100)
    os.close(low)
    return high


@contextmanager
def opened(page: Path | str, profile: Path) -> Iterator[Page]:
    """A page that stays open for the block; an address keeps this machine's network."""
    binary = shutil.which("chromium")
    if binary is None:
        pytest.skip("chromium is not installed")
    # It reads descriptor 3 and writes descriptor 4; ours must not have these numbers themselves.
    orders_out, orders_in, answers_out, answers_in = map(_high, (*os.pipe(), *os.pipe()))

    def numbered() -> None:
        os.dup2(orders_out, 3)
        os.dup2(answers_in, 4)

    alone = ["unshare", "--net"] if os.geteuid() == 0 and isinstance(page, Path) else []
    child = subprocess.Popen(
        [*alone, binary, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe"],
        preexec_fn=numbered,
        pass_fds=(3, 4),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(orders_out)
    os.close(answers_in)
    try:
        made = Page(answers_out, orders_in)
        made.open(page)
        yield made
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        os.close(answers_out)
        os.close(orders_in)
