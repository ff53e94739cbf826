"""The next step for a leak, in the words of the language that the service is written in."""

from __future__ import annotations

from collections.abc import Mapping

# What closes a thing whatever happens, by runtime; "" stands for every other one.
CLOSED_BY: Mapping[str, str] = {
    "python": "a finally block or a context manager",
    "node": "a finally block, or with using",
    "go": "a defer",
    "jvm": "a finally block or try-with-resources",
    "": "the path that always runs at its end",
}
NOTICED_BY: Mapping[str, str] = {
    "python": "cancellation, a finally block that does not run",
    "node": "a 'close' listener or an AbortSignal that is missing",
    "go": "the request's context, which must be passed on and selected on",
    "jvm": "an onError or onCompletion callback that is missing",
    "": "the write that fails, or the peer's close",
}
ENDLESS: Mapping[str, str] = {
    "python": "a list, a cache, an asyncio.Queue without maxsize",
    "node": "an array, a Map, an event listener per event",
    "go": "a slice, a map, a goroutine blocked on a channel",
    "jvm": "a collection, a cache, a queue without a capacity",
    "": "a list, a cache, a queue without an end",
}
TICKING: Mapping[str, str] = {
    "python": "timers and background tasks",
    "node": "setInterval and background work",
    "go": "time.Ticker and background goroutines",
    "jvm": "scheduled executors and timers",
    "": "timers and background loops",
}


def next_step(driver: str | None, runtime: str | None) -> str:
    """What to look at first. driver: of the finding; runtime: of the service, as its record names it."""

    def word(table: Mapping[str, str]) -> str:
        return table.get(runtime or "", table[""])

    if driver == "event":
        return f"look at what each event adds to: {word(ENDLESS)}"
    if driver == "time":
        return f"look at {word(TICKING)}: it grows with no client at all"
    if driver == "abort":
        return f"look at the path taken when a client vanishes: {word(NOTICED_BY)}"
    if driver == "slow-reader":
        return "bound what is buffered for a reader that does not read, and drop it after a time"
    if driver == "broker-timeout":
        return (
            f"look at the path taken on a timeout: close what was opened for the request in {word(CLOSED_BY)}"
        )
    if driver == "client":
        return "look at what is kept for each client, and bound it or drop it after a time"
    if driver == "invalid-request":
        return f"look at what is opened before a request is rejected, and close it in {word(CLOSED_BY)}"
    if driver == "answered-stream":
        return f"look at what is opened per answered stream and not closed in {word(CLOSED_BY)}"
    return f"look at what is opened per connection and not closed in {word(CLOSED_BY)}"
