"""Kinds that no rule was tuned on: other constants, other mixtures, and seeds of their own.

Do not run these while a rule or a constant is being chosen (``--held-back with`` and ``only`` run them). What was seen
here, and led to a change, belongs into ``_kinds_outside`` and is replaced here by a new constant.
"""

from __future__ import annotations

from dataclasses import replace

from bench import _shapes as shapes
from bench._clock import Start, service
from bench._kinds import BROKER, LONG
from bench._services import MEMORY, MIB, OBJECTS, PACE, THREADS, Kind
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
from bench._shapes_memory import (
    TRACES_HELD_BACK,
    collected,
    compiled,
    creeping,
    leaked_bytes,
    recorded,
    staircase,
)
from bench._shapes_timed import (
    between,
    burst_pool,
    expired,
    exponential_hold,
    freed,
    idle_pool,
    janitor,
    late,
    late_fixed,
    peak_pool,
    rotation,
    swept,
    tenants,
)

FIRST_SEED = 1_000_000
BY_STREAM = ("answered-stream",)


def _beside(name: str, part: Start, rate: float) -> Kind:
    return Kind(
        f"1 per {1 / rate:g} beside {name}",
        service(part, leak(rate)),
        "connection",
        rate,
        others=BY_STREAM,
    )


def _leak(name: str, start: Start, rate: float | None = None, driver: str = "connection") -> Kind:
    others = BY_STREAM if driver == "connection" else ()
    return Kind(name, service(start), driver, float("nan") if rate is None else rate, others=others)


_HEALTHY_COUNTS = (
    Kind("jitter ±1 on 5 of 100 descriptors", shapes.remembering(0.7, 0.3)),
    Kind("AR(0.5), σ 1.5", shapes.remembering(1.5, 0.5)),
    Kind("AR(0.9), σ 1", shapes.remembering(1.0, 0.9)),
    Kind("pool of 48, filled in 3 cycles", shapes.pool(48, 16)),
    Kind("pool of 24, one a cycle", shapes.pool(24, 1)),
    Kind("pool of 20, one in two cycles", shapes.pool(20, 1, 0.5), longer=True),
    Kind("pool of 54, in chunks of 9", shapes.pool(54, 9, 0.4)),
    Kind("pool of 45, in chunks of 4 to 8", shapes.pool_of_uneven_bursts(45, 4, 8, 0.35), longer=True),
    Kind("cache of 700", shapes.cache(700)),
    Kind("thread pool of 28", shapes.thread_pool(28), key=THREADS),
    Kind("drift over time, 0.2/s", shapes.drift(0.2), true="time", longer=True),
    Kind("4 opened on first use", shapes.lazy(4)),
    Kind("sawtooth of 7", shapes.sawtooth(7, 5)),
    Kind("released after 1 s", service(late_fixed(1))),
    Kind("released after 5 s", service(late_fixed(5))),
    Kind("released after 8 s", service(late_fixed(8))),
    Kind("released after 20 s", service(late_fixed(20))),
    Kind("released after 28 s", service(late_fixed(28))),
    Kind("released after 35 s", service(late_fixed(35))),
    Kind("released after 50 s", service(late_fixed(50))),
    Kind("1 in 3 released after 15 s", service(late_fixed(15, 0.33))),
    Kind("1 in 50 released after 40 s", service(late_fixed(40, 0.02))),
    Kind("cache of 420 beside a release after 9 s", service(late_fixed(9), full_cache(420)), longer=True),
    Kind(
        "cache of 220 beside a release after 3 to 12 s",
        service(late(between(3, 12)), full_cache(220)),
        longer=True,
    ),
    Kind("cache of 260 beside a sweep every 35 s", service(swept(35), full_cache(260)), longer=True),
    Kind("released after 3 to 20 s", service(late(between(3, 20)))),
    Kind("released after 2 to 55 s", service(late(between(2, 55)))),
    Kind("released after 15 to 40 s", service(late(between(15, 40)))),
    Kind("released after 50 to 60 s", service(late(between(50, 60)))),
    Kind("released after 20 s on average, 60 at most", service(late(exponential_hold(20, 60)))),
    Kind("swept every 10 s", service(swept(10))),
    Kind("swept every 20 s", service(swept(20))),
    Kind("swept every 25 s", service(swept(25))),
    Kind("swept every 35 s", service(swept(35))),
    Kind("swept every 45 s", service(swept(45))),
    Kind("1 in 20, swept every 30 s", service(swept(30, share=0.05))),
    Kind("sessions of 40 s, swept every 10 s", service(swept(10, 40))),
    Kind("sessions of 5 s, swept every 15 s", service(swept(15, 5))),
    Kind("threads released after 12 s", service(late_fixed(12)), key=THREADS),
    Kind("objects released after 25 s", service(late_fixed(25)), key=OBJECTS),
    Kind("pool, 1 a burst to 200", service(burst_pool(1, 200))),
    Kind("pool, 6 a burst to 120", service(burst_pool(6, 120))),
    Kind("pool, 7 a burst to 96, now and then none", service(burst_pool(7, 96, 0.7)), longer=True),
    Kind("pool, 12 a burst to 180", service(burst_pool(12, 180))),
    Kind("pool, 16 a burst to 128", service(burst_pool(16, 128))),
    Kind("pool, 20 a burst to 200", service(burst_pool(20, 200))),
    Kind("pool, 50 a burst to 200", service(burst_pool(50, 200))),
    Kind("threads, 6 a burst to 90, idle after 40 s", service(idle_pool(6, 90, 40.0, 4.0)), key=THREADS),
    Kind("threads, 25 a burst to 200, idle after 60 s", service(idle_pool(25, 200)), key=THREADS),
    Kind("pool of twice the peak, one closed every 2 s", service(peak_pool(2.0, 2.0))),
    Kind("pool of half the peak, one closed every 15 s", service(peak_pool(0.5, 15.0))),
    Kind("1 per stream, expired after 5 s by the next", service(expired(5))),
    Kind("1 per 3, expired after 50 s by the next", service(expired(50, 1 / 3))),
    Kind("1 per 10, expired after 22 s by one in ten", service(expired(22, 0.1, chance=0.1))),
    Kind("1 per 4, expired after 37 s by one in eighty", service(expired(37, 0.25, chance=1 / 80))),
    Kind("1 per 7, expired after 52 s by one in sixty", service(expired(52, 1 / 7, chance=1 / 60))),
    Kind("40 tenants", service(tenants(40))),
    Kind("160 tenants", service(tenants(160))),
    Kind("1,300 tenants", service(tenants(1300))),
    Kind("2,700 tenants, Zipf 0.8", service(tenants(2700, 0.8)), longer=True),
    Kind("5,200 tenants", service(tenants(5200)), longer=True),
    Kind("80 tenants, Zipf 1.1", service(tenants(80, 1.1))),
    Kind("64 tenants, Zipf", service(tenants(64, 1.0))),
    Kind("150 tenants, Zipf 1.3", service(tenants(150, 1.3))),
    Kind("objects: 300 tenants, Zipf", service(tenants(300, 1.0)), key=OBJECTS),
    Kind("objects: 2,500 tenants", service(tenants(2500)), key=OBJECTS),
    Kind("freed every 400 requests", service(janitor(400)), longer=True),
    Kind("1 in 3 freed every 3,300 requests", service(janitor(3300, 1 / 3)), longer=True),
    Kind("log rotated every 2,000 requests", service(rotation(2000, 8.0, 7))),
    Kind("constant, 60 % refused", service(refusing(0.6))),
    Kind("constant, 300 answers a second, else 429", service(rate_limited(300, PACE))),
)
_LEAKING_COUNTS = (
    Kind("3 per connection", shapes.leak(3.0, clockwork=True), "connection", 3.0),
    Kind("1 per 3", shapes.leak(1 / 3), "connection", 1 / 3),
    Kind("1 per 30", shapes.leak(1 / 30), "connection", 1 / 30),
    Kind("1 per 300", shapes.leak(1 / 300), "connection", 1 / 300),
    Kind("1 per 400", shapes.leak(1 / 400), "connection", 1 / 400),
    Kind("1 per 700", shapes.leak(1 / 700), "connection", 1 / 700, longer=True),
    Kind("1 per 300 + jitter ±1", shapes.leak(1 / 300, base=shapes.jitter), "connection", 1 / 300),
    Kind("1 per 50 + AR(0.5), σ 1.5", shapes.leak(0.02, base=shapes.remembering(1.5, 0.5)), "connection", 0.02),
    Kind("2 per aborted stream", shapes.leak(2.0, "aborts", clockwork=True), "abort", 2.0),
    Kind("1 per 4 aborts", shapes.leak(0.25, "aborts"), "abort", 0.25),
    Kind("1 per 2 events", shapes.leak(0.5, "events"), "event", 0.5),
    Kind("2 per stalled reader", shapes.leak(2.0, "stalls", clockwork=True), "slow-reader", 2.0),
    Kind("2 per broker timeout", shapes.leak(2.0, "unanswered", clockwork=True), "broker-timeout", 2.0, goal=BROKER),
    Kind("2 a second", shapes.leak(2.0, "seconds"), "time", 2.0),
    _leak("1 per 5, after 12 s", leak(0.2, after=12.0)),
    _leak("1 per stream, after 30 s", leak(1.0, "answered", steadily, after=30.0)),
    _leak("1 per 20, by fours", leak(0.05, draw=in_bursts(4)), 0.05),
    _leak("1 per 40, by threes", leak(0.025, draw=in_bursts(3)), 0.025),
    _leak("1 per 60, by fives", leak(1 / 60, draw=in_bursts(5)), 1 / 60),
    _leak("1 per 50, by tens", leak(0.02, draw=in_bursts(10)), 0.02),
    replace(_leak("1 per 15, varying (gamma 1.5)", leak(1 / 15, draw=varying(1.5)), 1 / 15), longer=True),
    _leak("1 per 30, varying (gamma 3)", leak(1 / 30, draw=varying(3.0)), 1 / 30),
    _leak("1 per 60, varying (gamma 6)", leak(1 / 60, draw=varying(6.0)), 1 / 60),
    _leak("1 per 10 above 30 at once", leak(0.1, "answered", above=30)),
    Kind(
        "2 per answered stream, 12 answers a second, else 429",
        service(rate_limited(12, PACE), leak(2.0, "answered", steadily)),
        "answered-stream",
        2.0,
    ),
    _leak("2 per answered stream", leak(2.0, "answered", steadily), 2.0, "answered-stream"),
    Kind("1 per answered stream, 60 % refused", service(refusing(0.6), leak(1.0, "answered", steadily)),
         "answered-stream", 1.0),
    Kind("1 per 5 answered streams, 20 % refused", service(refusing(0.2), leak(0.2, "answered")),
         "answered-stream", 0.2),
    _leak("1 per stream up to 800, then 503s", leak(1.0, "answered", steadily, cap=800, status=503), 1.0),
    _leak("2 per stream up to 1,000, then 500s", leak(2.0, "answered", steadily, cap=1000), 2.0),
    _beside("a release after 5 s", late_fixed(5), 0.2),
    _beside("an expiry after 18 s by the next", expired(18, 0.5), 1 / 12),
    _beside("a release after 3 s", late_fixed(3), 1 / 35),
    _beside("a release after 12 s", late_fixed(12), 1 / 30),
    _beside("a release after 15 s", late_fixed(15), 0.04),
    _beside("a release after 50 s", late_fixed(50), 0.2),
    _beside("a release after 3 to 20 s", late(between(3, 20)), 0.1),
    _beside("a release after 5 to 60 s", late(between(5, 60)), 0.2),
    _beside("a sweep every 12 s", swept(12), 0.1),
    _beside("a sweep every 25 s", swept(25), 1 / 12),
    replace(_beside("a sweep every 40 s", swept(40), 0.04), longer=True),
    _beside("a sweep every 45 s", swept(45), 0.2),
    _beside("sessions of 20 s, swept every 5 s", swept(5, 20), 0.1),
    _beside("a pool, 5 a burst to 150", burst_pool(5, 150), 0.1),
    _beside("a pool, 20 a burst to 200", burst_pool(20, 200), 0.2),
    _beside("a pool of the peak, one closed every 5 s", peak_pool(1.0, 5.0), 0.1),
    _beside("64 tenants, Zipf", tenants(64, 1.0), 0.05),
    _beside("a janitor every 400 requests", janitor(400), 0.5),
    _beside("log rotation", rotation(2000, 8.0, 7), 0.05),
    _beside("AR(0.5), σ 1.5", untimed(shapes.remembering(1.5, 0.5)), 0.02),
    _beside("a cache of 700", untimed(shapes.cache(700)), 0.1),
    _beside("a sawtooth of 7", untimed(shapes.sawtooth(7, 5)), 0.05),
    _leak("5 a second, with or without clients", leak(5.0, "seconds", singly), 5.0, "time"),
)  # fmt: skip
RECORDED = sorted(path.stem for path in TRACES_HELD_BACK.glob("*.json"))
_HEALTHY_MEMORY = (
    *(
        Kind(f"recorded: {name}", recorded(name, traces=TRACES_HELD_BACK), key=MEMORY, goal=LONG)
        for name in RECORDED
    ),
    Kind("staircase, 2 kB/connection to 5,000", staircase(2048, 5000), key=MEMORY, goal=LONG),
    Kind("staircase, 700 B/connection to 8,500", staircase(700, 8500), key=MEMORY, goal=LONG),
    Kind("collected heap of 40 MiB", collected(40 * MIB, 5), key=MEMORY, goal=LONG),
    Kind("4 kB a stream, freed after 30 s", freed(4000, 30), key=MEMORY, goal=LONG, pace=1500.0),
    Kind("1.5 kB a stream, freed after 50 s", freed(1500, 50), key=MEMORY, goal=LONG, pace=1500.0),
    Kind("12 kB a stream, freed after 55 s", freed(12_000, 55), key=MEMORY, goal=LONG, pace=1500.0),
    Kind(
        "200 kB buffered for each client",
        service(buffered(2e4, 1e5, 200e3), untimed(creeping)),
        key=MEMORY,
        goal=LONG,
    ),
    Kind(
        "garbage of timers, 900 kB a second, in a heap of 30 MB",
        service(garbage(3e7, 9e5), untimed(creeping)),
        key=MEMORY,
        goal=LONG,
        runtime="go",
    ),
    Kind("JIT warm-up of 2,000", compiled(60 * MIB, 2000), key=MEMORY, goal=LONG),
    Kind("objects: noise ±30, 2 a reading", shapes.counter(15.0, 2.0), key=OBJECTS),
    Kind("objects: 12,000 of a JVM", shapes.reused(1.2e4, 1.5e3, 2.5e3), key=OBJECTS, runtime="jvm"),
    Kind(
        "objects: 12,000 of a JVM, some collected alone",
        shapes.reused(1.2e4, 1.5e3, 2.5e3, 0.9),
        key=OBJECTS,
        runtime="jvm",
    ),
    Kind("objects: 900 buffers of a JVM", shapes.reused(900, 5e3, 300), key=OBJECTS, runtime="jvm"),
    Kind("objects: cache of 1,500", shapes.cache(1500, shapes.counter(1.5, 4.0)), key=OBJECTS),
)
_LEAKING_MEMORY = (
    Kind("2 kB/connection", leaked_bytes(2048, creeping), "connection", 2048.0, key=MEMORY, goal=LONG),
    Kind("3 kB/connection on a staircase", leaked_bytes(3072, staircase(2048, 5000)), "connection", 3072.0,
         key=MEMORY, goal=LONG),
    Kind("700 kB a second of a Go service", service(leak(7e5, "seconds", steadily), untimed(creeping)), "time", 7e5,
         key=MEMORY, goal=LONG, runtime="go"),
    Kind("20 kB/connection", leaked_bytes(20480, creeping), "connection", 20480.0, key=MEMORY, goal=LONG),
    Kind("30 kB per event while connected", service(buffered(3e5, 3e5), untimed(creeping)), "event", 3e4, key=MEMORY,
         goal=LONG),
    Kind("500 kB a second behind stalled readers", service(buffered(0.0, 5e5), untimed(creeping)), "stalled-second",
         5e5, key=MEMORY, goal=LONG),
    Kind("3 objects per connection", shapes.leak(3.0, base=shapes.counter(1.5, 4.0), clockwork=True), "connection",
         3.0, key=OBJECTS),
    Kind("15 objects per connection of a JVM",
         shapes.leak(15.0, base=shapes.reused(1.2e4, 1.5e3, 2.5e3), clockwork=True), "connection", 15.0, key=OBJECTS,
         runtime="jvm"),
    Kind("2 objects per connection of a JVM", shapes.leak(2.0, base=shapes.reused(900, 5e3, 300), clockwork=True),
         "connection", 2.0, key=OBJECTS, runtime="jvm"),
    Kind("1 object per 30", shapes.leak(1 / 30, base=shapes.counter(1.5, 4.0)), "connection", 1 / 30, key=OBJECTS),
)  # fmt: skip


def _held_back(kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
    return tuple(replace(kind, held_back=True) for kind in kinds)


HEALTHY_COUNTS = _held_back(_HEALTHY_COUNTS)
LEAKING_COUNTS = _held_back(_LEAKING_COUNTS)
HEALTHY_MEMORY = _held_back(_HEALTHY_MEMORY)
LEAKING_MEMORY = _held_back(_LEAKING_MEMORY)
