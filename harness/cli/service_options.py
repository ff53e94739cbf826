"""The options that guard and soak share, and the request that they describe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from fake_broker.dialects import DIALECTS
from harness.cli import secret
from harness.cli.after_verdict import HISTORY_OPTIONS, AfterVerdict
from harness.cli.quantities import ADDRESSES, RATE, SIZE, TIME, TIME_OR_ZERO
from harness.cli.request_parts import read_body, read_headers
from harness.config import budget_for
from harness.core.cycle import DISCONNECT_MODES
from harness.core.errors import ConfigError
from harness.core.secret_values import secrets_in_url
from harness.experiment.options import OPTIONS, GuardRequest, request_of
from harness.http.endpoint import written_target
from harness.runtime.detect import OVERRIDES
from harness.swarm.setup import SECRET_VARIABLE
from harness.target.listening import listening_pid
from harness.target.ready import check_url
from harness.target.spawn import fill_port

BROKER = (
    click.option("--with-broker", is_flag=True, help="Start a fake broker; {broker} is its endpoint."),
    click.option("--broker-dialect", type=click.Choice(list(DIALECTS)), default="plantd", show_default=True,
                 help="Majordomo dialect of that broker."),
    click.option("--broker-service", "broker_services", multiple=True, metavar="NAME",
                 help="A service that the broker answers for. Repeatable [default: state, identity, app]."),
    click.option("--broker-fault", "broker_faults", multiple=True, metavar="NAME[,KEY=VALUE…]",
                 help="A fault that is active from the start, such as silence,after=5. Repeatable; "
                 "`fake-broker --list-faults` lists them."),
)  # fmt: skip
FORMATS = ("plain", "json", "github")
# Options whose values may be credentials whatever they look like. They are shown and stored as ***.
CONFIDENTIAL = ("--header", "--body", "--notify", "--otlp")
PATH = click.Path(path_type=Path)
Command = TypeVar("Command", bound=Callable[..., Any])


SERVICE = (
    click.option("--url", multiple=True, required=True, metavar="URL",
                 help="URL of the streams; {port} is replaced by a free port. Repeatable, same host."),
    click.option("--pid", type=click.IntRange(1), help="Attach to the running service with this process id."),
    click.option("--attach-port", type=click.IntRange(1, 65535),
                 help="Attach to the running service that listens on this port."),
    click.option("--probe-command", metavar="COMMAND",
                 help="Read the service with a command that prints what `harness probe` prints."),
    click.option("--ready", metavar="URL",
                 help="URL that returns a status below 500 when the service is ready "
                 "[default: when its port accepts connections]."),
    click.option("--ready-timeout", type=TIME, default="30s", show_default=True, metavar="TIME",
                 help="Time until the service must be ready."),
    click.option("--runtime", type=click.Choice(OVERRIDES), default="auto", show_default=True,
                 help="Runtime whose counters to read inside the service."),
    click.option("--pprof", metavar="URL",
                 help="Address of the pprof pages of a Go service [default: /debug/pprof/ of the service]."),
    click.option("--nofile", type=click.IntRange(16), help="Start the service with this RLIMIT_NOFILE."),
    *BROKER,
)  # fmt: skip
LOAD = (
    click.option("--connections", type=click.IntRange(1), default=300, show_default=True,
                 help="Connections per cycle."),
    click.option("--concurrency", type=click.IntRange(1, 20000), default=50, show_default=True,
                 help="Streams open at once."),
    click.option("--burst", type=click.IntRange(1), default=100, show_default=True,
                 help="Streams that a load generator opens at once; the next follow as responses arrive, or after "
                 "0.1 s."),
    click.option("--events", type=click.IntRange(0), default=1, show_default=True,
                 help="Disconnect after N events (or responses); 0: stay for the whole dwell."),
    click.option("--dwell", type=TIME, default="2s", show_default=True, metavar="TIME",
                 help="Maximum duration of a stream."),
    click.option("--hold", type=TIME_OR_ZERO, default="5s", show_default=True, metavar="TIME",
                 help="How long clients stay connected, half of them not reading, in the hold cycle; 0: none."),
    click.option("--disconnect", type=click.Choice(["mixed", *DISCONNECT_MODES]), default="mixed",
                 show_default=True, help="How clients disconnect."),
    click.option("--mode", type=click.Choice(["stream", "request"]), default="stream", show_default=True,
                 help="SSE streams, or plain HTTP requests."),
    click.option("--stall-after", type=TIME, metavar="TIME",
                 help="Time without a byte after which a stream counts as stalled [default: the dwell]."),
    click.option("--max-event", type=SIZE, default="1 MiB", show_default=True, metavar="SIZE",
                 help="Maximum size of the data of one event; a stream with a larger one fails."),
    click.option("--source-addresses", type=ADDRESSES, default="", metavar="POOL",
                 help="Local addresses to connect from in turn: 127.0.0.2-127.0.0.200, or NET/BITS."),
    click.option("--expect", multiple=True, metavar="STATUS",
                 help="Response status that counts as success, such as 503 or 4xx. Repeatable "
                 "[default: 200; below 400 for --mode request]."),
    click.option("--invalid-share", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True,
                 metavar="SHARE", help="Share of requests that are invalid: wrong path, method, credentials, body or "
                 "session."),
    click.option("--clients", type=click.IntRange(0), default=0, metavar="N",
                 help="Distinct clients that take turns; {client} in a URL, header or body is their number "
                 "[default: one; with {client}, one per stream]."),
    click.option("--processes", type=click.IntRange(0), default=1, show_default=True,
                 help="Load generators on this machine; 0 only with --remote-workers."),
    click.option("--remote-workers", type=click.IntRange(0), default=0, metavar="N",
                 help="Wait for N load generators on other machines, which have the same $HARNESS_SWARM_SECRET."),
    click.option("--bind", default="", metavar="HOST:PORT",
                 help="Address of this machine at which remote workers join."),
    click.option("--keep-alive", is_flag=True,
                 help="With --mode request: each connection sends --events requests "
                 "[default: one request per connection]."),
    click.option("--swarm", "locustfile", type=PATH, metavar="FILE",
                 help="Use the Locust users of this locustfile as the load."),
    click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'|@FILE",
                 help="Request header. Repeatable; @FILE reads one from each line."),
    click.option("--header-env", "header_variables", multiple=True, metavar="NAME",
                 help="Read a header from the environment variable NAME, which holds 'NAME: VALUE'. Repeatable."),
    click.option("--method", default="GET", show_default=True, metavar="NAME", help="HTTP method of every request."),
    click.option("--body", metavar="TEXT", help="Body of every request; @FILE reads it from a file."),
    click.option("--insecure", is_flag=True, help="Do not verify the service's certificate."),
    click.option("--ca", type=PATH, metavar="FILE", help="PEM file of authorities for https."),
    click.option("--seed", type=int, default=0, show_default=True,
                 help="Seed of the random choices of the load: the same seed, the same load."),
)  # fmt: skip
JUDGEMENT = (
    click.option("--settle", type=TIME, default="1s", show_default=True, metavar="TIME",
                 help="How long counts must stay unchanged before a level is read."),
    click.option("--retention", type=TIME_OR_ZERO, metavar="TIME",
                 help="Growth that stays longer than this is a leak; 0: at once [default: 60s, or `retain` of "
                 "the budget]."),
    click.option("--sensitivity", type=RATE, default="1/1000", show_default=True, metavar="RATE",
                 help="Smallest leak per answered stream that must be detected."),
    click.option("--budget", "budget_file", type=PATH, metavar="FILE",
                 help="Allowed growth [default: budgets.toml or [tool.harness], here or above]."),
    click.option("--profile", metavar="NAME",
                 help="Use [profile.NAME] of the budget file; it overrides [budget] and [endpoint]."),
)  # fmt: skip
OUTPUT = (
    click.option("--redact", "redact", multiple=True, metavar="REGEX",
                 help="Replace text that matches with *** wherever it is stored or printed. Repeatable."),
    click.option("--out", type=PATH, metavar="DIR", help="Folder of the run [default: reports/RUN-ID]."),
    click.option("--json", "json_file", type=PATH, metavar="FILE", help="Write the result here as JSON."),
    click.option("--junit", "junit_file", type=PATH, metavar="FILE", help="Write the result here as JUnit XML."),
    click.option("--format", "form", type=click.Choice(FORMATS), metavar="|".join(FORMATS),
                 help="What to print [default: plain; github where GITHUB_ACTIONS is set]."),
    *HISTORY_OPTIONS,
    click.option("--prometheus", metavar="[HOST:]PORT",
                 help="Serve live figures at /metrics; without HOST on 127.0.0.1."),
    click.option("--otlp", metavar="URL",
                 help="Send live figures to this OpenTelemetry collector, such as http://127.0.0.1:4318."),
    click.option("--quiet", is_flag=True, help="Print only the verdict, no progress."),
    click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND …]"),
)  # fmt: skip


def service_options(function: Command) -> Command:
    """Add them all to a command, in the order in which ``--help`` shows them."""
    for option in reversed((*SERVICE, *LOAD, *JUDGEMENT, *OUTPUT)):
        function = option(function)
    return function


def request_from(options: dict[str, Any], **more: Any) -> GuardRequest:
    """The request that the options of a command describe: other options are left out. Raises
    ConfigError naming the option that is wrong."""
    pid = options["pid"]
    if options["attach_port"]:
        if pid:
            raise ConfigError("--pid and --attach-port name the service twice; expected one of them")
        pid = listening_pid(options["attach_port"])
    options["afterwards"] = AfterVerdict.of(options)
    environment = dict(os.environ)  # before the variables of --header-env are removed from it
    headers, secrets = read_headers(options["headers"], options["header_variables"])
    body, more_secrets = read_body(options["body"])
    url, swarm = options["otlp"] or "", os.environ.get(SECRET_VARIABLE, "")
    others = [value for value in (*secrets_in_url(url), swarm) if value]
    secret.remember((*secrets, *more_secrets, *others), options["redact"])
    budget, notes = budget_for(
        options["budget_file"],
        endpoints=[path_of(url) for url in options["url"]],
        profile=options["profile"],
    )
    read = {
        "url": options["url"],
        "pid": pid,
        "headers": headers,
        "body": body,
        "budget": budget,
        "budget_notes": notes,
        "env": environment if options["header_variables"] else None,
        "secrets": secret.known().values,
        "redact": secret.known().patterns,
    }
    plain = {name: value for name, value in options.items() if name in OPTIONS}
    return request_of(**{**plain, **read, **more})


def path_of(url: str) -> str:
    """The path by which a budget names an endpoint, with its query."""
    filled = fill_port(url, 1)
    check_url(filled, written=url)
    return written_target(filled)


def chosen_format(form: str | None) -> str:
    """The format that was asked for; else ``github`` on GitHub Actions, which sets GITHUB_ACTIONS, else ``plain``."""
    if form is not None:
        return form
    return "github" if os.environ.get("GITHUB_ACTIONS") == "true" else "plain"


def command_line(verb: str) -> str:
    """The command line for the report, without secrets and without the values of the options in CONFIDENTIAL."""
    words = sys.argv[1:]
    if not words or words[0] != verb:
        return f"harness {verb}"
    shown: list[str] = []
    is_value = False
    for word in secret.known().words(words):
        name, equals, _ = word.partition("=")
        shown.append("***" if is_value else f"{name}=***" if equals and name in CONFIDENTIAL else word)
        # A value that is itself called like such an option is not followed by another one.
        is_value = word in CONFIDENTIAL and not is_value
    return "harness " + " ".join(shown)
