"""A small SSE service on gevent, everything patched: ``gevent_service.py PORT BEHAVIOUR`` (see chosen.py)."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

import chosen  # noqa: E402
import gevent  # noqa: E402
from gevent.event import Event  # noqa: E402
from gevent.server import StreamServer  # noqa: E402
from thread_service import Service, ticking  # noqa: E402

KEPT: list[object] = []


def _forgotten(never: Event) -> None:
    never.wait()


def greenlet() -> None:
    KEPT.append(gevent.spawn(_forgotten, Event()))


def main(port: int, text: str) -> None:
    behaviour = chosen.of(text, greenlet=greenlet)
    behaviour.started()
    gevent.spawn(ticking, behaviour)
    StreamServer(("127.0.0.1", port), Service(behaviour).serve, backlog=1024).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
