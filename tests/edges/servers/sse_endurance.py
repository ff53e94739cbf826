"""Opens and closes streams in one swarm process and counts what that process holds.

usage: sse_endurance.py URL STREAMS ROUNDS. Each round runs STREAMS streams through the pool, which disconnect in every
way, and a tenth as many through ``SseUser``, then counts. Prints one JSON line a round: descriptors, threads, objects,
blocks.
"""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import argparse  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
import sys  # noqa: E402

import gevent  # noqa: E402
from locust.env import Environment  # noqa: E402

from harness.core.cycle import CycleSpec  # noqa: E402
from harness.swarm.load import LoadOptions  # noqa: E402
from harness.swarm.pool import Pool  # noqa: E402
from harness.swarm.setup import SwarmSetup  # noqa: E402
from harness.swarm.statistics import Statistics  # noqa: E402
from harness.swarm.user import SseUser  # noqa: E402

KEPT: list[object] = []


class Reader(SseUser):
    abstract = False


def counts() -> dict[str, int]:
    """As RUNTIME counts, after a collection.

    The interpreter's cache of attributes is emptied first: its 4,096 places keep the names last looked up
    (type_cache_lookup in Objects/typeobject.c), and gevent looks "stop" up for every timer that has run out, by a
    new string each time. So a place at random is filled, and a block with it, until all are.
    """
    gevent.get_hub().threadpool.kill()  # looked the host up; its idle threads would end some time later
    sys._clear_type_cache()
    for _ in range(3):
        gc.collect()
    return {
        "fds": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "objects": len(gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
    }


def visits(user: SseUser, number: int) -> None:
    """Streams of an SseUser that disconnect in every way."""
    for index in range(number):
        mode = ("fin", "rst", "half-close", "stall")[index % 4]
        with user.sse("/a", disconnect=mode) as stream:
            next(stream)


def main() -> None:
    url, streams, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    planted = os.environ.get("PLANTED")
    environment = Environment(
        user_classes=[Reader], host=url, parsed_options=argparse.Namespace(source_addresses="")
    )
    setup = SwarmSetup(url, LoadOptions(stall_after=30.0), linger=0.02)
    pool = Pool(setup, rng=random.Random(1), statistics=Statistics(environment))
    user = Reader(environment)
    user.host = url
    for number in range(rounds):
        spec = CycleSpec(number, streams, 200, 30.0, events=1, disconnect="mixed", paths=("/a", "/b"))
        ledger = pool.cycle(spec, cancelled=lambda: False, progress=lambda _: None).ledger
        visitors = [gevent.spawn(visits, user, streams // 200) for _ in range(20)]
        gevent.joinall(visitors, raise_error=True)
        del visitors
        if planted == "object":
            KEPT.extend(float(number) for _ in range(streams // 100))
        elif planted == "descriptor":
            KEPT.append(os.open("/dev/null", os.O_RDONLY))
        with gevent.Timeout(60.0):
            while user.shared.wheel._timer is not None:  # half-close and stall last up to a second
                gevent.sleep(0.02)
        user.shared.statistics.flush()  # or up to a second's times wait here, as many as there happen to be
        environment.stats.clear_all()
        print(json.dumps({"opened": ledger.opened, "open_now": ledger.open_now, **counts()}), flush=True)


if __name__ == "__main__":
    main()
