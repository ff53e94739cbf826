"""The master of several workers: it splits a cycle over them, adds their ledgers up, and names those that exited.

Workers join over Locust's own protocol. Cycles are exchanged in custom messages
(``harness-hello``, ``-setup``, ``-cycle``, ``-cancel``, ``-progress``, ``-outcome``, ``-error``).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import gevent

from harness.core.cycle import CycleSpec, Ledger
from harness.core.errors import SwarmError
from harness.core.note import Note, NoteKind
from harness.swarm.histogram import Histogram
from harness.swarm.setup import REMOTE_TIMEOUT, SECRET_VARIABLE, SwarmSetup
from harness.swarm.tally import Outcome, add_up, outcome_of_lost_worker
from harness.swarm.wire import BadMessage, outcome_from_dict, setup_to_dict, spec_to_dict

JOIN_TIMEOUT = 30.0  # seconds until every worker of this machine must have joined
POLL = 0.05  # seconds between two checks of the workers
REPORT_EVERY = 0.1  # seconds between two reports of progress
LOST_STATES = ("missing", "stopped")  # of a worker, in Locust's terms


@dataclass(slots=True)
class Worker:
    """One worker. client: its id in Locust. name: for people. pid: of a worker that this process started, else 0. part:
    its share of the cycle, None when it has none. last: the outcome that it reported last. error: why it failed, "" if
    it did not. prepared: it has its setup and waits for cycles."""

    client: str
    name: str
    pid: int
    part: CycleSpec | None = None
    last: Outcome = field(default_factory=lambda: Outcome(Ledger(), Histogram()))
    finished: bool = False
    error: str = ""
    prepared: bool = False


class WorkerGroup:
    """The workers of one master runner."""

    def __init__(self, runner: Any, setup: SwarmSetup, endpoint: str) -> None:
        """endpoint: where this machine's workers connect."""
        self._endpoint = endpoint
        self._runner = runner
        self._setup = setup
        self._workers: dict[str, Worker] = {}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._number = 0  # of the cycle in progress: reports of earlier ones may still arrive
        for name, listener in (
            ("hello", self._hello),
            ("prepared", self._prepared),
            ("progress", self._progress),
            ("outcome", self._outcome),
            ("error", self._error),
        ):
            runner.register_message(f"harness-{name}", listener)

    def gather(self) -> None:
        """Start this machine's workers and wait for all. Raises SwarmError when they do not come."""
        port = self._runner.server.port
        where = f"{self._runner.master_bind_host}:{port}" if port else self._endpoint
        # The secret goes into the environment, which only this user can read: arguments are public (proc(5)).
        environment = {**os.environ, SECRET_VARIABLE: self._setup.secret}
        for _ in range(self._setup.load.processes):
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "harness.swarm.worker", self._endpoint], env=environment
            )
            self._processes[process.pid] = process
        wanted = self._setup.load.workers
        deadline = time.monotonic() + (REMOTE_TIMEOUT if self._setup.load.remote_workers else JOIN_TIMEOUT)
        while sum(worker.prepared for worker in self._workers.values()) < wanted:
            errors = [worker.error for worker in self._workers.values() if worker.error]
            exited = [pid for pid, process in self._processes.items() if process.poll() is not None]
            if errors or exited or time.monotonic() > deadline:
                raise SwarmError(errors[0] if errors else self._missing(wanted, where))
            gevent.sleep(POLL)
        # One Locust user per worker, which runs the cycles that arrive as messages.
        self._runner.start(wanted, spawn_rate=wanted)

    def _missing(self, wanted: int, where: str) -> str:
        """How many workers have not joined, and how to start them."""
        joined = ", ".join(worker.name for worker in self._workers.values()) or "none"
        text = f"{len(self._workers)} of {wanted} workers joined at {where}: {joined}"
        if not self._setup.load.remote_workers:
            return text
        return (
            f"{text}; expected more: start `python -m harness.swarm.worker {where}` on their machines with the same "
            f"{SECRET_VARIABLE}"
        )

    def cycle(
        self, spec: CycleSpec, cancelled: Callable[[], bool], progress: Callable[[Outcome], None]
    ) -> Outcome:
        """Run a cycle on all workers. Raises SwarmError when no worker is left or one reports an error."""
        exited = {client for client, worker in self._workers.items() if self._is_lost(worker)}
        names = (self._workers[client].name for client in exited)
        notes = [
            Note(NoteKind.WORKER_LOST, f"worker {name} exited: the others take its share", {"worker": name})
            for name in names
        ]
        group = [worker for client, worker in self._workers.items() if client not in exited]
        if not group:
            raise SwarmError("no worker is left: all of them exited")
        self._number += 1
        for worker, part in zip(group, split(spec, len(group)), strict=True):
            # A worker without a share of this cycle has finished it already.
            worker.part, worker.finished, worker.error = part, part.connections == 0 < spec.connections, ""
            worker.last = Outcome(Ledger(), Histogram())
            if not worker.finished:
                self._send("cycle", worker, {"number": self._number, "spec": spec_to_dict(part)})
        cancel_sent, reported_at = False, time.monotonic()
        while not all(worker.finished for worker in group):
            gevent.sleep(POLL)
            for worker in group:
                if worker.error:
                    raise SwarmError(f"worker {worker.name}: {worker.error}")
                if not worker.finished and self._is_lost(worker):
                    worker.finished = True
                    assert worker.part is not None
                    worker.last = outcome_of_lost_worker(worker.last, worker.name, worker.part.connections)
                    # It may be alive behind a broken connection; its streams must end all the same.
                    self._send("cancel", worker, {})
            if not cancel_sent and cancelled():
                cancel_sent = True
                for worker in group:
                    self._send("cancel", worker, {})
            if time.monotonic() - reported_at >= REPORT_EVERY:
                reported_at = time.monotonic()
                progress(add_up([worker.last for worker in group], notes))
        return add_up([worker.last for worker in group], notes)

    def _send(self, name: str, worker: Worker, data: dict[str, Any]) -> None:
        self._runner.send_message(f"harness-{name}", data, worker.client)

    def _is_lost(self, worker: Worker) -> bool:
        """Whether the worker has exited. Locust's heartbeats arrive late on a busy machine, so for a local worker the
        kernel is asked instead."""
        process = self._processes.get(worker.pid)
        node = self._runner.clients.get(worker.client)
        if node is None:
            return True
        return node.state in LOST_STATES if process is None else process.poll() is not None

    def _hello(self, msg: Any, **_: Any) -> None:
        data = msg.data if isinstance(msg.data, dict) else {}
        pid = data.get("pid")
        pid = pid if isinstance(pid, int) else 0
        if pid not in self._processes and not self._setup.load.remote_workers:
            # It has the secret, but this run did not start it and expects no remote workers.
            return
        name = f"{str(data.get('host'))[:64]}/{pid}"
        worker = Worker(msg.node_id, name, pid if pid in self._processes else 0)
        self._workers[msg.node_id] = worker
        index = len(self._workers)
        wanted = self._setup.load.workers
        # Its own seed, because workers with the same one would make the same choices at the same moments.
        load = replace(self._setup.load, seed=self._setup.load.seed + index)
        # Without the secret, which the worker has proved to know. Its clients are the numbers that leave the same
        # remainder, so no two workers have the same client.
        setup = replace(self._setup, load=load, client_start=index - 1, client_step=wanted, secret="")
        self._send("setup", worker, setup_to_dict(setup))

    def _prepared(self, msg: Any, **_: Any) -> None:
        if worker := self._workers.get(msg.node_id):
            worker.prepared = True

    def _progress(self, msg: Any, **_: Any) -> None:
        self._store_report(msg, final=False)

    def _outcome(self, msg: Any, **_: Any) -> None:
        self._store_report(msg, final=True)

    def _store_report(self, msg: Any, *, final: bool) -> None:
        """Store what a worker has counted of the cycle in progress. final: it has finished its share."""
        worker = self._workers.get(msg.node_id)
        data = msg.data if isinstance(msg.data, dict) else {}
        # A report may be of the cycle before, sent by a worker that was given up while it was only slow.
        if worker is None or worker.finished or data.get("number") != self._number:
            return
        try:
            worker.last = outcome_from_dict(data.get("outcome"))
            worker.finished = final
        except BadMessage as error:
            worker.error = f"sent {error}"

    def _error(self, msg: Any, **_: Any) -> None:
        if worker := self._workers.get(msg.node_id):
            worker.error = str(msg.data)[:500]


def split(spec: CycleSpec, parts: int) -> list[CycleSpec]:
    """Shares of a cycle that add up to it exactly; no share has concurrency 0."""
    shares: list[CycleSpec] = []
    for index in range(parts):
        connections = spec.connections // parts + (index < spec.connections % parts)
        concurrency = spec.concurrency // parts + (index < spec.concurrency % parts)
        # Each worker begins with another path. Otherwise the first paths would get more than their share.
        paths = spec.paths[index % len(spec.paths) :] + spec.paths[: index % len(spec.paths)]
        # More workers than streams at once: this one could open none, so the first takes its streams.
        if concurrency == 0 and connections:
            shares[0] = replace(shares[0], connections=shares[0].connections + connections)
            connections = 0
        stalled = spec.stalled // parts + (index < spec.stalled % parts)
        shares.append(
            replace(
                spec,
                connections=connections,
                concurrency=max(1, concurrency),
                paths=paths,
                stalled=min(stalled, connections),
            )
        )
    return shares
