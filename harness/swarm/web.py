"""Adds a tab to Locust's web UI with live descriptors, threads and memory of the target, and an access check for the
whole UI.

Locust has no custom live charts, so its Flask app serves an own page in a frame below Locust's tab bar. A locustfile
only has to import this module.
"""

from __future__ import annotations

import argparse
import logging
import shlex
from importlib.resources import files
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, jsonify, request
from locust import events
from locust.runners import WorkerRunner

from harness.swarm.publish import FEEDS, has_publisher
from harness.swarm.stream_counts import StreamCounts
from harness.swarm.target_feed import TargetFeed
from harness.swarm.target_section import section
from harness.swarm.web_guard import WebGuard

ASSETS = Path(str(files("harness"))) / "report" / "assets"
# Locust's own tabs hold tables only (`extended_tabs`); a tab with live charts is put beside them by a script.
TAB = Path(str(files("harness"))) / "swarm" / "templates" / "tab.js"
TAB_SCRIPT = '<script src="/target/tab.js"></script>'
PAGE = Path(str(files("harness"))) / "swarm" / "templates" / "target.html"


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r}: {error}; expected a command with its quotes closed"
        ) from None


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: Any) -> None:
    parser.add_argument(
        "--target-pid",
        type=int,
        env_var="HARNESS_TARGET_PID",
        default=None,
        help="Process to watch in the Target tab [default: who listens on the host's port]",
    )
    parser.add_argument(
        "--probe-command",
        type=_words,
        env_var="HARNESS_PROBE_COMMAND",
        default=(),
        include_in_web_ui=False,
        metavar="COMMAND",
        help="Read a target on another machine by a command that prints what `harness probe` prints",
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        metavar="NAME",
        help="Answer requests to the web UI under this host name, such as that of a proxy; repeatable "
        "[default: addresses, localhost and this machine's names]",
    )


@events.init.add_listener  # type: ignore[untyped-decorator]
def attach(
    environment: Any, target_pid: int = 0, read_only: bool = False, runner: Any = None, **_: Any
) -> None:
    """Add the tab and the guard where there is a web UI, the section to the report of ``--html``, and the readings to
    the figures of ``--prometheus`` and ``--otlp``. target_pid 0: the option's, or the process that listens on the
    host's port. read_only: users cannot be started or stopped here."""
    options = environment.parsed_options
    html = getattr(options, "html_file", None) and not isinstance(runner, WorkerRunner)
    published = has_publisher(options) and not isinstance(runner, WorkerRunner)
    if not environment.web_ui and not html and not published:
        return
    pid = target_pid or getattr(options, "target_pid", None)
    feed = TargetFeed(
        environment.host or "",
        pid,
        StreamCounts(environment).now,
        probe_command=getattr(options, "probe_command", ()),
    )
    FEEDS[environment] = feed
    environment.events.test_start.add_listener(lambda **_: feed.mark("start"))
    environment.events.test_stop.add_listener(lambda **_: feed.mark("stop"))
    environment.events.quitting.add_listener(lambda **_: feed.stop())
    if html:  # Locust has written the file by then, and its name has its number of users in it
        environment.events.quit.add_listener(lambda **_: add_to_file(Path(options.html_file), feed))
    if environment.web_ui:
        _serve(environment, feed, read_only=read_only)


def add_to_file(file: Path, feed: TargetFeed) -> None:
    """Insert the section into a report that Locust has written."""
    try:
        file.write_text(with_section(file.read_text(encoding="utf-8"), feed), encoding="utf-8")
    except OSError as error:
        logging.getLogger(__name__).warning("the report %s has no Target section: %s", file, error)


def with_section(page: str, feed: TargetFeed) -> str:
    """A report of Locust's with the section at its end."""
    head, end, rest = page.rpartition("</body>")
    return f"{head}{section(feed.state())}{end}{rest}"


def _serve(environment: Any, feed: TargetFeed, *, read_only: bool) -> None:
    app = environment.web_ui.app
    names = [
        environment.web_ui.host or "",
        *(getattr(environment.parsed_options, "allowed_host", None) or ()),
    ]
    app.wsgi_app = WebGuard(app.wsgi_app, names, read_only=read_only)
    pages = Blueprint("target", __name__)

    @pages.route("/target")
    @environment.web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def page() -> Response:
        return Response(PAGE.read_text(encoding="utf-8"), mimetype="text/html")

    @pages.route("/target/uplot.js")
    @environment.web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def script() -> Response:
        return Response(
            (ASSETS / "uPlot.iife.min.js").read_text(encoding="utf-8"), mimetype="text/javascript"
        )

    @pages.route("/target/uplot.css")
    @environment.web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def style() -> Response:
        return Response((ASSETS / "uPlot.min.css").read_text(encoding="utf-8"), mimetype="text/css")

    @pages.route("/target/samples")
    @environment.web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def samples() -> Response:
        return jsonify(feed.state())

    @pages.route("/target/tab.js")
    @environment.web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def tab() -> Response:
        return Response(TAB.read_text(encoding="utf-8"), mimetype="text/javascript")

    @app.after_request  # type: ignore[untyped-decorator]
    def add_tab(response: Response) -> Response:
        # Locust's page is compiled, with no place for a script of ours, so one is added to what it sends.
        if request.path == "/" and response.mimetype == "text/html":
            response.set_data(response.get_data(as_text=True).replace("</body>", f"{TAB_SCRIPT}</body>"))
        if request.path == "/stats/report" and response.mimetype == "text/html":
            response.set_data(with_section(response.get_data(as_text=True), feed))
        return response

    app.register_blueprint(pages)
