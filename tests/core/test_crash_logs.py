"""Logs of real crashes: each gets its signature, its advice, and the frames of the service first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.frames import is_go_library, is_library
from harness.core.judge.crash import crash_of, crash_trace, next_step
from harness.core.judge.signature import SIGNATURES, advice, excerpt, find
from harness.core.judge.trial import judge
from harness.core.record import ExitInfo, Trial
from harness.core.trace import fold
from harness.report.facts import facts_of
from tests.core.series import trial
from tests.crashes.programs import PROGRAMS

LOGS = Path(__file__).parents[1] / "crashes" / "logs"
KERNEL = "kernel-oom-kill"
EXPECTED = {**{name: program.signature for name, program in PROGRAMS.items()}, KERNEL: KERNEL}
# The analysis quotes these lines; no published release of the service prints them.
QUOTED = {"context-termination", "socket-close"}
# Of each trace, the first frame and the functions below it that the reader needs.
FIRST = {
    "go-cgo-sigsegv": ("goroutine 20 [syscall]", "main.(*Client).Recv", "main.(*HealthService).GetSystemHealth"),
    "go-map-writes": ("goroutine 11 [running]", "main.(*Hub).Register"),
    "go-out-of-memory": ("goroutine 1 [running]", "main.record"),
    "go-deadlock": ("goroutine 1 [chan receive]", "main.(*Hub).Next"),
    "go-nil-panic": ("goroutine 1 [running]", "main.(*Hub).Name"),
    "go-panic": ("goroutine 1 [running]", "main.(*Hub).Close"),
    "go-stack-overflow": ("goroutine 1 [running]", "main.walk"),
    "go-sigsegv": ("goroutine 1 [running]", "main.decode"),
    "python-sigsegv": ("service.py:7 in decode", "service.py:10 in on_event"),
    "python-abort": ("service.py:4 in close_hub",),
    "python-fatal": ("service.py:4 in finalize",),
    "python-gil": ("service.py:4 in callback",),
    "python-memory": ("service.py:4 in record",),
    "python-too-many-files": ("service.py:6 in check",),
    "node-uncaught": ("service.js:2 in Hub.publish",),
    "node-too-many-files": ("service.js:3 in check",),
    "node-rejection": ("service.js:1 in Hub.publish",),
    "java-heap": ("Service.java:4 in Service.record",),
    "java-metaspace": ("Service.java:8 in Service.load",),
    "java-threads": ("Service.java:3 in Service.check",),
    "java-hs-err": ("Service.decode", "Service.main"),
    "rust-panic": ("service.rs:2 in service::Hub::stream",),
    "asan-use-after-free": ("main.c:6 in decode",),
}  # fmt: skip


def log(name: str) -> list[str]:
    return (LOGS / f"{name}.log").read_text().splitlines()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_real_log_gets_its_signature(name: str) -> None:
    found = find(log(name))
    assert found is not None
    assert found.signature.name == EXPECTED[name]
    assert advice(found.signature.name)


def test_an_exception_that_ends_a_node_is_quoted_and_not_the_version_of_node() -> None:
    matches = {name: find(log(name)) for name in ("node-uncaught", "node-rejection")}
    assert {name: match.line for name, match in matches.items() if match} == {
        "node-uncaught": "Error: write after end",
        "node-rejection": "TypeError: the stream is closed",
    }


def test_every_signature_has_a_real_log() -> None:
    assert {row.name for row in SIGNATURES} - QUOTED == set(EXPECTED.values())
    assert {path.stem for path in LOGS.glob("*.log")} == set(EXPECTED)


@pytest.mark.parametrize("name", FIRST)
def test_the_trace_begins_in_the_service(name: str) -> None:
    trace = fold(log(name))
    for seen, wanted in zip(trace, FIRST[name], strict=False):
        assert seen.endswith(wanted), trace
    assert len(trace) >= len(FIRST[name])
    assert not any("runtime." in frame or "node:internal" in frame for frame in trace)


def test_other_goroutines_inside_c_are_named_and_those_that_wait_are_not() -> None:
    trace = fold(log("go-cgo-sigsegv"))
    beside = [frame for frame in trace[1:] if frame.startswith("goroutine ")]
    assert beside == [
        "goroutine 4 [syscall] is inside C as well: /srv/service/main.go:13 in main.(*Client).Wait"
    ]


FULL_HEAP = """\
Jan 1, 2026 10:00:00 AM Orders broadcast
INFO: a client left
java.io.IOException: Broken pipe
	at java.base/sun.nio.ch.SocketDispatcher.write0(Native Method)
	at Orders.broadcast(Orders.java:31)
Exception in thread "HTTP-Dispatcher" java.lang.OutOfMemoryError: Java heap space
	at java.base/java.util.HashMap.newNode(HashMap.java:1901)
	at jdk.httpserver/sun.net.httpserver.ServerImpl$Dispatcher.run(ServerImpl.java:467)
Exception in thread "pool-1-thread-7" java.lang.OutOfMemoryError: Java heap space
	at java.base/java.util.Arrays.copyOf(Arrays.java:3512)
	at Orders$Session.record(Orders.java:44)
	at java.base/java.lang.Thread.run(Thread.java:840)
""".splitlines()


def test_of_several_threads_that_meet_a_full_heap_the_first_in_code_of_the_service_is_shown() -> None:
    assert fold(FULL_HEAP) == ("Orders.java:44 in Orders$Session.record",)
    library = FULL_HEAP[:8]
    assert fold(library)[0].endswith("in java.util.HashMap.newNode"), (
        "the error that ended it, not what it survived"
    )
    survived = FULL_HEAP[:5]
    assert fold(survived) == ("Orders.java:31 in Orders.broadcast",)


@pytest.mark.parametrize("name", ["go-cgo-sigsegv", "java-hs-err"])
def test_registers_are_left_out_of_the_excerpt(name: str) -> None:
    kept = excerpt(log(name), 120)
    assert not any(line.lower().startswith(("rax", "rip", "rflags", "rbx")) for line in kept)
    assert len(kept) > 40


def test_a_crash_names_the_frame_and_the_advice_of_its_signature() -> None:
    crashed = trial([310, 610, 910])
    died = crash_of(
        type(crashed)(
            crashed.name,
            crashed.target,
            crashed.budget,
            exit=ExitInfo(2, 1.0, 10, tuple(log("go-cgo-sigsegv"))),
        )
    )
    assert died is not None
    assert died.trace[1] == "/srv/service/main.go:12 in main.(*Client).Recv"
    assert "every other goroutine inside C" in next_step(died)


SURVIVED = (
    "Traceback (most recent call last):",
    '  File "/srv/app.py", line 10, in events',
    "ClientConnectionResetError: Cannot write to closing transport",
)


def test_the_traceback_of_what_a_service_survived_is_not_that_of_its_crash() -> None:
    assert crash_trace(-11, SURVIVED) == ()
    assert crash_trace(139, SURVIVED) == (), "as a shell gives it"
    assert crash_trace(1, SURVIVED) == ("/srv/app.py:10 in events",)
    assert crash_trace(-11, log("python-sigsegv"))[0].endswith("service.py:7 in decode")


def test_a_python_killed_without_a_traceback_gets_advice_to_show_one() -> None:
    one = trial([10.0] * 3)
    silent = replace(one, exit=ExitInfo(-11, 1.0, 10, SURVIVED), target=replace(one.target, runtime="python"))
    assert "PYTHONFAULTHANDLER=1" in judge(silent).advice
    other = replace(silent, target=replace(one.target, runtime="go"))
    assert "PYTHONFAULTHANDLER" not in judge(other).advice
    spoken = replace(silent, exit=ExitInfo(-11, 1.0, 10, tuple(log("python-sigsegv"))))
    assert "PYTHONFAULTHANDLER" not in judge(spoken).advice, "it is set"


def test_a_crash_quotes_its_own_line_and_none_of_a_survived_error() -> None:
    one = trial([310, 610, 910])
    maps = facts_of(
        _judged(replace(one, exit=ExitInfo(2, 1.0, 10, tuple(log("go-map-writes"))))), root="/srv/service"
    )
    assert [fact.text for fact in maps.facts if fact.label == "crash at"] == [
        "main.go:7  main.(*Hub).Register"
    ]
    silent = facts_of(_judged(replace(one, exit=ExitInfo(-11, 1.0, 10, SURVIVED))))
    assert not {"crash at", "log"} & {fact.label for fact in silent.facts}


def _judged(one: Trial) -> Trial:
    return replace(one, verdict=judge(one))


def test_a_sigkill_without_a_log_line_points_to_the_kernels_log() -> None:
    crashed = trial([310, 610, 910])
    died = crash_of(type(crashed)(crashed.name, crashed.target, crashed.budget, exit=ExitInfo(-9, 1.0, 10)))
    assert died is not None
    assert "dmesg" in next_step(died)


@pytest.mark.parametrize(
    ("frame", "library"),
    [
        (("/go/src/app/main.go", 3, "main.serve"), False),
        (("/go/src/github.com/acme/orders/hub/hub.go", 3, "github.com/acme/orders/hub.(*Hub).Run"), False),
        (("/srv/log/log.go", 3, "log.Write"), False),
        (("/opt/go1.26/src/net/http/server.go", 3, "net/http.(*conn).serve"), True),
        (("net/http/server.go", 3, "net/http.(*conn).serve"), True),
        (("/go/pkg/mod/github.com/gin-gonic/gin@v1/gin.go", 3, "github.com/gin-gonic/gin.(*Engine).Next"), True),
        (("github.com/gin-gonic/gin@v1.9.0/gin.go", 3, "github.com/gin-gonic/gin.(*Engine).Next"), True),
        (("/srv/vendor/github.com/a/b/c.go", 3, "github.com/a/b.Do"), True),
        (("/srv/hub.go", 3, "example.com/app/hub.Map[go.shape.struct { net/http.x }].Do"), False),
    ],
)  # fmt: skip
def test_frames_of_go_are_distinguished_by_package(frame: tuple[str, int, str], library: bool) -> None:
    assert is_go_library(frame) is library


@pytest.mark.parametrize(
    ("runtime", "frame", "library"),
    [
        ("python", ("/srv/app.py", 1, "f"), False),
        ("python", ("/usr/lib/python3.11/asyncio/tasks.py", 1, "f"), True),
        ("python", ("/srv/.venv/lib/python3.13t/site-packages/anyio/_core/_tasks.py", 1, "f"), True),
        ("node", ("/srv/app.js", 1, "f"), False),
        ("node", ("/opt/tools/harness/runtime/agent/node/listeners.js", 21, "EventEmitter.addListener"), True),
        ("python", ("/opt/tools/harness/runtime/agent/python/harness_agent.py", 9, "read"), True),
        ("node", ("/srv/node_modules/express/lib/router.js", 1, "f"), True),
        ("node", ("node:events", 1, "emit"), True),
        ("jvm", ("NioEventLoop.java", 1, "io.netty.channel.nio.NioEventLoop.run"), True),
        ("jvm", ("Hub.java", 1, "com.acme.orders.Hub.publish"), False),
        ("rust", ("src/main.rs", 1, "orders::hub::publish"), False),
        ("rust", ("src/x.rs", 1, "tokio::runtime::park"), True),
        ("c", ("main.c", 6, "decode"), False),
        ("c", ("./nptl/pthread_kill.c", 44, "__pthread_kill_implementation"), True),
    ],
)  # fmt: skip
def test_frames_of_libraries_are_known_in_every_language(
    runtime: str, frame: tuple[str, int, str], library: bool
) -> None:
    assert is_library(runtime, frame) is library
