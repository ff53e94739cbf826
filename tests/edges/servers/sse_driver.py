"""Runs functions of a test module with a real ``SseUser`` in a process of its own: importing locust patches it.

usage: sse_driver.py SOCKET-FD. One JSON line in: {"module", "function", "host", "options", "arguments"}; one out:
{"value"} or {"failed": CAUSE} or {"raised": TEXT}, with {"entries", "errors", "cookies"} as Locust has them.
"""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import argparse  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402
from typing import Any  # noqa: E402

from locust.env import Environment  # noqa: E402

from harness.swarm.user import SseUser, StreamFailed  # noqa: E402


class Reader(SseUser):
    abstract = False


def answer(order: dict[str, Any]) -> dict[str, Any]:
    options = argparse.Namespace(**{"source_addresses": "", **order["options"]})
    environment = Environment(user_classes=[Reader], host=order["host"], parsed_options=options)
    environment.create_local_runner()
    user = Reader(environment)
    user.host = order["host"]
    function = getattr(importlib.import_module(order["module"]), order["function"])
    out: dict[str, Any] = {}
    try:
        out["value"] = function(user, *order["arguments"])
    except StreamFailed as error:
        out["failed"] = error.cause
        out["status"] = error.report.status
    except Exception:
        out["raised"] = traceback.format_exc(limit=-3)
    user.shared.statistics.flush()
    stats = environment.stats
    out["entries"] = {
        f"{method} {name}": [entry.num_requests, entry.num_failures, entry.avg_response_time]
        for (name, method), entry in stats.entries.items()
    }
    out["errors"] = {
        f"{error.method} {error.name}: {error.error}": error.occurrences for error in stats.errors.values()
    }
    out["total"] = stats.total.num_requests
    environment.runner.quit()
    return out


def main() -> None:
    with socket.socket(fileno=int(sys.argv[1])) as control, control.makefile("rwb") as lines:
        for line in lines:
            lines.write(json.dumps(answer(json.loads(line))).encode() + b"\n")
            lines.flush()


if __name__ == "__main__":
    main()
