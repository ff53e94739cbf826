"""A blocking event source: a thin layer over the stream that reconnects.

Points 12 to 16 of docs/swarm.md. Callbacks of the loop do the work. The greenlet that iterates only takes events from a
queue, so a thousand event sources cost little more than a thousand streams.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import gevent
from gevent.hub import Waiter

from harness.core.errors import ConfigError
from harness.core.sse.decoder import Comment, Decoder, Event
from harness.core.sse.event import DEFAULT_LIMIT
from harness.http import causes
from harness.http.endpoint import Endpoint
from harness.http.request import Request
from harness.http.route import Router
from harness.swarm.stream import Stream
from harness.swarm.stream_spec import Report, StreamSpec
from harness.swarm.timer_wheel import TimerWheel

FOR_EVER = 10 * 365 * 86_400.0  # seconds
RECONNECTION_TIME = 3.0  # seconds, as in browsers, unless the service sends ``retry``
MAX_WAIT = 86_400.0  # seconds before a reconnect, whatever ``retry`` or Retry-After the service sends
QUEUE = 1_000  # events queued for a slow reader, beyond which the socket is not read
# Failures of the network. A response that is wrong is final, because the service would send it again.
RETRYABLE_CAUSES = frozenset(
    {
        causes.CLOSED,
        causes.RESET,
        causes.TIMEOUT,
        causes.REFUSED,
        causes.UNREACHABLE,
        causes.STALLED,
        causes.DRIPPING,
        causes.TLS,
    }
)


class StreamFailed(Exception):
    """A stream failed for good. The text has the cause and a detail, such as the size of an event."""

    def __init__(self, cause: str, report: Report) -> None:
        super().__init__(f"{cause}: {report.detail}" if report.detail else cause)
        self.cause = cause
        self.report = report


class _FailsOnStall(Stream):
    """A stream that fails when it stalls, so that its source can reconnect. That of a cycle stays for its dwell."""

    __slots__ = ()

    def on_stall(self) -> None:
        self.fail(self.stall_cause)


class _WithComments(_FailsOnStall):
    """Delivers the service's comments among the events."""

    __slots__ = ()
    delivers_comments = True


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How an event source reconnects. reconnect: after the end of a stream or a network error, once there was a 200.
    retry_5xx: also after a 5xx, even the first response; its Retry-After is respected. retry: seconds to wait, unless
    the service sends ``retry``. comments: yield them too. max_line, max_event: bytes of one line, and of the
    data of one event; a stream beyond them fails with the cause ``limit``, and the error states the size."""

    reconnect: bool = True
    retry_5xx: bool = False
    retry: float = RECONNECTION_TIME
    last_event_id: str = ""
    comments: bool = False
    max_line: int = DEFAULT_LIMIT
    max_event: int = DEFAULT_LIMIT


@dataclass(frozen=True, slots=True)
class SourceListener:
    """Callbacks of an event source, and the exception that it raises.

    prepare_request: changes the request before each connection. on_head: called with every response head, those of
    redirects too. on_first: at the first event of a connection. on_report: with the report of each connection.
    on_gap: with (seconds, events). on_error: with the cause of a failure before a reconnect, such as ``stalled`` after
    a read timeout. failure: raised when the source does not reconnect."""

    prepare_request: Callable[[Request], Request] | None = None
    on_head: Callable[[Endpoint, Report], None] | None = None
    on_first: Callable[[Report], None] | None = None
    on_report: Callable[[EventSource, Report], None] | None = None
    on_error: Callable[[str], None] | None = None
    on_gap: Callable[[float, int], None] | None = None
    failure: type[StreamFailed] = StreamFailed


class EventSource:
    """Iterate over it for the events. ``close`` ends it at any time, a pending reconnect too.

    options, listener: see their classes. sources: local addresses to connect from, in turn.
    """

    def __init__(
        self,
        request: Request,
        router: Router,
        wheel: TimerWheel,
        spec: StreamSpec,
        options: SourceOptions | None = None,
        listener: SourceListener | None = None,
        sources: Iterator[str | None] | None = None,
    ) -> None:
        options, listener = options or SourceOptions(), listener or SourceListener()
        self.wheel = wheel
        self.loop = gevent.get_hub().loop
        self.decoder = Decoder(check_ids=True, max_line=options.max_line, max_event=options.max_event)
        self.decoder.last_event_id = options.last_event_id
        self.reported = (0, 0, 0)  # ids missed, repeated and disordered that are in the statistics already
        self.reconnects = 0
        self.closed = False
        self._request, self._router, self._spec = request, router, spec
        self._reconnect, self._retry_5xx, self._retry = options.reconnect, options.retry_5xx, options.retry
        self._stream_type = _WithComments if options.comments else _FailsOnStall
        self._sources = sources
        self._prepare_request, self._on_head, self._on_report = (
            listener.prepare_request,
            listener.on_head,
            listener.on_report,
        )
        self._on_first, self._on_gap, self._on_error = listener.on_first, listener.on_gap, listener.on_error
        self._failure_type = listener.failure
        self._queue: deque[Event | Comment] = deque()
        self._stream: Stream | None = None
        self._timer: Any = None
        self._waiter: Any = None
        self._ready = False  # a 200 came, at least once
        self._failure: StreamFailed | None = None
        self._paused = False

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of the original request; a redirect does not change it."""
        return self._request.endpoint

    def open(self) -> EventSource:
        """Connect, and wait for the response head. Raises StreamFailed, or ConfigError for a bad host."""
        self._router.route(self._request.endpoint)
        self._connect()
        try:
            while not self._ready and not self.closed:
                self._wait()
        except BaseException as error:  # a greenlet that is killed here never reaches __exit__
            self._end(type(error))
            raise
        # Events that arrived before the failure are delivered first.
        if self._failure is not None and not self._queue:
            raise self._failure
        return self

    def _connect(self) -> None:
        # A timer of gevent that is not closed stays registered with the loop.
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        route = self._router.known(self._request.endpoint)
        assert route is not None
        self._stream = self._stream_type(
            self,
            self._spec,
            self._prepare_request(self._request) if self._prepare_request is not None else self._request,
            route,
            self.decoder,
            source=next(self._sources) if self._sources else None,
            last_event_id=self.decoder.last_event_id,
            deliver=self._deliver,
        )

    def on_opened(self, stream: Stream) -> None:
        """Nothing to do: ``on_head`` was called."""

    def on_head(self, stream: Stream) -> None:
        """A response head arrived: from now on a broken stream reconnects."""
        if self._on_head is not None:
            self._on_head(stream.endpoint, stream.report)
        if stream.report.headers is not None and stream.as_expected:
            self._ready = True
            self._wake()

    def on_first_event(self, report: Report) -> None:
        """Pass on that the first event of a connection arrived."""
        if self._on_first is not None:
            self._on_first(report)

    def on_gap(self, _: Report, seconds: float, events: int) -> None:
        """Pass on the time between two events."""
        if self._on_gap is not None:
            self._on_gap(seconds, events)

    def _deliver(self, found: Sequence[Event | Comment]) -> None:
        if self.closed or not found:
            return
        self._queue.extend(found)
        self._wake()
        # Backpressure: a reader that is slower than the service must not fill memory.
        if len(self._queue) > QUEUE and self._stream is not None and not self._paused:
            self._paused = True
            self._stream.pause()

    def on_closed(self, stream: Stream) -> None:
        """One connection has closed: reconnect, or end."""
        self._stream = None
        self._paused = False
        report = stream.report
        if self._on_report is not None:
            self._on_report(self, report)
        if self.closed:
            return
        if self._should_reconnect(report):
            # A service may close a stream properly to make its clients reconnect: that is not an error.
            if report.cause not in (None, causes.CLOSED) and self._on_error is not None:
                self._on_error(str(report.cause))
            # The id of the last event survives; a half-received event does not (HTML Living Standard, 9.2.6).
            self.decoder.reset_for_reconnect()
            self.reconnects += 1
            self._timer = self.loop.timer(min(self._wait_before_reconnect(report), MAX_WAIT))
            # update: the loop's cached time is that of its last poll, which would shorten the wait.
            self._timer.start(self._connect, update=True)
            return
        self.closed = True
        if report.cause is not None:
            self._failure = self._failure_type(report.cause, report)
        self._wake()

    def _wait_before_reconnect(self, report: Report) -> float:
        sent = self.decoder.retry  # by the service; milliseconds
        wait = self._retry if sent is None else sent / 1000.0
        # Retry-After may also be a date (RFC 9110, 10.2.3), which is rare; the reconnection time then serves.
        after = report.retry_after
        return max(wait, float(after)) if after.isascii() and after.isdigit() else wait

    def _should_reconnect(self, report: Report) -> bool:
        if not self._reconnect:
            return False
        if self._retry_5xx and report.status >= 500:
            return True
        return self._ready and (report.cause is None or report.cause in RETRYABLE_CAUSES)

    def on_redirect(self, stream: Stream, request: Request) -> None:
        """Follow a redirect; a new host is looked up in a greenlet."""
        gevent.spawn(self._look_up, stream, request)

    def _look_up(self, stream: Stream, request: Request) -> None:
        try:
            route = self._router.route(request.endpoint)
        except ConfigError:
            stream.fail(causes.UNREACHABLE)
        else:
            prepared = self._prepare_request(request) if self._prepare_request is not None else request
            source = next(self._sources) if self._sources else None
            stream.follow(prepared, route, source, self.decoder.last_event_id)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            # Deferred to the loop: the reader may close the stream, and the parser may still be running.
            self.loop.run_callback(waiter.switch, None)

    def _wait(self) -> None:
        self._waiter = Waiter()
        try:
            self._waiter.get()
        finally:
            self._waiter = None

    def __iter__(self) -> EventSource:
        return self

    def __next__(self) -> Event | Comment:
        """The next event. Raises StopIteration once closed, StreamFailed when it cannot continue."""
        while not self._queue:
            if self._failure is not None:
                raise self._failure
            if self.closed:
                raise StopIteration
            if self._stream is None and self._timer is None:
                raise RuntimeError(
                    "this stream was never opened: read it in a block, `with self.sse(path) as stream:`"
                )
            self._wait()
        event = self._queue.popleft()
        # Reading resumes only when the queue is half empty, because each pause and resume changes the watcher twice.
        if self._paused and len(self._queue) < QUEUE // 2 and self._stream is not None:
            self._paused = False
            self._stream.resume()
        return event

    def restart(self) -> None:
        """Drop the connection and reconnect after the reconnection time."""
        if self._stream is not None:
            self._stream.fail(causes.CLOSED)

    def close(self) -> None:
        """Disconnect as its spec says and drop the queued events. Idempotent."""
        self.closed = True
        # Whoever closes a stream wants no more of its events, not even those that have arrived.
        self._queue.clear()
        if self._timer is not None:
            # A pending reconnect would otherwise connect after the close.
            self._timer.stop()
            self._timer.close()
            self._timer = None
        if self._stream is not None:
            self._stream.disconnect()
        self._wake()

    def __enter__(self) -> EventSource:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(kind)

    def _end(self, kind: type[BaseException] | None) -> None:
        """Close, because of an exception of this kind or without one."""
        # Locust's Stop kills the user's greenlet, so the block did not end by itself.
        if kind is not None and issubclass(kind, gevent.GreenletExit) and self._stream is not None:
            self._stream.report.cut = True
        self.close()
