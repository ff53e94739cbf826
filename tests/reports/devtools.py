"""Debian's Chromium, headless, over two pipes (the DevTools protocol): pages that are read, printed and clicked."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
TIMEOUT = 60.0  # seconds for one answer
SAID = {
    "Runtime.consoleAPICalled": lambda event: str(event["args"]),
    "Runtime.exceptionThrown": lambda event: str(event["exceptionDetails"]),
    "Log.entryAdded": lambda event: str(event["entry"]),
}


NAVIGATED = "Inspected target navigated or closed"


class PageNavigated(Exception):
    """The page that a command was sent to made way for the next one before it answered."""


class Browser:
    """One running Chromium. Its start takes longer than most tests, so they share one."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._numbers = itertools.count(1)
        self._rest = b""
        self.console: list[str] = []
        """What the pages said on their console since the last one was opened: errors of scripts and of loading too."""

    def ask(self, method: str, session: str | None, **parameters: Any) -> Any:
        """The result of one command, for one page or for the browser itself."""
        number = next(self._numbers)
        order = {"id": number, "method": method, "params": parameters}
        if session:
            order["sessionId"] = session
        os.write(self._write, json.dumps(order).encode() + b"\0")
        while True:
            answer = self._next()
            if text_of := SAID.get(answer.get("method", "")):
                self.console.append(text_of(answer["params"]))
            if answer.get("id") == number:
                if NAVIGATED in str(answer.get("error", "")):
                    raise PageNavigated(NAVIGATED)
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

    @contextmanager
    def page(self, page: Path | str) -> Iterator[Page]:
        """A file, or the address of a page that a service on this machine serves; with a profile of its own."""
        profile = self.ask("Target.createBrowserContext", None)["browserContextId"]
        try:
            made = {"url": "about:blank", "browserContextId": profile, "width": 1280, "height": 900}
            target = self.ask("Target.createTarget", None, **made)["targetId"]
            session = self.ask("Target.attachToTarget", None, targetId=target, flatten=True)["sessionId"]
            self.console.clear()
            tab = Page(self, session)
            tab.open(page)
            yield tab
        finally:
            self.ask("Target.disposeBrowserContext", None, browserContextId=profile)


class Page:
    """One open page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser, self._session = browser, session

    def open(self, page: Path | str) -> None:
        """Load it, and wait until it is complete: its scripts have run, and each of its pictures is there or failed."""
        for part in ("Page", "Runtime", "Log"):
            self.ask(f"{part}.enable")
        url = page if isinstance(page, str) else page.as_uri()
        self.ask("Page.navigate", url=url)
        deadline = time.monotonic() + TIMEOUT
        while self.value("document.readyState + location.protocol") != f"complete{url.partition(':')[0]}:":
            assert time.monotonic() < deadline, "the page was not loaded"

    def ask(self, method: str, **parameters: Any) -> Any:
        """The result of one command."""
        return self.browser.ask(method, self._session, **parameters)

    def value(self, expression: str) -> Any:
        """What an expression gives in the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until an expression is true in the page."""
        deadline = time.monotonic() + TIMEOUT
        while not self._true(expression):
            assert time.monotonic() < deadline, f"not true in time: {expression}"
            time.sleep(0.02)

    def _true(self, expression: str) -> bool:
        # A click that opens another page may do so while the expression is on its way: it is then not true yet.
        try:
            return self.value(expression) is True
        except PageNavigated:
            return False

    def click(self, x: float, y: float) -> None:
        """The left button, down and up."""
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def prefer(self, scheme: str) -> None:
        """The reader prefers light or dark pages."""
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    @property
    def dom(self) -> str:
        """The document as it is now."""
        text: str = self.value("document.documentElement.outerHTML")
        return text

    @property
    def upper_left(self) -> tuple[int, int, int]:
        """The colour of the first pixel that is seen."""
        return _first_pixel(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    @property
    def printed(self) -> bytes:
        """The page as a PDF."""
        return base64.b64decode(self.ask("Page.printToPDF")["data"])


def _first_pixel(data: bytes) -> tuple[int, int, int]:
    """The upper left pixel. Whatever filter the first row has, its first pixel stands as it is
    (PNG specification, 9.2: what lies left of it and above it counts as zero)."""
    at, packed = 8, b""
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IDAT":
            packed += data[at + 8 : at + 8 + size]
        at += 12 + size
    red, green, blue = zlib.decompress(packed)[1:4]
    return red, green, blue


def _high(low: int) -> int:
    high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 100)
    os.close(low)
    return high


@contextmanager
def chromium(profile: Path, *, network: bool = False) -> Iterator[Browser]:
    """A browser for the block. Without a network it is, for root, in a namespace where nothing can be reached."""
    binary = shutil.which("chromium")
    if binary is None:
        pytest.skip("chromium is not installed")
    # It reads descriptor 3 and writes descriptor 4; ours must not have these numbers themselves.
    orders_out, orders_in, answers_out, answers_in = map(_high, (*os.pipe(), *os.pipe()))

    def numbered() -> None:
        os.dup2(orders_out, 3)
        os.dup2(answers_in, 4)

    alone = ["unshare", "--net"] if os.geteuid() == 0 and not network else []
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
        yield Browser(answers_out, orders_in)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        os.close(answers_out)
        os.close(orders_in)
        # Chromium puts its socket into a folder of /tmp, which a killed browser leaves there.
        with suppress(OSError):
            shutil.rmtree((profile / "SingletonSocket").readlink().parent)


@contextmanager
def opened(page: Path | str, profile: Path) -> Iterator[Page]:
    """A page in a browser of its own, open for the block; an address keeps this machine's network."""
    with chromium(profile, network=isinstance(page, str)) as browser, browser.page(page) as tab:
        yield tab
