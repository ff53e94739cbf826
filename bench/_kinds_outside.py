"""Kinds outside the model that the judge assumes: releases that take time, pools that follow bursts, state per tenant,
and leaks that are late, lumpy, uneven or limited. The rules may be tuned on these; ``_kinds_held_back`` has others.
"""

from __future__ import annotations

from bench import _shapes as shapes
from bench._clock import Start, service
from bench._kinds import LONG
from bench._services import MEMORY, OBJECTS, PACE, THREADS, Kind
from bench._shapes_leaks import (
    buffered,
    full_cache,
    garbage,
    in_bursts,
    leak,
    rate_limited,
    refusing,
    singly,
    steadily,
    untimed,
    varying,
)
from bench._shapes_memory import creeping
from bench._shapes_timed import (
    between,
    burst_pool,
    expired,
    exponential_hold,
    idle_pool,
    janitor,
    late,
    late_fixed,
    peak_pool,
    rotation,
    swept,
    tenants,
)

LOADED = ("connection", "answered-stream")  # what a leak of each answered stream may be called
BY_STREAM = ("answered-stream",)


def _beside(name: str, part: Start, rate: float = 0.1) -> Kind:
    """A leak on top of something healthy."""
    return Kind(
        f"1 per {1 / rate:g} beside {name}",
        service(part, leak(rate)),
        "connection",
        rate,
        others=BY_STREAM,
    )


HEALTHY_OUTSIDE = (
    Kind("released after 2 s", service(late_fixed(2))),
    Kind("released after 10 s", service(late_fixed(10))),
    Kind("released after 60 s", service(late_fixed(60))),
    Kind("1 in 10 released after 30 s", service(late_fixed(30, 0.1))),
    Kind("cache of 300 beside a release after 6 s", service(late_fixed(6), full_cache(300)), longer=True),
    Kind("cache of 700 beside a release after 8 s", service(late_fixed(8), full_cache(700)), longer=True),
    Kind("cache of 400 beside a sweep every 30 s", service(swept(30), full_cache(400)), longer=True),
    Kind("released after 1 to 10 s", service(late(between(1, 10)))),
    Kind("released after 5 to 60 s", service(late(between(5, 60)))),
    Kind("released after 10 s on average, 60 at most", service(late(exponential_hold(10, 60)))),
    Kind("swept every 30 s", service(swept(30))),
    Kind("swept every 60 s", service(swept(60))),
    Kind("sessions of 20 s, swept every 5 s", service(swept(5, 20))),
    Kind("released after 1 to 60 s", service(late(between(1, 60)))),
    Kind("1 per stream, expired after 30 s by the next", service(expired(30))),
    Kind("1 per stream, expired after 60 s by the next", service(expired(60))),
    Kind("1 per 20, expired after 12 s by the next", service(expired(12, 0.05))),
    Kind("1 per stream, expired after 20 s by one in a hundred", service(expired(20, chance=0.01))),
    Kind("1 per 10, expired after 45 s by one in a hundred", service(expired(45, 0.1, chance=0.01))),
    Kind("pool, 3 a burst to 200", service(burst_pool(3, 200))),
    Kind("pool, 5 a burst to 150", service(burst_pool(5, 150))),
    Kind("pool, 10 a burst to 200", service(burst_pool(10, 200))),
    Kind("pool, 25 a burst to 200", service(burst_pool(25, 200))),
    Kind("threads, 4 a burst to 100, idle after 30 s", service(idle_pool(4, 100, 30.0, 4.0)), key=THREADS),
    Kind("threads, 8 a burst to 200, idle after 60 s", service(idle_pool(8, 200)), key=THREADS),
    Kind("pool of the peak, one closed every 5 s", service(peak_pool(1.0, 5.0))),
    Kind("100 tenants", service(tenants(100))),
    Kind("200 tenants, Zipf", service(tenants(200, 1.0))),
    Kind("1,900 tenants", service(tenants(1900))),
    Kind("1,900 tenants, Zipf", service(tenants(1900, 1.0)), longer=True),
    Kind("3,500 tenants, Zipf", service(tenants(3500, 1.0)), longer=True),
    Kind("objects: 1,000 tenants", service(tenants(1000)), key=OBJECTS),
    Kind("freed every 1,000 requests", service(janitor(1000)), longer=True),
    # Held back until it showed a false alarm: readings without clients counted as evidence for a line.
    Kind("1 in 4 freed every 2,500 requests", service(janitor(2500, 0.25)), longer=True),
    Kind("log rotated every 700 requests", service(rotation(700, 3.0))),
    Kind("constant, 30 % refused", service(refusing(0.3))),
    Kind("constant, 200 answers a second, else 429", service(rate_limited(200, PACE))),
    Kind(
        "garbage of timers, 500 kB a second, in a heap of 50 MB",
        service(garbage(5e7, 5e5), untimed(creeping)),
        key=MEMORY,
        goal=LONG,
        runtime="go",
        longer=True,
    ),
    Kind(
        "garbage of timers, 500 kB a second, in a heap of 10 MB",
        service(garbage(1e7, 5e5), untimed(creeping)),
        key=MEMORY,
        goal=LONG,
        runtime="go",
    ),
    Kind(
        "64 kB buffered for each client",
        service(buffered(4e3, 2e5, 64e3), untimed(creeping)),
        key=MEMORY,
        goal=LONG,
    ),
)
LEAKING_OUTSIDE = (
    Kind("1 per 10, after 20 s", service(leak(0.1, after=20.0)), "connection", others=BY_STREAM),
    Kind("1 per 100, by threes", service(leak(0.01, draw=in_bursts(3))), "connection", 0.01, others=BY_STREAM),
    Kind("1 per 20, by tens", service(leak(0.05, draw=in_bursts(10))), "connection", 0.05, others=BY_STREAM),
    Kind("1 per 20, varying (gamma 2)", service(leak(0.05, draw=varying(2.0))), "connection", 0.05, others=BY_STREAM),
    Kind("1 per 10, varying (gamma 1)", service(leak(0.1, draw=varying(1.0))), "connection", 0.1, others=BY_STREAM,
         longer=True),
    Kind("1 per 50, varying (gamma 4)", service(leak(0.02, draw=varying(4.0))), "connection", 0.02, others=BY_STREAM),
    Kind("1 per stream above 40 at once", service(leak(1.0, "answered", steadily, above=40)), "connection",
         others=BY_STREAM),
    Kind("1 per answered stream", service(leak(1.0, "answered", steadily)), "answered-stream", 1.0),
    Kind("1 per answered stream, 30 % refused", service(refusing(0.3), leak(1.0, "answered", steadily)),
         "answered-stream", 1.0),
    Kind("1 per answered stream, 30 answers a second, else 429",
         service(rate_limited(30, PACE), leak(1.0, "answered", steadily)), "answered-stream", 1.0),
    Kind("1 per 10 answered streams, 50 % refused", service(refusing(0.5), leak(0.1, "answered")),
         "answered-stream", 0.1),
    Kind("1 per stream up to 500, then 500s", service(leak(1.0, "answered", steadily, cap=500)), "connection", 1.0,
         others=BY_STREAM),
    _beside("a release after 2 s", late_fixed(2)),
    _beside("a release after 8 s", late_fixed(8), 0.025),
    _beside("a release after 10 s", late_fixed(10)),
    _beside("a release after 20 s", late_fixed(20), 0.05),
    _beside("a release after 60 s", late_fixed(60)),
    _beside("a release after 1 to 10 s", late(between(1, 10))),
    _beside("a sweep every 15 s", swept(15), 0.125),
    _beside("a sweep every 20 s", swept(20)),
    _beside("a sweep every 30 s", swept(30)),
    _beside("a sweep every 60 s", swept(60)),
    _beside("a pool, 10 a burst to 200", burst_pool(10, 200)),
    _beside("100 tenants", tenants(100)),
    _beside("an expiry after 30 s by the next", expired(30)),
    _beside("a janitor every 1,000 requests", janitor(1000), 1.0),
    _beside("log rotation", rotation(700, 3.0)),
    _beside("jitter ±1", untimed(shapes.jitter), 0.01),
    _beside("AR(0.7), σ 1", untimed(shapes.remembering(1.0)), 0.01),
    _beside("late closes", untimed(shapes.late_close), 0.01),
    _beside("a sawtooth of 12", untimed(shapes.sawtooth(12, 8))),
    _beside("a thread pool of 40", untimed(shapes.thread_pool(40))),
    Kind("10 kB per event while connected", service(buffered(1e5, 1e5), untimed(creeping)), "event", 1e4, key=MEMORY,
         goal=LONG),
    Kind("200 kB a second behind stalled readers", service(buffered(0.0, 2e5), untimed(creeping)), "stalled-second",
         2e5, key=MEMORY, goal=LONG),
    Kind("400 kB a second of a Go service", service(leak(4e5, "seconds", steadily), untimed(creeping)), "time", 4e5,
         key=MEMORY, goal=LONG, runtime="go"),
    Kind("3 a second, with or without clients", service(leak(3.0, "seconds", singly)), "time", 3.0),
)  # fmt: skip
