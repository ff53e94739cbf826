"""The next step for a leak, in the terms of the service's language."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness.core.judge.recipe import UNNOTICED
from harness.core.record import Place, Places

# How a language closes what was opened on every path, after "close it …". "": any other language.
CLOSED_BY: Mapping[str, str] = {
    "python": "in a finally block or with a context manager",
    "node": "in a finally block or when the response emits 'close'",
    "go": "with defer",
    "jvm": "in a finally block or with try-with-resources",
    "ruby": "in an ensure block, or by the block form of open",
    "php": "in a finally block, and do not make it persistent",
    "rust": "by dropping it: no lasting collection, mem::forget or into_raw_fd may hold it",
    "": "when the stream ends",
}
# What ends a task, a thread or a timer that outlives its stream, by the kind of what grew.
ENDED_BY: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("tasks", "asyncio-task"): {"": "cancel the task in a finally block"},
    ("tasks", "greenlet"): {"": "kill the greenlet in a finally block"},
    ("tasks", "goroutine"): {"": "return from the goroutine when the request's context is done"},
    ("tasks", "handle"): {"": "clear the timer or close the handle when the response emits 'close'"},
    ("tasks", "java-thread"): {"": "interrupt the thread in a finally block"},
    ("threads", ""): {
        "python": "set the event that stops the thread in a finally block",
        "jvm": "interrupt the thread in a finally block",
        "go": "return from the C call or the locked goroutine that holds the thread",
        "ruby": "end the thread in an ensure block",
        "rust": "let the thread return: close the channel that it waits for",
        "": "stop the thread when the stream ends",
    },
    ("processes", ""): {"": "end and wait for the child process when the stream ends"},
}
# How it removes what a stream added to a collection, before ", remove …".
REMOVED_BY: Mapping[str, str] = {
    "python": "in a finally block",
    "node": "when the response emits 'close'",
    "go": "with defer",
    "jvm": "in a finally block",
    "ruby": "in an ensure block",
    "php": "in a finally block",
    "rust": "in the Drop of what the stream owns",
    "": "when the stream ends",
}
# What holds an object of a stream after it has ended.
ADDED_TO: Mapping[str, str] = {"node": "a collection or an emitter", "": "a collection"}
NOTICED_BY: Mapping[str, str] = {
    "python": "cancellation, a finally block that does not run",
    "node": "a 'close' listener or an AbortSignal that is missing",
    "go": "the request's context, which must be passed on and selected on",
    "jvm": "an onError or onCompletion callback that is missing",
    "ruby": "an ensure block that is missing, or a rescue that continues the loop",
    "php": "a missing check of connection_aborted(), or ignore_user_abort",
    "rust": "a spawned task does not end when the response is dropped: abort it there",
    "": "the write that fails, or the peer's close",
}
ENDLESS: Mapping[str, str] = {
    "python": "a list, a cache, an asyncio.Queue without maxsize",
    "node": "an array, a Map, an event listener per event",
    "go": "a slice, a map, a goroutine blocked on a channel",
    "jvm": "a collection, a cache, a queue without a capacity",
    "ruby": "an array, a hash, a Queue without a limit",
    "php": "a static array, a buffer of output",
    "rust": "a Vec, a HashMap, an unbounded channel",
    "": "a list, a cache, a queue without a limit",
}
# How a service waits for a child process that has ended.
WAITED_BY: Mapping[str, str] = {
    "python": "call wait() or communicate() of its Popen, or os.waitpid",
    "go": "call Wait for each command that was started",
    "ruby": "call Process.wait, or Process.detach at its start",
    "php": "call proc_close for each proc_open",
    "rust": "call wait for each Child",
    "": "waitpid, or a handler of SIGCHLD that calls it",
}
# How a connection to another service is given back.
RETURNED_BY: Mapping[str, str] = {
    "python": "in a finally block, or share one session between all",
    "node": "by consuming or destroying the response, or share one agent between all",
    "go": "by closing the body of every response, errors too, and share one http.Client between all",
    "jvm": "with try-with-resources, or share one client between all",
    "ruby": "in an ensure block, or share one pool between all",
    "php": "in a finally block, and under a name that does not change if it is persistent",
    "rust": "by dropping it, or share one client between all",
    "": "when the stream ends, or share one between all",
}
# How it gives back memory that it has mapped.
UNMAPPED_BY: Mapping[str, str] = {
    "python": "close each mmap in a finally block",
    "node": "let go of the buffers, or free them in the native addon that mapped them",
    "go": "call Munmap with defer",
    "jvm": "let go of each mapped buffer, or close its Arena",
    "ruby": "munmap it in an ensure block",
    "php": "close the extension's handle in a finally block",
    "rust": "drop each Mmap, or call munmap",
    "": "call munmap, or free what was allocated",
}
# Recipes (harness.core.judge.recipe) whose descriptors or processes have a step of their own.
ZOMBIES = ("zombie", "zombie-pipe")
CLIENTS = (
    *UNNOTICED,
    "close-wait",
    "close-wait-worker",
    "rowless-socket",
    "mptcp",
    "inbound",
    "inbound-worker",
)
UPSTREAM = ("outbound", "outbound-worker")
# What may retain memory that only the kernel counts, after "find what each connection leaves behind: ".
LEFT: Mapping[str, str] = {
    "python": "an entry of a list or a cache, a task that never ends",
    "node": "an entry of an array or a Map, a listener that is not removed",
    "go": "an entry of a slice or a map, a goroutine that never returns",
    "jvm": "an entry of a collection or a cache, a thread that never ends",
    "ruby": "an entry of an array or a hash, a Queue, a thread that never ends",
    "php": "an entry of a static array, a persistent connection",
    "rust": "an entry of a Vec or a HashMap, the sender of a channel, a task that never ends",
    "": "an entry of a list or a cache, memory that is not freed",
}
KERNEL_MEMORY = frozenset({"", "anonymous", "rss", "uss"})  # kinds of memory that the kernel counts
TICKING: Mapping[str, str] = {
    "python": "timers and background tasks",
    "node": "setInterval and background work",
    "go": "time.Ticker and background goroutines",
    "jvm": "scheduled executors and timers",
    "ruby": "threads that loop",
    "php": "background processes",
    "rust": "tokio::time::interval and spawned tasks",
    "": "timers and background loops",
}


# Elements that a reader calls an entry: their types say nothing about the service.
_PLAIN = frozenset(
    {
        "", "str", "string", "bytes", "bytearray", "int", "number", "float", "bool", "boolean", "dict", "list", "tuple",
        "set", "object", "Object", "Array", "Map", "Set", "undefined", "symbol", "bigint", "NoneType",
        "function", "method", "Function",
    }
)  # fmt: skip
_SCALARS = frozenset(
    {
        "str",
        "string",
        "bytes",
        "bytearray",
        "int",
        "number",
        "float",
        "bool",
        "boolean",
        "NoneType",
        "undefined",
        "bigint",
    }
)
_RUNS = re.compile(r"(?:Task|Future|Thread|[Gg]reenlet|Timeout|Immediate|Timer|Handle)$")
MIN_EXPLAINED_SHARE = 0.5  # of the growth: what a container gains less than this does not explain it
# Metrics of which one container holds one element for each.
_ONE_EACH = ("tasks", "threads", "processes", "fds")
# Kinds of places whose rate counts what a container would hold one element for.
_COUNTED = frozenset({"task", "thread", "greenlet", "goroutine", "resource"})


@dataclass(frozen=True, slots=True)
class Held:
    """A container of the service that gains elements. name: as the code has it. item: the class of an element, or
    "entry". rate: elements per unit of the driver."""

    name: str
    item: str
    rate: float

    @property
    def runs(self) -> bool:
        """Whether the element is itself the task, thread or timer."""
        return bool(_RUNS.search(self.item))


def held_of(found: Places | None, metric: str, grown: float) -> Held | None:
    """The first named container of the service that explains the growth of this metric. grown: of the finding."""
    for place in found.places if found else ():
        held = place.container if place.own else None
        if found and held and held.name and accounts_for(found, place, metric, grown):
            return Held(held.name, _element(held.item), place.rate or 0.0)
    return None


def _element(item: str) -> str:
    """``Subscriber``, ``callback Hub.beat``, ``entry``."""
    kind, _, name = item.partition(" ")
    if name and kind in ("function", "method"):
        return f"callback {name}"
    kind = kind.rpartition(".")[2]
    return "entry" if kind in _PLAIN else kind


def next_step(
    driver: str | None,
    runtime: str | None,
    metric: str = "",
    kind: str = "",
    held: Held | None = None,
    recipe: str | None = None,
) -> str:
    """The first step to take. driver, metric, kind: of the finding; runtime: of the service, as its record names it.
    held: the container in which the growth was found, which is then named. recipe: of the finding, if one fits."""
    opened = "answered stream" if driver == "answered-stream" else "connection"
    # The first that has a step decides: a driver that names a cause by itself, then a recipe, then the metric.
    step = None
    if driver == "event":
        step = _of_events(runtime, metric, held, recipe)
    elif driver:
        step = (
            _of_driver(driver, runtime, held)
            or _of_recipe(recipe, opened, runtime, held)
            or _of_metric((metric, kind), opened, runtime, held)
        )
    return step or f"find what each {opened} opens, and close it {_in(runtime, CLOSED_BY)}"


def _in(runtime: str | None, table: Mapping[str, str]) -> str:
    """What a table has for a runtime."""
    return table.get(runtime or "", table[""])


def _of_events(runtime: str | None, metric: str, held: Held | None, recipe: str | None) -> str:
    if held:
        return f"bound {held.name}, or remove from it what each event adds"
    if recipe in UPSTREAM:
        returned = _in(runtime, RETURNED_BY)
        return f"give back the connection that each event opens to another service: {returned}"
    if metric == "fds":
        return f"find what each event opens, and close it {_in(runtime, CLOSED_BY)}"
    if metric == "mappings":
        return f"unmap what each event maps: {_in(runtime, UNMAPPED_BY)}"
    return f"look at what each event adds to: {_in(runtime, ENDLESS)}"


def _of_driver(driver: str, runtime: str | None, held: Held | None) -> str | None:
    """The step for a driver that names a cause by itself."""
    if driver == "time":
        if held:
            return f"look at what adds to {held.name}: it grows without any client"
        return f"look at {_in(runtime, TICKING)}: it grows without any client"
    if driver == "abort":
        left = f", and what it leaves in {held.name}" if held else ""
        return f"look at the path taken when a client vanishes: {_in(runtime, NOTICED_BY)}{left}"
    if driver == "connected-second":
        if held:
            return f"bound {held.name}: it grows for as long as a stream is open"
        return f"look at what an open stream adds to over time: {_in(runtime, ENDLESS)}"
    if driver in ("slow-reader", "stalled-second"):
        return "limit the buffer of a reader that does not read, and disconnect it after a timeout"
    if driver == "broker-timeout":
        closed = _in(runtime, CLOSED_BY)
        return f"look at the path taken on a timeout: close what was opened for the request {closed}"
    if driver == "client":
        where = f" in {held.name}" if held else ""
        return f"look at what is kept for each client{where}, and bound it or drop it after a time"
    if driver in ("invalid-request", "refused-stream"):
        closed = _in(runtime, CLOSED_BY)
        return f"look at what is opened before a request is refused, and close it {closed}"
    return None


def _of_recipe(recipe: str | None, opened: str, runtime: str | None, held: Held | None) -> str | None:
    """The step for descriptors or processes that a recipe recognises. A container that was found is more precise."""
    if recipe in ZOMBIES:
        return f"wait for each child process that has exited: {_in(runtime, WAITED_BY)}"
    if recipe in CLIENTS and not held:
        return f"look at how the handler learns that its client has left: {_in(runtime, NOTICED_BY)}"
    if recipe in UPSTREAM and not held:
        returned = _in(runtime, RETURNED_BY)
        return f"give back the connection that each {opened} opens to another service: {returned}"
    return None


def _of_metric(grown: tuple[str, str], opened: str, runtime: str | None, held: Held | None) -> str | None:
    """The step for what grew, a metric and its kind."""
    metric, kind = grown
    if metric == "idle-cpu":
        return f"look at {_in(runtime, TICKING)}: they still work for each {opened} that has ended"
    if table := ENDED_BY.get(grown):
        ended = _in(runtime, table)
        if not held:
            return f"{ended}: it outlives its stream"
        removed = "it" if held.runs else f"the {held.item}"
        return f"{ended}, and remove {removed} from {held.name}: it outlives its stream"
    if held and metric == "fds":
        return f"close what each {opened} leaves in {held.name}, {_in(runtime, CLOSED_BY)}"
    if metric == "mappings" and not held:
        return f"unmap what each {opened} maps when the stream ends: {_in(runtime, UNMAPPED_BY)}"
    if metric != "memory":
        return None
    removed_by = _in(runtime, REMOVED_BY)
    if held:
        return f"{removed_by}, remove the {held.item} from {held.name}: it outlives its stream"
    if kind in KERNEL_MEMORY:
        return f"find what each {opened} leaves behind: {_in(runtime, LEFT)}"
    if kind == "external-bytes":
        return f"find which buffer each {opened} adds or makes longer, and bound it or let go of it"
    return f"{removed_by}, remove what the stream added to {_in(runtime, ADDED_TO)}: it outlives its stream"


def accounts_for(found: Places, place: Place, metric: str, grown: float) -> bool:
    """Whether this container gains enough to be what holds the growth of the metric. grown: of the finding. Objects and
    bytes come in numbers of their own, so for memory the tasks, listeners and the like that the search counted decide:
    a pool of the runtime that gained something meanwhile holds none of them. Nor do numbers or texts hold a task or a
    thread, as they may hold a descriptor or a process by its number."""
    if metric in ("tasks", "threads") and place.container and place.container.item in _SCALARS:
        return False
    least = grown
    if metric not in _ONE_EACH:
        same = [one for one in found.places if one.own and one.kind in _COUNTED and one.per == place.per]
        least = max((one.rate or 0.0 for one in same), default=0.0)
    return place.rate is None or place.rate >= MIN_EXPLAINED_SHARE * least
