"""Which places explain a finding, and how Python's readings become places."""

from __future__ import annotations

import pytest

from harness.core.errors import ProbeError
from harness.core.judge.advice import Held, held_of, next_step
from harness.core.judge.explaining_places import where
from harness.core.metric import Key
from harness.core.note import Note, NoteKind
from harness.core.record import Place, Places
from harness.runtime.counters import SearchOver, cut_short, run_cycles
from harness.runtime.python_sites import (
    attribution,
    container_growth,
    entries,
    holder,
    line_growth,
    waiting_growth,
)
from harness.runtime.snapshot import Snapshot
from tests.core.series import container

LIBRARY = "/usr/lib/python3.11/asyncio/queues.py"
PACKAGE = "/srv/venv/lib/python3.11/site-packages/web/app.py"
OWN = "/srv/app.py"
FOUND = Places(
    (
        Place("task", "app.py:3: 1.00 tasks per connection"),
        Place("line", "app.py:9: 2.00 blocks per connection"),
    ),
    more=4,
    notes=(Note(NoteKind.SEARCH_LIMIT, "sampled"),),
)


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        (Key("tasks", "asyncio-task"), ("app.py:3: 1.00 tasks per connection",)),
        (
            Key("memory", "objects"),
            (
                "app.py:3: 1.00 tasks per connection",
                "app.py:9: 2.00 blocks per connection",
                "and 4 more places",
                "sampled",
            ),
        ),
        (
            Key("threads"),  # no place is of a thread, so everything that grew may explain them
            (
                "app.py:3: 1.00 tasks per connection",
                "app.py:9: 2.00 blocks per connection",
                "and 4 more places",
                "sampled",
            ),
        ),
    ],
)
def test_a_finding_gets_the_places_that_mention_it(key: Key, lines: tuple[str, ...]) -> None:
    assert where(FOUND, key) == lines
    assert where(None, key) == ()


def test_the_line_of_the_service_precedes_the_library_that_it_called() -> None:
    grown = {
        ((LIBRARY, 5), (PACKAGE, 7), (OWN, 12)): (300, 30_000),
        ((LIBRARY, 8),): (900, 900_000),
        ((OWN, 2),): (300, 3_000),
    }
    found = line_growth(Snapshot({}), Snapshot(grown), 300)
    assert [growth.site for growth in found] == [f"{OWN}:12", f"{OWN}:2", f"{LIBRARY}:8"]
    assert found[0].frames == (f"{OWN}:12", f"{LIBRARY}:5", f"{PACKAGE}:7")
    assert found[0].line() == f"{OWN}:12: 1.00 blocks, 100 B per connection"


def test_a_task_is_named_by_the_line_of_the_service_and_by_what_it_waits_in() -> None:
    stack = ((OWN, 4, "forward"), (LIBRARY, 158, "get"))
    (found,) = waiting_growth({("asyncio-task", stack, ()): 300}, 300)
    assert found.site == f"{OWN}:4 in forward (waiting in asyncio/queues.py:158 in get)"
    assert (found.kind, found.per_connection) == ("task", 1.0)


def test_ten_are_shown_and_the_rest_counted() -> None:
    lines = Snapshot({((OWN, number),): (300, 300 * number) for number in range(1, 15)})
    none = Snapshot({})
    found = attribution(types={}, waiting={}, snapshots=(none, none, lines), cycles=(300, 300))
    assert (len(found.growths), found.more) == (10, 4)
    assert found.lines()[10] == "and 4 more places"
    assert found.growths[0].site == f"{OWN}:14"


def test_growth_rarer_than_the_noise_of_a_reading_is_no_place() -> None:
    found = attribution(
        types={"app.Rare": 5, "app.Often": 300, "dict": 600},
        waiting={("thread", ((OWN, 1, "f"),), ()): 5},
        snapshots=(Snapshot({}), Snapshot({}), Snapshot({})),
        cycles=(150, 150),
    )
    assert [growth.site for growth in found.growths] == ["app.Often", "dict"]


def test_a_task_in_a_librarys_code_is_placed_at_the_line_that_made_it() -> None:
    waits = ((LIBRARY, 158, "get"),)
    made = ((LIBRARY, 30, ""), (OWN, 7, ""))
    (found,) = waiting_growth({("asyncio-task", waits, made): 300}, 300)
    assert found.site == f"{OWN}:7 (made here, waiting in asyncio/queues.py:158 in get)"
    assert found.own


def test_the_line_that_runs_the_server_is_a_place_only_without_any_other() -> None:
    server = (OWN, 99, "<module>")
    idle = ((*server,), (PACKAGE, 500, "run_app"), ("/usr/lib/python3.11/selectors.py", 468, "select"))
    entry = entries({("thread", idle, ()): 1, ("thread", ((OWN, 5, "work"),), ()): 4})
    assert entry == {(OWN, 99)}
    below = Snapshot(
        {((LIBRARY, 8), (OWN, 99)): (900, 900_000), ((LIBRARY, 5), (OWN, 12), (OWN, 99)): (300, 3_000)}
    )
    found = line_growth(Snapshot({}), below, 300, entry)
    assert [(one.site, one.own) for one in found] == [(f"{OWN}:12", True), (f"{OWN}:99", False)]
    made = ((LIBRARY, 30, ""), (OWN, 99, ""))
    (task,) = waiting_growth({("asyncio-task", ((PACKAGE, 686, "start"),), made): 300}, 300, entry)
    assert (task.site, task.own) == (f"{PACKAGE}:686 in start", False)


def test_with_no_frame_of_the_service_anywhere_the_notes_say_so() -> None:
    found = attribution(
        types={},
        waiting={("asyncio-task", ((LIBRARY, 158, "get"),), ()): 300},
        snapshots=(Snapshot({}), Snapshot({}), Snapshot({})),
        cycles=(150, 150),
    )
    assert not found.growths[0].own
    assert found.notes[0].text.startswith("no frame of the service is on any stack")


def test_a_line_of_the_service_precedes_a_library_that_grew_more() -> None:
    grown = Snapshot({((OWN, 2),): (300, 3_000)})
    found = attribution(
        types={"app.Subscriber": 300},
        waiting={("asyncio-task", ((LIBRARY, 158, "get"),), ()): 600},
        snapshots=(Snapshot({}), grown, Snapshot({((OWN, 2),): (600, 6_000)})),
        cycles=(300, 300),
        containers=container_growth(GROWN, 600),
    )
    assert [growth.site for growth in found.growths] == [
        f"{OWN}:2",
        "`app.Subscriber` in `app.Hub._subscribers`, a list",
        f"{LIBRARY}:158 in get",
    ]
    line = "`app.Subscriber` in `app.Hub._subscribers`, a list that gains 1.00 per answered stream"
    assert found.growths[1].line("answered stream") == line


def test_the_line_that_made_what_a_container_holds_precedes_its_constructor() -> None:
    grown = {((OWN, 13), (OWN, 35)): (3_600, 900_000), ((OWN, 35),): (600, 30_000)}
    twice = {trace: (2 * blocks, 2 * size) for trace, (blocks, size) in grown.items()}
    found = attribution(
        types={},
        waiting={},
        snapshots=(Snapshot({}), Snapshot(grown), Snapshot(twice)),
        cycles=(300, 300),
        containers=container_growth(GROWN, 600),
    )
    assert [growth.site for growth in found.growths if growth.kind == "line"] == [f"{OWN}:35", f"{OWN}:13"]


def test_a_search_cut_short_places_by_its_only_cycle() -> None:
    found = attribution(
        types={},
        waiting={},
        snapshots=(Snapshot({}), Snapshot({((OWN, 2),): (300, 3_000)})),
        cycles=(300,),
        notes=(cut_short("the search had its time"),),
    )
    assert [growth.site for growth in found.growths] == [f"{OWN}:2"]
    assert found.notes == (cut_short("the search had its time"),)


GROWN = [
    {
        "type": "list",
        "gain": 600,
        "item": "app.Subscriber",
        "made": [[LIBRARY, 9], [OWN, 35]],
        "chain": [["app.Hub._subscribers", "instance", OWN], ["app.HUB", "module", OWN]],
    }
]


@pytest.mark.parametrize(
    ("chain", "name", "own"),
    [
        ([["app.Hub._subscribers", "instance", OWN]], "app.Hub._subscribers", True),
        ([["_tasks", "key", ""], ["app.Hub", "object", OWN]], "app.Hub._tasks", True),
        ([["closed", "key", ""], ["app.Hub.callbacks", "instance", OWN]], 'app.Hub.callbacks["closed"]', True),
        ([["3f9a", "key", ""], ["app.Hub.by_client", "instance", OWN]], "app.Hub.by_client", True),
        ([["timers", "key", ""], ["starlette.State._state", "namespace", PACKAGE], ["state", "key", ""],
          ["fastapi.FastAPI", "object", PACKAGE], ["service.app", "module", OWN]], "service.app.state.timers", True),
        ([["subs", "key", ""], ["aiohttp.Application._state", "instance", PACKAGE], ["__main__.app", "module", OWN]],
         'app["subs"]', True),
        ([["asyncio.BaseEventLoop._scheduled", "instance", LIBRARY], ["aiohttp.Application._loop", "instance", PACKAGE],
          ["app.app", "module", OWN]], "app.app._loop._scheduled", True),
        ([["asyncio.Loop._ready", "instance", LIBRARY], ["variable loop of run", "local", LIBRARY],
          ["app.main", "function", OWN]], "app.main", True),
        ([["variable subscribers of main.<locals>.handle", "function", OWN]],
         "variable subscribers of main.<locals>.handle", True),
        ([["__main__.KEPT", "module", OWN]], "KEPT", True),
        ([["asyncio.Queue._queue", "instance", LIBRARY], ["app.Hub.inbox", "instance", OWN]], "app.Hub.inbox", True),
        ([["asyncio.tasks._all", "module", LIBRARY]], "asyncio.tasks._all", False),
        ([], "", False),
    ],
)  # fmt: skip
def test_a_container_is_named_by_the_first_holder_of_the_service(
    chain: list[list[str]], name: str, own: bool
) -> None:
    assert holder([(label, kind, file) for label, kind, file in chain]) == (name, own)


def test_a_search_stops_at_the_cycle_for_which_there_is_no_time() -> None:
    left = [100.0, 90.0]

    def cycle() -> float:
        if not left:
            raise SearchOver("the search had its time")
        return left.pop(0)

    assert run_cycles(cycle, 3) == ([100.0, 90.0], (cut_short("the search had its time"),))
    with pytest.raises(ProbeError, match="had its time"):
        run_cycles(cycle, 3)


@pytest.mark.parametrize(
    ("runtime", "word"),
    [
        ("go", "with defer"),
        ("python", "context manager"),
        ("node", "emits 'close'"),
        ("jvm", "try-with-resources"),
    ],
)
def test_advice_uses_the_words_of_the_services_language(runtime: str, word: str) -> None:
    assert word in next_step("answered-stream", runtime)
    for other in {"go", "python", "node", "jvm"} - {runtime}:
        assert next_step("answered-stream", other) != next_step("answered-stream", runtime)
    if runtime == "go":
        assert not any(
            "finally" in next_step(driver, runtime, metric, kind)
            for driver in (None, "abort", "broker-timeout", "connection")
            for metric, kind in (("", ""), ("tasks", "goroutine"), ("memory", "objects"), ("threads", ""))
        )


@pytest.mark.parametrize(
    ("runtime", "words"),
    [("ruby", "ensure"), ("php", "persistent"), ("rust", "drop"), ("native", "when the stream ends")],
)
def test_a_language_without_counters_has_words_of_its_own(runtime: str, words: str) -> None:
    step = next_step("connection", runtime, "fds")
    assert words in step
    assert "finally" not in step or runtime == "php"


@pytest.mark.parametrize(
    ("runtime", "key", "recipe", "words"),
    [
        ("python", "processes/zombie", "zombie", "Popen"),
        ("go", "processes/zombie", "zombie", "call Wait"),
        ("native", "fds/pipe", "zombie-pipe", "waitpid"),
        ("native", "fds/close-wait", "close-wait", "the peer's close"),
        ("go", "fds", "inbound", "the request's context"),
        ("node", "fds/rowless-socket", "rowless-socket", "AbortSignal"),
        ("go", "fds/tcp-out:5432", "outbound", "the body of every response, errors too"),
        ("php", "fds/tcp-out:5432", "outbound", "persistent"),
        ("native", "idle-cpu", None, "timers and background loops"),
    ],
)
def test_the_step_follows_from_what_the_descriptors_are(
    runtime: str, key: str, recipe: str | None, words: str
) -> None:
    """ "Find what each stream opens" does not help a reader who knows already what it is."""
    metric, _, kind = key.partition("/")
    step = next_step("answered-stream", runtime, metric, kind, None, recipe)
    assert words in step
    assert "find what" not in step
    assert words not in next_step("time", runtime, metric, kind, None, recipe) or key == "idle-cpu"


def test_memory_that_the_kernel_counts_may_be_anything_that_a_stream_leaves_behind() -> None:
    """A Go without pprof: its memory grows, and a goroutine may be what does."""
    assert next_step("connection", "go", "memory", "anonymous") == (
        "find what each connection leaves behind: an entry of a slice or a map, a goroutine that never returns"
    )
    assert "collection" in next_step("connection", "go", "memory", "objects")
    assert next_step("connection", "node", "memory", "external-bytes") == (
        "find which buffer each connection adds or makes longer, and bound it or let go of it"
    )


@pytest.mark.parametrize("runtime", ["go", "python", "node", "jvm", "ruby", "php", "rust", "native"])
@pytest.mark.parametrize("key", ["memory/anonymous", "memory/external-bytes", "memory/objects"])
def test_a_queue_of_an_open_stream_is_bounded_and_not_removed_at_its_end(runtime: str, key: str) -> None:
    metric, _, kind = key.partition("/")
    assert "limit the buffer of a reader" in next_step("stalled-second", runtime, metric, kind)
    step = next_step("connected-second", runtime, metric, kind)
    assert step.startswith("look at what an open stream adds to over time: ")
    held = Held("Hub.sent", "entry", 10.0)
    assert next_step("connected-second", runtime, metric, kind, held).startswith("bound Hub.sent:")
    assert "outlives" not in step


@pytest.mark.parametrize("runtime", ["go", "python", "node", "jvm", "ruby", "php", "rust", "native"])
@pytest.mark.parametrize(
    "key", ["tasks/asyncio-task", "tasks/goroutine", "tasks/handle", "threads", "memory/objects"]
)
def test_resources_that_outlive_their_stream_get_advice_of_their_own(runtime: str, key: str) -> None:
    metric, _, kind = key.partition("/")
    step = next_step("answered-stream", runtime, metric, kind)
    assert step.endswith(": it outlives its stream")
    assert "its end" not in next_step(None, runtime)


def test_a_line_of_a_library_is_no_place_for_processes() -> None:
    """Allocations of email/utils.py do not explain child processes that are never waited for."""
    library = Place("line", "python3.11/email/utils.py:162: 2.00 blocks per connection", own=False)
    own = Place("line", "app.py:9: 2.00 blocks per connection", rate=2.0)
    zombies, blocks = Key("processes", "zombie"), Key("memory", "blocks")
    assert where(Places((library,), 1), zombies) == ()
    assert where(Places((library,), 1), blocks) == (library.text, "and 1 more place")
    assert where(Places((library, own)), zombies, 1.0) == (own.text,)
    few = Place("type", "dict: 0.10 objects per connection", rate=0.1)
    assert where(Places((few,)), zombies, 1.0) == ()


def test_the_advice_for_growth_per_event_is_to_close_not_to_bound() -> None:
    assert next_step("event", "go", "fds", "file") == "find what each event opens, and close it with defer"
    assert "the body of every response" in next_step("event", "go", "fds", "tcp-out:80", None, "outbound")
    assert "a slice, a map" in next_step("event", "go", "memory", "objects")


def test_a_node_removes_listeners_as_well() -> None:
    """Each connection left a listener of an EventEmitter, which no reader calls a collection."""
    step = "remove what the stream added to a collection"
    assert next_step("connection", "node", "memory", "objects").endswith(
        f"{step} or an emitter: it outlives its stream"
    )
    assert next_step("connection", "go", "memory", "objects").endswith(f"{step}: it outlives its stream")


HELD = Held("Hub.subscribers", "Subscriber", 1.0)


def test_the_container_that_a_step_names_is_the_first_of_the_service() -> None:
    library = container("asyncio.tasks._all", "set", "Task", own=False)
    line = Place("line", "app.py:9: 2.00 blocks per connection")
    own = container("Hub.subscribers", "list", "app.Subscriber", rate=0.98)
    assert held_of(Places((line, library, own)), "memory", 2.0) == Held("Hub.subscribers", "Subscriber", 0.98)
    assert held_of(Places((library, line)), "memory", 2.0) is None
    assert held_of(None, "memory", 2.0) is None
    for element, item in (
        ("str", "entry"),
        ("method Hub.beat", "callback Hub.beat"),
        ("asyncio.events.TimerHandle calling Hub.beat", "TimerHandle"),
    ):
        text = container("NAMES", "dict", element)
        assert held_of(Places((text,)), "memory", 2.0) == Held("NAMES", item, 1.0)


@pytest.mark.parametrize(
    ("driver", "key", "held", "step"),
    [
        ("answered-stream", "memory/objects", HELD, "remove the Subscriber from Hub.subscribers: it outlives"),
        ("connection", "memory/anonymous", HELD, "remove the Subscriber from Hub.subscribers: it outlives its stream"),
        ("connection", "tasks/asyncio-task", Held("Hub.tasks", "Task", 1.0), ", and remove it from Hub.tasks: it"),
        ("connection", "tasks/asyncio-task", HELD, ", and remove the Subscriber from Hub.subscribers: it"),
        ("connection", "fds", HELD, "close what each connection leaves in Hub.subscribers, in a finally block"),
        ("event", "memory/objects", HELD, "bound Hub.subscribers, or remove from it what each event adds"),
        ("time", "memory/objects", HELD, "look at what adds to Hub.subscribers: it grows without any client"),
        ("client", "memory/objects", HELD, "kept for each client in Hub.subscribers, and bound it"),
        ("abort", "memory/objects", HELD, "and what it leaves in Hub.subscribers"),
    ],
)  # fmt: skip
def test_the_next_step_names_what_holds_the_growth(driver: str, key: str, held: Held, step: str) -> None:
    metric, _, kind = key.partition("/")
    assert step in next_step(driver, "python", metric, kind, held)
    assert held.name not in next_step(driver, "python", metric, kind)


def test_a_container_that_gains_far_less_than_what_grew_is_not_named() -> None:
    found = Places((container("Hub.subscribers", "list", "app.Subscriber"),))
    assert held_of(found, "tasks", 1.0) == HELD
    assert held_of(found, "tasks", 2.1) is None
    assert held_of(found, "memory", 23.0) == HELD, "objects come in numbers of their own"


@pytest.mark.parametrize(
    ("metric", "item", "named"),
    [
        ("threads", "int", False), ("tasks", "str", False), ("threads", "app.Pump", True), ("tasks", "", True),
        ("fds", "int", True), ("processes", "int", True), ("memory", "int", True),
    ],
)  # fmt: skip
def test_numbers_and_texts_hold_no_task_and_no_thread(metric: str, item: str, named: bool) -> None:
    """Threads that were not stopped continued to fill the queue of a client: the advice was to remove its numbers."""
    found = Places((container("Pump.q", "deque", item),))
    assert (held_of(found, metric, 1.0) is not None) is named


@pytest.mark.parametrize(
    ("grown", "named"),
    [
        (Place("resource", "a.js:12 in attach (EventListener): 2.1 listeners", rate=2.1, per="connection"), False),
        (Place("resource", "a.js:12 in attach (EventListener): 1.9 listeners", rate=1.9, per="connection"), True),
        (Place("resource", "a.js:12 in attach (EventListener): 2.1 listeners", rate=2.1, per="event"), True),
        (Place("resource", "undici.js:1 (Timeout): 2.1 handles", False, rate=2.1, per="connection"), True),
        (Place("line", "a.js:12 in attach: 9.3 samples, 822 B", rate=9.3, per="connection"), True),
    ],
)  # fmt: skip
def test_a_container_of_memory_gains_at_least_half_of_the_tasks_or_listeners_that_stayed(
    grown: Place, named: bool
) -> None:
    """A Node service left a listener with each connection; its array of 0.26 HTTPParser was the pool of node:http."""
    found = Places((grown, container("Hub.subscribers", "list", "app.Subscriber")))
    assert (held_of(found, "memory", 35.0) is not None) is named


def test_descriptors_with_a_line_explain_a_finding_when_they_are_at_least_half_of_it() -> None:
    log = Place("descriptor", "app.py:5: 0.05 descriptors per answered stream", rate=0.05)
    task = Place("task", "app.py:3: 1.00 tasks per answered stream")
    opened = Place("descriptor", "app.py:9: 1.00 descriptors per answered stream", rate=1.0)
    fds = Key("fds", "eventfd")
    assert where(Places((task, opened, log)), fds, 1.0) == (opened.text, log.text)
    assert where(Places((task, log)), fds, 1.0) == (task.text, log.text), "C code opened the others"
    assert where(Places((task, opened)), Key("memory", "objects"), 20.0) == (task.text, opened.text)


def test_a_descriptor_is_placed_at_the_line_of_the_service_that_opened_it() -> None:
    made = ((LIBRARY, 30, ""), (OWN, 7, ""))
    alone = ((LIBRARY, 30, ""),)
    found = waiting_growth({("descriptor", (), made): 300, ("descriptor", (), alone): 300}, 300)
    assert [(one.site, one.own, one.unit) for one in found] == [
        (f"{OWN}:7", True, "descriptors"),
        (f"{LIBRARY}:30", False, "descriptors"),
    ]
