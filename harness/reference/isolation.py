"""Both ends of a child process that does the ZeroMQ work: the pipe's client and the child's main.

One JSON object per line each way. To the child ``{"id", "component", "service", "body": [hex], "timeout"}``; back
``{"id", "body": [hex]}`` or ``{"id", "error", "timeout", "refused"}``, each with the child's ``counters``; the first
line is ``{"ready": pid}``. The child ends at the end of its input, so it always ends with the service.
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any

from harness.reference.counters import Counters
from harness.reference.logs import log
from harness.reference.mdp_client import Exchange, Question
from harness.reference.settings import Settings
from harness.reference.sockets import CheckFailed

RESTART_PAUSE = 0.1  # seconds between the end of a child and the start of the next
END_TIMEOUT = 1.0  # seconds until a child that does not end is killed
START_TIMEOUT = 10.0  # seconds until a child must be ready
COUNTED = ("sockets.opened", "sockets.closed", "contexts.opened", "contexts.closed")


class IsolatedExchange:
    """Asks through the child. When the child exits, the checks in progress fail and a new child is started."""

    def __init__(self, settings: Settings, names: Sequence[str], counters: Counters) -> None:
        self._argument = json.dumps({"settings": asdict(settings), "names": list(names)})
        self._counters = counters
        self._counted = dict.fromkeys(COUNTED, 0)  # the counts of this child that are in ``counters`` already
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._pending: dict[int, Future[tuple[bytes, ...]]] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()
        self._ready = threading.Event()
        self._keeper = threading.Thread(target=self._run_children, name="isolate", daemon=True)
        self._keeper.start()
        self._ready.wait(START_TIMEOUT)

    def __call__(self, question: Question, timeout: float) -> tuple[bytes, ...]:
        """See ``Exchange``."""
        number = next(self._ids)
        answer: Future[tuple[bytes, ...]] = Future()
        request = {
            "id": number,
            "component": question.component,
            "service": question.service,
            "body": [frame.hex() for frame in question.body],
            "timeout": timeout,
        }
        with self._lock:
            if self._child is None:
                raise CheckFailed("the ZeroMQ process is being restarted")
            self._pending[number] = answer
            try:
                assert self._child.stdin is not None
                self._child.stdin.write(json.dumps(request).encode() + b"\n")
                self._child.stdin.flush()
            except OSError:
                del self._pending[number]
                raise CheckFailed("the ZeroMQ process has exited") from None
        try:
            return answer.result(timeout)
        except TimeoutError:
            raise CheckFailed(f"{question.service}: no reply within {timeout:g} s", timeout=True) from None
        finally:
            with self._lock:
                self._pending.pop(number, None)

    def _run_children(self) -> None:
        """Start a child, and another one whenever it ends, until the service ends."""
        while not self._ending.is_set():
            try:
                child = subprocess.Popen(
                    [sys.executable, "-m", "harness.reference.isolation", self._argument],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            except OSError as error:
                self._log(f"cannot be started: {error}")
                self._ending.wait(RESTART_PAUSE)
                continue
            status = self._read_output(child)
            if not self._ending.is_set():
                self._log(f"{child.pid} ended with status {status}; starting another")
                self._ending.wait(RESTART_PAUSE)

    def _read_output(self, child: subprocess.Popen[bytes]) -> int:
        """Read the child's output until it ends; returns its exit status."""
        assert child.stdin is not None
        assert child.stdout is not None
        for line in child.stdout:
            message = json.loads(line)
            if "ready" in message:
                with self._lock:
                    self._child = child
                self._ready.set()
            else:
                self._answer(message)
        with self._lock:
            self._child = None
            left, self._pending = list(self._pending.values()), {}
        status = child.wait()
        for answer in left:
            answer.set_exception(CheckFailed(f"the ZeroMQ process exited with status {status}"))
        child.stdout.close()
        try:
            child.stdin.close()
        except OSError:
            pass  # the child has ended, so unsent requests are dropped
        self._count_dead()
        return status

    def _answer(self, message: dict[str, Any]) -> None:
        for name in COUNTED:
            self._counters.add(name, message["counters"][name] - self._counted[name])
            self._counted[name] = message["counters"][name]
        with self._lock:
            answer = self._pending.get(message["id"])
        if answer is None:
            return  # the caller has given up
        if "error" in message:
            failed = CheckFailed(message["error"], timeout=message["timeout"], refused=message["refused"])
            answer.set_exception(failed)
        else:
            answer.set_result(tuple(bytes.fromhex(frame) for frame in message["body"]))

    def _count_dead(self) -> None:
        """Count the sockets of an ended child as closed: the kernel closed them."""
        for group in ("sockets", "contexts"):
            self._counters.add(
                f"{group}.closed", self._counted[f"{group}.opened"] - self._counted[f"{group}.closed"]
            )
        self._counted = dict.fromkeys(COUNTED, 0)

    @staticmethod
    def _log(text: str) -> None:
        log(f"isolate: the ZeroMQ process {text}", logging.WARNING)

    def close(self) -> None:
        """End the child and wait for it."""
        self._ending.set()
        with self._lock:
            child = self._child
            if child is not None and child.stdin is not None:
                try:
                    child.stdin.close()
                except OSError:
                    pass
        self._keeper.join(END_TIMEOUT)
        if self._keeper.is_alive():  # a check hangs inside libzmq: the service must not hang with it
            with self._lock:
                child = self._child
            if child is not None:
                child.kill()
            self._keeper.join(END_TIMEOUT)


def serve(exchange: Exchange, counters: Counters, workers: int) -> None:
    """The child: answer each line of stdin from a fixed number of threads, until the input ends."""
    from harness.reference.panic import panic
    from harness.reference.runner import WorkerThreads

    writing = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with writing:
            os.write(1, line)

    def answer(request: dict[str, Any]) -> None:
        body = tuple(bytes.fromhex(frame) for frame in request["body"])
        question = Question(request["component"], request["service"], body)
        message: dict[str, Any] = {"id": request["id"]}
        try:
            message["body"] = [frame.hex() for frame in exchange(question, request["timeout"])]
        except CheckFailed as error:
            message |= {"error": str(error), "timeout": error.timeout, "refused": error.refused}
        flat = counters.flat()
        message["counters"] = {name: flat[name] for name in COUNTED}
        send(message)

    threads = WorkerThreads(workers, panic)
    send({"ready": os.getpid()})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        threads.submit(functools.partial(answer, request))


def main() -> None:
    """Entry of the child."""
    import signal

    from harness.reference.blueprint import DealerClient, draw_names
    from harness.reference.server import prepare

    prepare()
    # Ctrl-C in a terminal signals the whole process group; the service alone decides when its child ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    argument = json.loads(sys.argv[1])
    given = argument["settings"]
    blueprint = draw_names(Settings(**given), argument["names"])
    client = DealerClient(blueprint)
    serve(client.exchange, blueprint.counters, blueprint.settings.workers)
    client.close()
    os._exit(0)


if __name__ == "__main__":
    main()
