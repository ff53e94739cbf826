"""The services of ``bench.unseen``, and what is true of each."""

from __future__ import annotations

from dataclasses import dataclass

LOADED = ("connection", "answered-stream")
QUEUED = ("stalled-second", "event")
# A service that answers 429 is never "bounded": the guard has not seen all the streams that it asked for.
REFUSED = ("bounded", "inconclusive")


@dataclass(frozen=True, slots=True)
class Row:
    """One service. leaks: the drivers that are right for it; empty for a healthy one. held_back: no rule was changed
    after looking at it. passes: the outcomes that are right for a healthy one. instead: outcomes that are as right as
    "leaking" for a service whose leak makes it fail. options: those of the guard that such a service needs."""

    language: str
    behaviour: str
    means: str
    leaks: tuple[str, ...] = ()
    held_back: bool = False
    passes: tuple[str, ...] = ("bounded",)
    instead: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


ROWS = (
    Row("python", "late-7", "a pipe per stream, closed 7 s later"),
    Row("python", "tenants-90", "a descriptor for each of 90 tenants", held_back=True),
    Row("python", "cap-700", "a pipe per stream until 700, then only 503", LOADED),
    Row("python", "reset", "a pipe per stream that ended with an error", ("abort",), held_back=True),
    Row("node", "late-22", "a descriptor per stream, closed 22 s later"),
    Row("node", "swept-13", "a descriptor per stream, closed by a sweep every 13 s", held_back=True),
    Row("node", "lumpy", "20 timers for every fortieth stream", LOADED, held_back=True),
    Row(
        "node", "stalled", "6 to 12 kB queued per second behind a stalled reader", ("stalled-second", "event")
    ),
    Row("go", "late-45", "a file per stream, closed 45 s later", held_back=True),
    Row("go", "goroutine", "a goroutine per stream that waits for ever, without pprof", LOADED),
    Row("go", "time", "350 kB a second, without pprof", ("time",)),
    Row("go", "garbage", "1 MB of garbage a second beside 20 MB, without pprof"),
    Row("java", "blocked-90", "a pool of 90 workers that block for ever", LOADED),
    Row("java", "pool-20", "a pool of threads that end when idle for 20 s", held_back=True),
    Row("c", "tick-6", "a departure is noticed by the write every 6 s"),
    Row("c", "bytes-3000", "3,000 bytes per stream", LOADED, held_back=True),
    Row("c", "reset-eventfd", "an eventfd per stream that was reset", ("abort",), held_back=True),
    Row("rust", "bytes-per-event", "2,500 bytes per event", ("event", *LOADED)),
    Row("rust", "file-per-25", "a file for every 25th stream", LOADED, held_back=True),
    Row("rust", "flat", "nothing", held_back=True),
    Row("python", "resumable-37", "a task and a session per stream for 37 s more", held_back=True),
    Row("python", "limit-70", "429 beyond 70 requests a second", held_back=True, passes=REFUSED),
    Row("python", "outbox", "30 kB queued per second for a stalled reader", QUEUED, held_back=True),
    Row("python", "lumps-29", "5 to 12 eventfds for every 29th stream", LOADED, held_back=True),
    Row("node", "lru-1300", "the 1,300 sessions that were used last", held_back=True),
    Row("node", "skipping", "at most 126 kB for a stalled reader, who skips the rest", held_back=True),
    Row("node", "audit-reset", "a file per stream that was reset", ("abort",), held_back=True),
    Row("node", "samples", "a sample of the CPU time every 75 ms", ("time",), held_back=True),
    Row(
        "go",
        "expiring-53",
        "a file per stream, closed 53 s later; another for every sixth, never closed",
        LOADED,
        held_back=True,
    ),
    Row("go", "upstreams-26", "a pool of connections that closes those idle for 26 s", held_back=True),
    Row(
        "go", "spool-640", "a file per stream until 512 of 640 descriptors, then 503", LOADED, held_back=True
    ),
    Row("java", "expiry", "a session with a file per stream, for 8 to 48 s more", held_back=True),
    Row(
        "java",
        "audits-110",
        "a pool of at most 110 threads, which stay; with 1,000 streams the accept loop ends",
        passes=("bounded", "stalled"),
    ),
    Row("java", "watcher-7", "a thread for every seventh stream", LOADED, held_back=True),
    Row("c", "churn", "blocks of 64 bytes to 48 kB, allocated and freed beside 14 MB", held_back=True),
    Row("c", "helpers-98", "14 more helper threads for a burst, up to 98", held_back=True),
    Row(
        "c",
        "reserve-870",
        "an eventfd per stream until RLIMIT_NOFILE of 870, then 503",
        LOADED,
        held_back=True,
    ),
    Row("c", "roster", "a list of all clients ever, scanned every 5 ms", LOADED, held_back=True),
    Row("rust", "reaper-19", "a file per stream, closed by a sweep every 19 s", held_back=True),
    Row("rust", "bytes-19000", "19,000 bytes per stream", LOADED, held_back=True),
    Row("rust", "backlog", "27 kB queued per second for a stalled reader", QUEUED),
    Row("rust", "journal", "260 kB a second", ("time",), held_back=True),
    Row(
        "ruby",
        "swept-third",
        "a file per stream: two of three closed by a sweep every 11 s, the third never",
        LOADED,
        held_back=True,
    ),
    Row("ruby", "render", "60 rows rendered and parsed per event", held_back=True),
    Row("ruby", "tick-9", "a departure is noticed 9 to 18 s later, by a write", held_back=True),
    Row(
        "ruby",
        "limit-55",
        "a file per answered stream; 429 beyond 55 requests a second",
        ("answered-stream",),
        held_back=True,
    ),
    Row("php", "tenants-57", "a pair of sockets for each of 57 tenants", held_back=True),
    Row("php", "history", "21,000 bytes per stream", LOADED, held_back=True),
    Row("php", "cap-330", "a file per stream until 330, then only 503", LOADED, held_back=True),
    Row(
        "php",
        "tick-4.3",
        "a departure is noticed by the write every 4.3 s, until select() has 1,024 descriptors to watch",
        LOADED,
    ),
    Row("python", "ring-33", "the metrics of the last 33 s, 91 kB a second", held_back=True),
    Row("python", "gamma-41", "1 to 30 files for one stream of 41, at random", LOADED, held_back=True),
    Row(
        "python",
        "limit-38",
        "429 without Retry-After beyond 38 requests a second",
        held_back=True,
        passes=REFUSED,
    ),
    Row("node", "bytes-4200", "4,200 bytes per stream", LOADED, held_back=True),
    Row(
        "node",
        "quotes-85",
        "85 kB written per second, whether the client reads or not",
        QUEUED,
    ),
    Row("node", "tenants-140", "11 kB and a timer for each of 140 tenants", held_back=True),
    Row("go", "bytes-6400", "6,400 bytes per stream, without pprof", LOADED, held_back=True),
    Row("go", "pooled-pages", "pages rendered in pooled buffers, and JSON, per event", held_back=True),
    Row(
        "go",
        "twins",
        "a connection to the upstream for each client that opens a topic together with another",
        LOADED,
        held_back=True,
    ),
    Row("go", "outgoing-130", "130 kB queued per second for a stalled reader", QUEUED),
    Row("go", "linger-55", "a goroutine with 9 kB per stream, for 15 to 55 s more", held_back=True),
    Row("java", "bytes-5600", "5,600 bytes per stream", LOADED, held_back=True),
    Row("java", "shrinking-9", "a pool of connections, half of which are closed every 9 s"),
    Row(
        "java",
        "sweep-31",
        "a file per stream, closed by a sweep every 31 s; that of every sixteenth never",
        LOADED,
        held_back=True,
    ),
    Row("c", "bytes-1700", "1,700 bytes per stream", LOADED, held_back=True),
    Row("c", "slabs-96", "a slab of 96 kB per open stream, for later ones", held_back=True),
    Row("c", "half-close", "a file per stream whose client half-closed", ("abort",), held_back=True),
    Row("c", "metrics-64", "64 kB a second", ("time",)),
    Row("c", "sessions-40", "3,000 bytes per stream, for 40 s more"),
    Row("c", "recent-40", "3,000 bytes per stream, until the first request after 40 s"),
    Row("rust", "board-320", "at most 320 kB queued for a stalled reader", held_back=True),
    Row(
        "rust",
        "acceptor-410",
        "a file for every second stream; with RLIMIT_NOFILE of 410 the accept loop ends",
        LOADED,
        held_back=True,
        instead=("stalled",),
    ),
    Row("rust", "tick-17", "a departure is noticed up to 34 s later, by a write", held_back=True),
    Row("ruby", "bytes-5100", "5,100 bytes per stream", LOADED),
    Row("ruby", "cache-4400", "the newest pages, 4.4 MB at most", held_back=True),
    Row("ruby", "drops-192", "a client that is behind by 192 kB is disconnected"),
    Row("ruby", "threads-27", "a thread for every fourth stream, for 27 s more", held_back=True),
    Row("php", "bytes-3300", "3,300 bytes per stream", LOADED, held_back=True),
    Row("php", "templates", "10 to 70 rows rendered per event", held_back=True),
    Row(
        "php",
        "ended-third",
        "a file for every third stream, which the service itself ends",
        LOADED,
        held_back=True,
    ),
    Row("python", "loggers", "a logger named after each stream", LOADED, held_back=True),
    Row("python", "expired-25", "sessions of 25 s, which the next request removes"),
    Row("python", "collected-18", "a cycle with a file per stream, collected every 18 s", held_back=True),
    Row("node", "shutdown", "a listener per stream on the signal of the shutdown", LOADED, held_back=True),
    Row("node", "agent-6", "a pool of at most 6 connections to a backend", held_back=True),
    Row("node", "spill-1100", "a file per stream, from the 1,100th stream on", LOADED, held_back=True),
    Row(
        "go",
        "answers",
        "a goroutine and a connection per client that left before the upstream's answer",
        ("abort",),
        held_back=True,
    ),
    Row("go", "after-10m", "a timer of 10 minutes per event, without pprof", held_back=True),
    Row("go", "overflow-33", "a file per stream that opens beside 33 others or more", LOADED, held_back=True),
    Row("java", "scratch-75", "180 kB for each of 75 threads, at its first long request", held_back=True),
    Row("java", "limits", "a cancelled time limit per stream, for an hour", LOADED),
    Row("java", "direct-160", "160 kB of direct memory per stream, until a collection", held_back=True),
    Row("c", "zombies-9", "a zombie for every ninth stream", LOADED, held_back=True),
    Row("c", "mapped-5", "a mapped temporary file for every fifth stream", LOADED, held_back=True),
    Row("c", "job-12", "30 descriptors for 2 s, every 12 s", held_back=True),
    Row("rust", "drain-11", "a socket is closed 11 s after its client departed", held_back=True),
    Row(
        "rust",
        "transcript-3000",
        "3,000 bytes per event, until the stream ends",
        ("event", "connected-second"),
        held_back=True,
    ),
    Row(
        "rust",
        "accounts-80",
        "a file and 30 kB for each of 80 tenants, who are named in a header",
        held_back=True,
        options=("--clients", "80", "--header", "X-Tenant: t{client}"),
    ),
    Row(
        "ruby",
        "maintenance",
        "a deleted file per request, all answered by 503",
        LOADED,
        held_back=True,
        options=("--mode", "request", "--expect", "503"),
    ),
    Row("ruby", "children-5", "a child of 4.6 s for every fifth stream", held_back=True),
    Row("ruby", "rare-12", "an event every 12 s, none before"),
    Row("php", "statsd", "a socket every 0.7 s", ("time",), held_back=True),
    Row("php", "lingering-5", "it ends each stream, and waits up to 5 s for the client", held_back=True),
    Row(
        "php",
        "banned",
        "2,700 bytes per client that is refused with 429, beyond 45 requests a second",
        ("connection",),
        held_back=True,
    ),
)
