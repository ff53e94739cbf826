"""The swarm process: Locust as a library, one gated user, orders over a Unix socket.

Run as ``python -m harness.swarm.child SPEC`` with SPEC a JSON object made by ``launch``.
"""

from __future__ import annotations

import json
import sys

import gevent.monkey

gevent.monkey.patch_all()

import gevent  # noqa: E402
import gevent.queue  # noqa: E402
import gevent.socket  # noqa: E402
from locust.env import Environment  # noqa: E402
from locust.log import setup_logging  # noqa: E402

from harness.core.cycle import CycleSpec  # noqa: E402
from harness.swarm.gate import Gate, gated_user  # noqa: E402
from harness.swarm.wire import MAX_LINE, BadMessage, decode, encode, ledger_to_dict, spec_from_dict  # noqa: E402


class Control:
    """The conversation with the experiment; its end is the end of the swarm."""

    def __init__(self, path: str, gate: Gate) -> None:
        self._socket = gevent.socket.socket(gevent.socket.AF_UNIX)
        self._socket.connect(path)
        self._gate = gate
        self._cancelled = False
        self._busy = False

    def send(self, **message: object) -> None:
        """One message to the experiment."""
        self._socket.sendall(encode(message))

    def serve(self) -> None:
        """Take orders until ``stop`` or the end of the connection."""
        self.send(ready=True)
        buffer = b""
        while True:
            chunk = self._socket.recv(65536)
            if not chunk:
                return
            buffer += chunk
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                if self._order(line):
                    return
            if len(buffer) > MAX_LINE:
                self.send(error="a line without end")
                return

    def _order(self, line: bytes) -> bool:
        """One order; True when it was the last."""
        try:
            message = decode(line)
            order = message.get("order")
            if order == "stop":
                return True
            if order == "cancel":
                self._cancelled = True
            elif order == "cycle" and not self._busy:
                spec = spec_from_dict(message.get("spec"))
                self._cancelled = False
                self._busy = True
                gevent.spawn(self._run, spec)
            else:
                raise BadMessage(f"order is {order!r} (busy: {self._busy}); expected cycle, cancel or stop")
        except BadMessage as error:
            self.send(error=str(error))
        return False

    def _run(self, spec: CycleSpec) -> None:
        try:
            ledger = self._gate.run(
                spec, lambda: self._cancelled, lambda now: self.send(progress=ledger_to_dict(now))
            )
            self._busy = False
            self.send(ledger=ledger_to_dict(ledger))
        except Exception as error:
            self._busy = False
            self.send(error=f"{type(error).__name__}: {error}")


def main() -> None:
    """Entry point."""
    spec = json.loads(sys.argv[1])
    setup_logging("WARNING")  # type: ignore[no-untyped-call]
    gate = Gate()
    user = gated_user(
        gate,
        spec["host"],
        stall_after=spec["stall_after"],
        headers=dict(spec["headers"]),
        sources=spec["sources"],
        seed=spec["seed"],
    )
    environment = Environment(user_classes=[user], host=spec["host"])
    runner = environment.create_local_runner()
    if spec["web_port"] is not None:
        environment.create_web_ui("127.0.0.1", spec["web_port"])
    runner.start(1, spawn_rate=1)
    try:
        Control(spec["control"], gate).serve()
    finally:
        runner.quit()


if __name__ == "__main__":
    main()
