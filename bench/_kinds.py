"""The healthy and the leaking kinds of series on which every rule is measured."""

from __future__ import annotations

from dataclasses import replace

from bench._services import GOAL, IDLE_CPU, MEMORY, MIB, OBJECTS, THREADS, Kind
from bench._shapes import (
    busy,
    cache,
    constant,
    counter,
    drift,
    idle_cpu,
    jitter,
    late_close,
    lazy,
    leak,
    pool,
    pool_of_uneven_bursts,
    remembering,
    reused,
    sawtooth,
    thread_pool,
)
from bench._shapes_memory import (
    TRACES,
    collected,
    compiled,
    creeping,
    leaked_bytes,
    recorded,
    staircase,
)
from bench._shapes_timed import freed

RECORDED = sorted(path.stem for path in TRACES.glob("*.json"))
LONG = replace(GOAL, max_seconds=180.0)
BROKER = replace(GOAL, broker=True)

HEALTHY_COUNTS = (
    Kind("constant", constant),
    Kind("jitter ±1", jitter),
    Kind("AR(0.7), σ 1", remembering(1.0)),
    Kind("AR(0.7), σ 2", remembering(2.0)),
    Kind("pool of 64, filled in 4 cycles", pool(64, 16)),
    Kind("pool of 32, one a cycle", pool(32, 1)),
    Kind("pool of 32, one in two cycles", pool(32, 1, 0.5), longer=True),
    Kind("pool of 60, in chunks of 10", pool(60, 10, 0.3)),
    Kind("pool of 60, in chunks of 5 to 15", pool_of_uneven_bursts(60, 5, 15, 0.3)),
    Kind("pool of 56, in chunks of 8", pool(56, 8, 0.4)),
    Kind("pool of 50, in chunks of 3 to 9", pool_of_uneven_bursts(50, 3, 9, 0.35), longer=True),
    Kind("cache of 1,000", cache(1000)),
    Kind("thread pool of 40", thread_pool(40), key=THREADS),
    Kind("thread pool of 24", thread_pool(24), key=THREADS),
    Kind("drift over time, 0.1/s", drift(0.1), true="time", longer=True),
    Kind("opened on first use", lazy(5)),
    Kind("3 opened on first use", lazy(3)),
    Kind("late closes", late_close),
    Kind("sawtooth of 12", sawtooth(12, 8)),
)
LEAKING_COUNTS = (
    Kind("2 per connection", leak(2.0, clockwork=True), "connection", 2.0),
    Kind("1 per 2 connections", leak(0.5), "connection", 0.5),
    Kind("1 per 10", leak(0.1), "connection", 0.1),
    Kind("1 per 100", leak(0.01), "connection", 0.01),
    Kind("1 per 500", leak(0.002), "connection", 0.002),
    Kind("1 per 1,000", leak(0.001), "connection", 0.001, longer=True),
    Kind("1 per 500 + jitter ±1", leak(0.002, base=jitter), "connection", 0.002),
    Kind("1 per 1,000 + jitter ±1", leak(0.001, base=jitter), "connection", 0.001, longer=True),
    Kind("1 per 100 + AR(0.7), σ 2", leak(0.01, base=remembering(2.0)), "connection", 0.01),
    Kind("1 per aborted stream", leak(1.0, "aborts", clockwork=True), "abort", 1.0),
    Kind("1 per 10 aborts", leak(0.1, "aborts"), "abort", 0.1),
    Kind("1 per request reset early", leak(1.0, "early", clockwork=True), "abort", 1.0),
    Kind("1 per stream that was reset", leak(1.0, "resets", clockwork=True), "abort", 1.0),
    Kind("1 per event", leak(1.0, "events", clockwork=True), "event", 1.0),
    Kind("1 per 10 events", leak(0.1, "events"), "event", 0.1),
    Kind("1 per stalled reader", leak(1.0, "stalls", clockwork=True), "slow-reader", 1.0),
    Kind("1 per broker timeout", leak(1.0, "unanswered", clockwork=True), "broker-timeout", 1.0, goal=BROKER),
    Kind("1 a second", leak(1.0, "seconds"), "time", 1.0),
)
HEALTHY_MEMORY = (
    Kind("staircase, 1 kB/connection to 7,800", staircase(1024, 7800), key=MEMORY, goal=LONG),
    Kind("staircase, 3 kB/connection to 6,000", staircase(3072, 6000, 256 * 1024.0), key=MEMORY, goal=LONG),
    Kind("collected heap", collected(24 * MIB, 7), key=MEMORY, goal=LONG),
    Kind("JIT warm-up", compiled(40 * MIB, 1000), key=MEMORY, goal=LONG),
    Kind("slow JIT warm-up", compiled(40 * MIB, 4000), key=MEMORY, goal=LONG),
    Kind("pages that come and go", creeping, key=MEMORY, goal=LONG),
    *(Kind(f"recorded: {name}", recorded(name), key=MEMORY, goal=LONG) for name in RECORDED),
    Kind("3 kB a stream, freed after 40 s", freed(3000, 40), key=MEMORY, goal=LONG, pace=1500.0),
    Kind("2 kB a stream, freed after 60 s", freed(2000, 60), key=MEMORY, goal=LONG, pace=1500.0),
    Kind("20 kB a stream, freed after 15 s", freed(20_000, 15), key=MEMORY, goal=LONG, pace=1500.0),
    Kind("objects: reading's own 4", counter(1.5, 4.0), key=OBJECTS),
    Kind("objects: noise ±60", counter(30.0, 0.0), key=OBJECTS),
    Kind("objects: cache of 2,000", cache(2000, counter(1.5, 4.0)), key=OBJECTS),
    Kind("objects: cache of 4,000", cache(4000, counter(1.5, 4.0)), key=OBJECTS),
    Kind("objects: 3,000 buffers of a JVM", reused(3e3, 3e3, 800.0), key=OBJECTS, runtime="jvm"),
    Kind(
        "objects: 3,000 of a JVM, some collected alone",
        reused(3e3, 3e3, 800.0, 0.8),
        key=OBJECTS,
        runtime="jvm",
    ),
    Kind("objects: 60,000 of a JVM", reused(6e4, 2e3, 8e3), key=OBJECTS, runtime="jvm"),
    Kind("idle CPU ±0.5 %", idle_cpu(0.005), key=IDLE_CPU),
)
LEAKING_MEMORY = (
    Kind("1 kB/connection", leaked_bytes(1024, creeping), "connection", 1024.0, key=MEMORY, goal=LONG),
    Kind("1 kB/connection on a staircase", leaked_bytes(1024, staircase(1024, 7800)), "connection", 1024.0,
         key=MEMORY, goal=LONG),
    Kind("1 kB/connection on recorded asyncio", leaked_bytes(1024, recorded("asyncio")), "connection", 1024.0,
         key=MEMORY, goal=LONG),
    Kind("1 kB/connection on recorded node", leaked_bytes(1024, recorded("node")), "connection", 1024.0,
         key=MEMORY, goal=LONG),
    Kind("4 kB/connection", leaked_bytes(4096, creeping), "connection", 4096.0, key=MEMORY, goal=LONG),
    Kind("50 kB/connection", leaked_bytes(51200, creeping), "connection", 51200.0, key=MEMORY, goal=LONG),
    Kind("1 object per connection", leak(1.0, base=counter(1.5, 4.0), clockwork=True), "connection", 1.0, key=OBJECTS),
    Kind("1 object per 100", leak(0.01, base=counter(1.5, 4.0)), "connection", 0.01, key=OBJECTS),
    Kind("5 objects per connection of a JVM", leak(5.0, base=reused(3e3, 3e3, 800.0), clockwork=True), "connection",
         5.0, key=OBJECTS, runtime="jvm"),
    Kind("40 objects per connection of a JVM", leak(40.0, base=reused(6e4, 2e3, 8e3), clockwork=True), "connection",
         40.0, key=OBJECTS, runtime="jvm", longer=True),
    Kind("idle CPU 1 % per 1,000", busy(1e-5, 0.005), "connection", 1e-5, key=IDLE_CPU),
)  # fmt: skip
