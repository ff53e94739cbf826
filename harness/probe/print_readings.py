"""Prints the readings of a process tree as JSON lines, and answers orders between them.

Orders come as lines on standard input when that is a pipe or a socket: ``census``, ``inbound PORT``,
``limits``. Each is answered by one line with the key ``census``, ``inbound`` or ``limits``.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import stat
import sys
import threading
import time
from collections.abc import Sequence
from typing import TextIO

from harness import __version__
from harness.core.errors import EXIT_USAGE, HarnessError
from harness.probe.census import census
from harness.probe.limits import limits
from harness.probe.lines import census_line, hello, sample_line
from harness.probe.sockets import inbound
from harness.probe.tree import Tree

MAX_ORDER = 256  # bytes
MAX_PORT = 65535
MAX_ORDERS = 100  # waiting at once; further ones end the reading of orders
SIGNAL_CHECK = 0.1  # seconds between two checks whether a signal has set ``stop``


class Orders:
    """Lines from a descriptor, read in a thread of their own; None: no orders are accepted.

    It reads the descriptor, not ``sys.stdin``: the interpreter aborts at its exit if a thread waits in a buffered
    reader.
    """

    def __init__(self, source: int | None) -> None:
        self._queue: queue.Queue[str] = queue.Queue(MAX_ORDERS)
        self.accepted = source is not None
        self.woken = threading.Event()
        if source is not None:
            threading.Thread(target=self._read, args=(source,), name="orders", daemon=True).start()

    def _read(self, source: int) -> None:
        rest = b""
        try:
            while len(rest) < MAX_ORDER:
                data = os.read(source, 4096)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._queue.put_nowait(line.decode(errors="replace").strip())
                    self.woken.set()
        except (OSError, queue.Full):
            # A peer that sends orders faster than it reads the answers gets no more answers; the samples continue.
            return

    def take_waiting(self) -> list[str]:
        """Every order since the last call."""
        self.woken.clear()
        found = []
        while True:
            try:
                found.append(self._queue.get_nowait())
            except queue.Empty:
                return found


def print_readings(
    pid: int,
    *,
    interval: float = 0.1,
    count: int | None = None,
    census_only: bool = False,
    out: TextIO,
    orders_descriptor: int | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Print a hello line, then samples until the process exits, ``count`` is reached or ``stop`` is set.

    interval: seconds between two samples. orders_descriptor: where orders arrive; None: they are not accepted.

    Raises ProbeError for a process that does not exist, BrokenPipeError when the reader has exited.
    """
    tree = Tree(pid)
    stop = stop or threading.Event()
    start = time.monotonic()
    orders = Orders(orders_descriptor)
    try:
        _print(out, hello(pid, interval, started=tree.started, orders=orders.accepted))
        if census_only:
            _print(out, census_line(census(pid, at=0.0)))
            return
        due = start
        printed = 0
        while not stop.is_set() and (count is None or printed < count):
            sample = tree.read(time.monotonic() - start)
            _print(out, sample_line(sample))
            printed += 1
            if tree.ended:
                return
            # A reading that took too long is not made up for by a burst of others.
            due = max(due + interval, time.monotonic())
            while not stop.is_set() and time.monotonic() < due:
                for order in orders.take_waiting():
                    _print(out, _answer(order, tree, time.monotonic() - start))
                # Signals end the wait only on some versions of Python, so the wait is short.
                orders.woken.wait(max(0.0, min(due - time.monotonic(), SIGNAL_CHECK)))
    finally:
        tree.close()


def _print(out: TextIO, line: str) -> None:
    # GitHub's runner executes "##[" anywhere in a line. In JSON the escapes mean the same.
    out.write(line.replace("##[", "\\u0023\\u0023[") + "\n")
    out.flush()


def _answer(order: str, tree: Tree, at: float) -> str:
    word, _, rest = order.partition(" ")
    if word == "census":
        return census_line(census(tree.root, at=at, known=tree.processes(), newest=tree.newest))
    if word == "inbound" and rest.isascii() and rest.isdigit() and int(rest) <= MAX_PORT:
        return json.dumps({"inbound": inbound(tree.root, int(rest))})
    if word == "limits":
        return json.dumps({"limits": limits(tree.root)})
    return json.dumps({"error": f"order {order[:40]!r}: expected census, inbound PORT or limits"})


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options of ``python -m harness.probe``; ``harness probe`` has the same."""
    parser = argparse.ArgumentParser(
        prog="harness-probe", description="Print what a process and its descendants hold, as JSON lines."
    )
    parser.add_argument("--pid", type=int, help="the process; its descendants are followed")
    parser.add_argument("--interval", type=float, default=0.1, help="seconds [0.1]")
    parser.add_argument("--count", type=int, help="stop after N samples")
    parser.add_argument("--census", action="store_true", help="one census of everything held, and stop")
    parser.add_argument("--emit-script", action="store_true", help="print this probe as one file and stop")
    parser.add_argument("--version", action="version", version=__version__)
    found = parser.parse_args(argv)
    if found.emit_script:
        return found
    if found.pid is None or found.pid < 1:
        parser.error(f"--pid {found.pid}: expected the number of a running process")
    if not 0.01 <= found.interval <= 3600:
        parser.error(f"--interval {found.interval:g}: expected 0.01 to 3600 seconds")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit code. Every expected failure is one line on stderr."""
    options = arguments(argv)
    if options.emit_script:
        try:
            from harness.probe.script import emit
        except ImportError:
            sys.stderr.write("harness-probe: --emit-script: this is that file already\n")
            return EXIT_USAGE
        sys.stdout.write(emit())
        return 0
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        print_readings(
            options.pid,
            interval=options.interval,
            count=options.count,
            census_only=options.census,
            out=sys.stdout,
            orders_descriptor=orders_from(sys.stdin),
            stop=stop,
        )
    except HarnessError as error:
        sys.stderr.write(f"harness-probe: {error}\n")
        return error.exit_code
    except BrokenPipeError:
        # The reader has exited, which is the usual end of a probe over ssh. Python flushes standard output at its exit,
        # and would otherwise report the broken pipe once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def orders_from(stdin: TextIO | None) -> int | None:
    """The descriptor of standard input if orders can arrive there: a pipe or a socket. Not a terminal, because
    reading it stops a background job."""
    try:
        number = -1 if stdin is None else stdin.fileno()
        mode = os.fstat(number).st_mode
    except (OSError, ValueError):
        return None
    return number if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else None
