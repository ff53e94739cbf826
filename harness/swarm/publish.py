"""The live figures of a Locust run, for Prometheus and OpenTelemetry, under the names that every run uses.

A master publishes the sums over its workers. The readings of the target are those of the Target tab. There is no
verdict among them: that requires the idle controls and settled levels of ``harness guard``.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from locust import events
from locust.runners import MasterRunner, WorkerRunner

from harness.core.errors import ConfigError, OptionError, as_flag
from harness.core.figures import Value, bounded, value
from harness.core.redact import Redactor
from harness.export.otlp import endpoint_of
from harness.export.prometheus import parse_listen_address
from harness.export.publishers import Publishers
from harness.swarm.statistics import CONNECT, FIRST_EVENT, GAP, LIFE
from harness.swarm.stream_counts import StreamCounts
from harness.swarm.target_feed import TargetFeed, plain_address

# By environment, for those whose target is followed.
FEEDS: WeakKeyDictionary[Any, TargetFeed] = WeakKeyDictionary()
FAILURE_METHODS = (FIRST_EVENT, LIFE)  # of the entries in Locust's statistics that count failed streams
# Key of a reading → the figure under which it is published, and its unit in a rate.
TARGET_FIGURES = {"fds": "harness_fds", "threads": "harness_threads", "rss": "harness_resident_bytes"}
UNITS = {"fds": "fds", "threads": "threads", "rss": "B"}
# A worker sends its errors to the master as ``repr``, in which the cause is in quotes.
FAILURE_REPR = re.compile(r"StreamFailure\(['\"](.*)['\"],?\)")
OBSERVED = "observed"  # the status of a rate that was not judged

logger = logging.getLogger(__name__)


def has_publisher(options: Any) -> bool:
    """Whether the command line asks for figures."""
    return bool(getattr(options, "prometheus", "") or getattr(options, "otlp", ""))


class SwarmFigures:
    """The figures of one Locust environment."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._streams = StreamCounts(environment)

    def values(self) -> list[Value]:
        """Everything that is known now."""
        feed = FEEDS.get(self._environment)
        return [*self._load(), *self._workers(), *(target_values(feed) if feed else ())]

    def _load(self) -> Iterator[Value]:
        stats, streams = self._environment.stats, self._streams.now()
        requests: Counter[str] = Counter()
        for (_, method), entry in list(stats.entries.items()):
            requests[method] += entry.num_requests
        causes: Counter[str] = Counter()
        for error in list(stats.errors.values()):
            if error.method in FAILURE_METHODS:
                causes[_cause(error.error)] += error.occurrences
        yield value("harness_streams_open", streams.open)
        yield value("harness_streams_opened", requests[CONNECT])
        yield value("harness_streams_answered", streams.answered)
        for cause, count in bounded(causes).items():
            yield value("harness_streams_failed", count, cause)
        yield value("harness_events", streams.answered + requests[GAP])

    def _workers(self) -> Iterator[Value]:
        runner = self._environment.runner
        if isinstance(runner, MasterRunner):
            states = Counter(str(client.state) for client in list(runner.clients.values()))
            for state in ("ready", "spawning", "running", "missing"):
                yield value("harness_workers", states[state], state)


def target_values(feed: TargetFeed) -> Iterator[Value]:
    """What the target holds, and its growth per answered stream with the interval."""
    samples = list(feed.samples)
    # While the probe has a problem, the last reading is old: it is not published as if it were current.
    latest = samples[-1] if samples and not feed.problem else None
    yield value("harness_target_up", latest is not None)
    yield value("harness_target_info", 1, feed.target, feed.problem or ("" if samples else "no reading yet"))
    if latest is None:
        return
    for key, name in TARGET_FIGURES.items():
        if latest[key] is not None:
            yield value(name, latest[key])
    for kind, count in bounded(feed.classes).items():
        yield value("harness_fds_by_class", count, kind)
    for key, metric in feed.state()["metrics"].items():
        if grown := metric["growth"]:
            name = "memory" if key == "rss" else key
            labels = (name, "", "answered-stream", f"{UNITS[key]}/answered-stream", OBSERVED)
            yield value("harness_growth", grown["rate"], *labels)
            yield value("harness_growth_low", grown["low"], *labels)
            yield value("harness_growth_high", grown["high"], *labels)


def _cause(error: object) -> str:
    """Here an error is the exception itself, and on a master its ``repr``."""
    found = FAILURE_REPR.fullmatch(str(error))
    return found[1] if found else str(error)


def _checked(text: str, check: Callable[[str], object]) -> str:
    """The value of an option, checked before the run starts. Empty: the option was not given."""
    try:
        if text:
            check(text)
    except OptionError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error.text}") from None
    return text


def _place(text: str) -> str:
    return _checked(text, parse_listen_address)


def _url(text: str) -> str:
    return _checked(text, endpoint_of)


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: Any) -> None:
    parser.add_argument(
        "--prometheus",
        type=_place,
        default="",
        env_var="HARNESS_PROMETHEUS",
        include_in_web_ui=False,
        metavar="[HOST:]PORT",
        help="Serve the figures of the run at /metrics, without HOST on 127.0.0.1",
    )
    parser.add_argument(
        "--otlp",
        type=_url,
        default="",
        env_var="HARNESS_OTLP",
        include_in_web_ui=False,
        metavar="URL",
        help="Send the figures of the run to this OpenTelemetry collector (OTLP over HTTP)",
    )


@events.init.add_listener  # type: ignore[untyped-decorator]
def publish(environment: Any, runner: Any = None, **_: Any) -> None:
    """Open what the options ask for. Workers leave that to their master."""
    options = environment.parsed_options
    if isinstance(runner, WorkerRunner) or not has_publisher(options):
        return
    redact = Redactor().text
    try:
        publishers = Publishers(
            SwarmFigures(environment),
            plain_address(environment.host or ""),
            prometheus=options.prometheus or None,
            otlp=options.otlp or None,
            redact=redact,
        )
    except ConfigError as error:
        text = error.spelled(as_flag) if isinstance(error, OptionError) else str(error)
        # Locust would log an error of a listener with its traceback, and continue.
        print(f"harness: {text}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    if publishers.address:
        logger.info("figures at %s", publishers.address)

    ending = threading.Lock()

    def end(**_: Any) -> None:
        # After SIGTERM Locust calls this from two greenlets, and the first that returns ends the process.
        with ending:
            publishers.close()
            while publishers.failures:
                logger.warning(publishers.failures.pop())

    environment.events.quit.add_listener(end)
