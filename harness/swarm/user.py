"""``SseUser``: the base class of the users in a locustfile::

class Viewer(SseUser):
    @task
    def watch(self):
        with self.sse("/events") as stream:
            for event in stream:
                ...
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack
from weakref import WeakKeyDictionary

import gevent
from locust import User
from locust.exception import RescheduleTask, StopUser

import harness.swarm.ctrl_c  # ends a run at the first Ctrl-C
import harness.swarm.final_reports  # makes a master wait for the last reports of its workers
import harness.swarm.options
import harness.swarm.publish  # noqa: F401 - both add their options to Locust's command line
from harness.core.cycle import DISCONNECT_MODES
from harness.core.errors import ConfigError
from harness.http.cookies import Cookies
from harness.http.endpoint import Endpoint, basic
from harness.http.request import Request
from harness.http.route import Router
from harness.http.source_addresses import source_pool
from harness.swarm.source import FOR_EVER, EventSource, SourceListener, SourceOptions, StreamFailed
from harness.swarm.statistics import FLUSH_INTERVAL, GAP, STATISTICS, Statistics
from harness.swarm.stream import Stream
from harness.swarm.stream_spec import Report, StreamSpec
from harness.swarm.timer_wheel import TimerWheel

__all__ = ["SseUser", "StreamFailed"]

MAX_CACHED_REQUESTS = 1000  # paths

logger = logging.getLogger(__name__)


class _TaskFailed(StreamFailed, RescheduleTask):
    """Ends a Locust task without logging: the failure is in the statistics already."""


class _Refused(ConfigError, StopUser):
    """An invalid request. Without StopUser Locust would run the task again and again, and log each error."""


class Shared:
    """What the users of one Locust environment have in common."""

    def __init__(self, environment: Any) -> None:
        options = environment.parsed_options
        ca = getattr(options, "ca", "")
        self.router = Router(insecure=bool(getattr(options, "insecure", False)), ca=Path(ca) if ca else None)
        self.wheel = TimerWheel()
        self.sources = itertools.cycle(source_pool(getattr(options, "source_addresses", "")) or (None,))
        self.stall_after: float | None = getattr(options, "stall_after", None)
        self.statistics = Statistics(environment)
        self.statistics.open_now = lambda: sum(isinstance(item, Stream) for item in self.wheel.items())
        STATISTICS[environment] = self.statistics
        self.stream_specs: dict[tuple[str, str, float], StreamSpec] = {}
        self.requests: dict[tuple[str, str], Request] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self._environment = environment
        self._refused = False  # whether an invalid request of this run was reported already
        environment.events.test_stop.add_listener(self._finish)
        environment.events.quitting.add_listener(self._finish)
        gevent.spawn(self._flush_regularly)

    def _flush_regularly(self) -> None:
        while True:
            gevent.sleep(FLUSH_INTERVAL)
            self.statistics.flush()

    def _finish(self, **_: Any) -> None:
        """Close the streams that are still disconnecting after the users have stopped, and count everything."""
        for stream in self.wheel.items():
            if isinstance(stream, Stream) and stream.disconnecting:
                stream.disconnect(hold=False)
        self.statistics.flush()
        self._refused = False

    def refuse(self, error: ConfigError) -> _Refused:
        """Report an invalid request once and end the run; without a web UI also end Locust, with exit code 2."""
        environment = self._environment
        if not self._refused:
            self._refused = True
            logger.error(error)
            # With a web UI the user can correct the host there and start again, so only the run ends.
            if environment.web_ui is None:
                environment.process_exit_code = error.exit_code
            runner = environment.runner
            if runner is not None:
                gevent.spawn(runner.quit if environment.web_ui is None else runner.stop)
        return _Refused(str(error))

    def stream_spec(self, name: str, disconnect: str, stall_after: float) -> StreamSpec:
        """One shared specification for all streams with these options. Raises ConfigError."""
        key = (name, disconnect, stall_after)
        found = self.stream_specs.get(key)
        if found is None:
            if disconnect not in DISCONNECT_MODES:
                raise ConfigError(f"disconnect {disconnect!r}; expected one of {', '.join(DISCONNECT_MODES)}")
            if not _is_number(stall_after) or not 0.0 < stall_after < FOR_EVER:
                raise ConfigError(f"stall_after {stall_after!r}; expected seconds above 0")
            found = self.stream_specs[key] = StreamSpec(name, disconnect, FOR_EVER, 0, stall_after)
        return found

    def request(self, host: str, path: str) -> Request:
        """The plain GET of a path."""
        found = self.requests.get((host, path))
        if found is None:
            if host not in self.endpoints:
                self.endpoints[host] = Endpoint.parse(host)
            # A user may put a counter into each path; without a limit the cache would be a leak of the load generator.
            if len(self.requests) > MAX_CACHED_REQUESTS:
                self.requests.clear()
            found = self.requests[host, path] = Request(self.endpoints[host].under(path))
        return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check(path: str, retry: float, last_event_id: str) -> None:
    """Raise ConfigError for options that would silently make another request than the one that was meant."""
    if not isinstance(path, str) or path[:1] not in ("/", ""):
        raise ConfigError(
            f"path {path!r}; expected one that begins with /: what goes before it is the host's"
        )
    if not _is_number(retry) or not 0.0 <= retry < FOR_EVER:
        raise ConfigError(f"retry {retry!r}; expected seconds from 0")
    if not isinstance(last_event_id, str) or any(char in last_event_id for char in "\r\n\0"):
        raise ConfigError(f"last_event_id {last_event_id!r}; expected a string without line breaks and NUL")


def _check_limits(max_line: int, max_event: int) -> None:
    for name, value in (("max_line", max_line), ("max_event", max_event)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name} {value!r}; expected bytes from 1")


_SHARED: WeakKeyDictionary[Any, Shared] = WeakKeyDictionary()


class StreamOptions(TypedDict, total=False):
    """The arguments of ``SseUser.sse``."""

    name: str | None
    method: str
    headers: Mapping[str, str] | None
    cookies: Mapping[str, str] | None
    auth: tuple[str, str] | None
    bearer: str | None
    body: bytes | None
    disconnect: str
    stall_after: float | None
    reconnect: bool
    retry_5xx: bool
    retry: float
    last_event_id: str
    comments: bool
    max_line: int
    max_event: int


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """The options of a stream that describe its request."""

    method: str = "GET"
    headers: Mapping[str, str] | None = None
    cookies: Mapping[str, str] | None = None
    auth: tuple[str, str] | None = None
    bearer: str | None = None
    body: bytes | None = None


def _pick_fields(options: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    """The options that are fields of ``kind``."""
    return {one.name: options[one.name] for one in fields(kind) if one.name in options}


class SseUser(User):
    """A Locust user with ``self.sse(path)``.

    stall_after: seconds of silence, not even a comment, after which a stream has failed; --stall-after overrides it.
    headers: of every request. Cookies that the service sets are sent back to it, also within a redirect.
    """

    abstract = True
    stall_after = 60.0
    headers: Mapping[str, str] = {}
    cookies: Cookies | None = None

    @property
    def shared(self) -> Shared:
        """What all users of this environment share."""
        found = _SHARED.get(self.environment)
        if found is None:
            found = _SHARED[self.environment] = Shared(self.environment)
        return found

    def sse(
        self,
        path: str,
        **options: Unpack[StreamOptions],
    ) -> EventSource:
        """A stream for a ``with`` block; iterate over it for events (type, id, data).

        name: in the statistics, default the path. auth: user and password. bearer: a token.
        disconnect: how it disconnects at the end of the block (fin, rst, rst-early, half-close, stall).
        reconnect, retry_5xx, retry (seconds), last_event_id, comments, max_line, max_event (bytes): see
        SourceOptions.
        Entering the block raises StreamFailed when the service refuses; in a task the failure is
        counted by its cause and ends only the task. An invalid host, header or method raises ConfigError here, and ends
        the run.
        """
        for unknown in options.keys() - StreamOptions.__annotations__.keys():
            raise TypeError(f"sse() got an unexpected keyword argument {unknown!r}")
        shared = self.shared
        name = options.get("name") or path
        given = options.get("stall_after")
        wanted = self.stall_after if given is None else given
        source_options = SourceOptions(**_pick_fields(options, SourceOptions))
        try:
            _check(path, source_options.retry, source_options.last_event_id)
            _check_limits(source_options.max_line, source_options.max_event)
            spec = shared.stream_spec(name, options.get("disconnect", "fin"), shared.stall_after or wanted)
            request, own = self._build_request(path, RequestOptions(**_pick_fields(options, RequestOptions)))
            if own:
                # Only to validate the caller's cookies: constructing the request raises for them here, not in the
                # middle of a run.
                replace(request, headers={**request.headers, "Cookie": "; ".join(own)})
            shared.router.route(request.endpoint)
        except ConfigError as error:
            raise shared.refuse(error) from None
        origin = request.endpoint.origin
        times = shared.statistics.times(GAP, name)

        def prepare_request(outgoing: Request) -> Request:
            kept = self.cookies.header(outgoing.endpoint) if self.cookies is not None else ""
            # The caller's own cookies are sent to the host they were given for, not to one that a redirect leads to.
            text = "; ".join(filter(None, [*(own if outgoing.endpoint.origin == origin else ()), kept]))
            return replace(outgoing, headers={**outgoing.headers, "Cookie": text}) if text else outgoing

        def gap(seconds: float, events: int) -> None:
            times.add(seconds)
            if events > 1:
                times.add(0.0, events - 1)

        return EventSource(
            request,
            shared.router,
            shared.wheel,
            spec,
            options=source_options,
            listener=SourceListener(
                prepare_request=prepare_request,
                on_head=self._on_head,
                on_first=lambda report: shared.statistics.on_first_event(report, name),
                on_report=self._report,
                on_gap=gap,
                failure=_TaskFailed,
            ),
            sources=shared.sources,
        )

    def _build_request(self, path: str, options: RequestOptions) -> tuple[Request, list[str]]:
        """The request, and the cookies that its caller gave it. Raises ConfigError."""
        request = self.shared.request(self.host or "", path)
        sent = {**self.headers, **(options.headers or {})}
        if options.auth is not None:
            sent["Authorization"] = basic(*options.auth)
        if options.bearer is not None:
            sent["Authorization"] = f"Bearer {options.bearer}"
        # Cookies of the caller and those that the service set share one header (RFC 6265, 5.4), so they are joined
        # later.
        own = [sent.pop(key) for key in list(sent) if key.lower() == "cookie"]
        own += [f"{key}={value}" for key, value in (options.cookies or {}).items()]
        if sent or options.method != "GET" or options.body is not None:
            request = Request(request.endpoint, options.method, sent, options.body)
        return request, own

    def _on_head(self, endpoint: Endpoint, report: Report) -> None:
        if report.headers is not None:
            self.shared.statistics.on_head(report, report.spec.path)
        if report.set_cookie:
            if self.cookies is None:
                self.cookies = Cookies()
            self.cookies.store(report.set_cookie, endpoint)
            # Taken: the same report is passed again with the next head, after a redirect.
            report.set_cookie = ()

    def _report(self, source: EventSource, report: Report) -> None:
        statistics = self.shared.statistics
        statistics.on_closed(report, report.spec.path, reported=True)
        source.reported = statistics.ids(source.decoder.ids, report.spec.path, source.reported)
