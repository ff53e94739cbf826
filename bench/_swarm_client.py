"""One client of bench/swarm.py in a process of its own.

python -m bench._swarm_client KIND HOST PORT

One command a line: ``count`` (events and lags, before ``open``), ``open N``, ``cpu``, ``memory``,
``churn SECONDS CONCURRENCY``, ``end``; each is answered with one JSON line. CPU is the time of the whole
process (user and system), memory its anonymous pages (RssAnon, proc_pid_status(5)) after a full collection.
"""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

import gevent.os  # noqa: E402

from bench._swarm_ours import Pool, Users  # noqa: E402
from bench._swarm_rivals import Fast, Plain, Yardstick  # noqa: E402
from bench._swarm_terms import anonymous  # noqa: E402

KINDS: dict[str, type[Any]] = {
    "pool": Pool, "SseUser": Users, "yardstick": Yardstick, "FastHttpUser": Fast, "HttpUser": Plain,
}  # fmt: skip


def carry_out(client: Any, words: list[str]) -> dict[str, Any]:
    """Carry out one command."""
    if words[0] == "open":
        start = time.monotonic()
        client.open(int(words[1]))
        return {"started": start}
    if words[0] == "count":
        if hasattr(client, "watch_lag"):
            client.watch_lag()
        return {}
    if words[0] == "cpu":
        return {"cpu": time.process_time(), "events": client.events, "lags": len(client.lags)}
    if words[0] == "memory":
        return {"anonymous": anonymous()}
    if words[0] == "churn":
        streams, seconds = client.churn(float(words[1]), int(words[2]))
        return {"streams": streams, "seconds": seconds}
    return {**client.end(), "lags": client.lags}


def main() -> None:
    """Run the client that the command line names, and answer commands until the end of standard input."""
    logging.disable(logging.WARNING)  # Locust says that its core is busy: so it is
    kind, host, port = sys.argv[1:]
    client = KINDS[kind](host, int(port))
    client.warm()
    gevent.os.make_nonblocking(0)
    print(json.dumps({"ready": kind}), flush=True)
    while line := gevent.os.nb_read(0, 4096):
        print(json.dumps(carry_out(client, line.decode().split())), flush=True)
    os._exit(0)  # eighteen thousand greenlets need not be unwound


if __name__ == "__main__":
    main()
