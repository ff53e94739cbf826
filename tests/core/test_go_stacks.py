"""A dump of every goroutine (goroutine?debug=2) becomes places: the line, what it waits in, or what started it."""

from __future__ import annotations

from harness.report.facts import place
from harness.runtime.go_places import Stack, stack_growth, stacks_of

WAITS = """goroutine {number} [{state}]:
main.(*Hub).heartbeat(0xc0000120a8, 0xc000{number}b0)
\t/srv/hub.go:18 +0x25
created by main.(*Hub).Goroutine in goroutine {number}
\t/srv/hub.go:21 +0x9f
"""
LIBRARY = """goroutine {number} [IO wait]:
internal/poll.runtime_pollWait(0x7f2c5c0f4e28, 0x72)
\t/usr/lib/go/src/runtime/netpoll.go:351 +0x85
net.(*conn).Read(0xc00012c018, {{0xc000{number}9000, 0x200, 0x200}})
\t/usr/lib/go/src/net/net.go:185 +0x45
io.Copy({{0x6d2ac0, 0xc0000a0018}}, {{0x6d2d60?, 0xc00012c018?}})
\t/usr/lib/go/src/io/io.go:388 +0x12
created by main.follow in goroutine 7
\t/srv/follow.go:9 +0x4c
"""
PAGE = """goroutine 9 [running]:
runtime/pprof.writeGoroutineStacks({0x7f8d08, 0xc0000d20e0})
\t/usr/lib/go/src/runtime/pprof/pprof.go:764 +0x6a
created by net/http.(*Server).Serve in goroutine 1
\t/usr/lib/go/src/net/http/server.go:3493 +0x485
"""


def dump(states: list[str], copies: int = 0) -> dict[Stack, int]:
    blocks = [WAITS.format(number=100 + at, state=state) for at, state in enumerate(states)]
    blocks += [LIBRARY.format(number=300 + at) for at in range(copies)]
    return stacks_of("\n".join([PAGE, *blocks]))


def test_a_goroutines_wait_reason_is_reported_with_its_line_whatever_its_age() -> None:
    after = dump(["chan receive", "chan receive, 2 minutes", "chan receive, locked to thread"] * 50)
    (found,) = stack_growth(dump([]), after, 150)
    assert found.line() == (
        "/srv/hub.go:18 in main.(*Hub).heartbeat (waiting in chan receive): 1.00 goroutines per connection"
    )
    assert place(found.line(), "/srv") == "hub.go:18  main.(*Hub).heartbeat, waiting in chan receive"
    assert found.own


def test_states_are_written_in_words() -> None:
    states = {
        "select": "waiting in select",
        "select (no cases)": "waiting in select",
        "chan receive (nil chan)": "waiting in chan receive of nil",
        "sync.Mutex.Lock, 14 minutes": "waiting in sync.Mutex.Lock",
        "running": "running",
        "syscall, 1 minutes": "in a system call or C code",
    }
    for state, words in states.items():
        (found,) = stack_growth({}, dump([state] * 10), 10)
        assert found.site == f"/srv/hub.go:18 in main.(*Hub).heartbeat ({words})"


def test_a_goroutine_in_library_code_has_the_line_that_started_it() -> None:
    (found,) = stack_growth(dump([]), dump([], copies=30), 30)
    assert found.site == "/srv/follow.go:9 in main.follow (started here, waiting in IO wait)"
    assert found.own
    assert [frame.partition(" in ")[2] for frame in found.frames[1:]] == [
        "internal/poll.runtime_pollWait",
        "net.(*conn).Read",
        "io.Copy",
    ]


def test_a_goroutine_that_only_changed_its_state_is_no_growth() -> None:
    assert stack_growth(dump(["runnable"] * 20), dump(["runnable"] * 20), 20) == []
    assert stack_growth(dump(["runnable"] * 20), dump(["chan receive"] * 20), 20) == []
