"""``fake-broker``: the broker as a process of its own."""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NoReturn
from urllib.parse import urlsplit

import click

from fake_broker.broker import Broker
from fake_broker.dialects import DIALECTS
from fake_broker.journal import Journal
from fake_broker.loop import Endpoints, Loop
from fake_broker.private import private_folder
from fake_broker.quirks import QUIRKS
from fake_broker.server import ListenError
from fake_broker.spec import SpecError, catalogue, parse_words
from fake_broker.state import HEARTBEAT_INTERVAL, LIVENESS, State

EXIT_USAGE = 2
EXIT_INFRASTRUCTURE = 4
TOKEN = "FAKE_BROKER_TOKEN"  # noqa: S105 - the name of the variable
MIN_TOKEN = 16  # characters
INTERNAL = ("state", "identity", "app")

EPILOG = """\b
Examples:
  fake-broker                                  plantd's dialect on port 9797
  fake-broker --dialect 0.1 --bind tcp://127.0.0.1:5555 --service echo
  fake-broker --fault silence,after=5,until=8  no answers from the 5th to the 8th second
  fake-broker --fault latency,delay=0.2,jitter=0.1,service=state
  fake-broker --list-faults

\b
While it runs, the control endpoint (a REP socket) takes JSON. It is a Unix socket
that only this user can reach; over TCP, every order needs "token": "…".
  {"command": "stats"}   {"command": "silence"}   {"command": "resume"}
  {"command": "fault", "fault": "drop", "probability": 0.1}
  {"command": "clear"}   {"command": "release"}   {"command": "stop"}

\b
Exit codes: 0 ended by a signal or by "stop"; 2 invalid options;
4 a port is taken or the journal cannot be written."""


def _loopback(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """tcp on loopback, or ipc: every local user can reach the first, the second only this one."""
    if value is None:
        return None
    if value.startswith("ipc://") and len(value) > len("ipc://"):
        return value
    parts = urlsplit(value)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme == "tcp" and host is not None and port is not None:
        if host == "localhost" or host == "::1" or host.startswith("127."):
            return value
        raise click.BadParameter(
            f"{value} is open to other machines; expected a loopback address such as 127.0.0.1"
        )
    raise click.BadParameter(
        f"{value!r} is not an endpoint; expected tcp://127.0.0.1:PORT (0: any) or ipc://PATH"
    )


@click.command(
    "fake-broker",
    epilog=EPILOG,
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
)
@click.option(
    "--bind",
    default="tcp://127.0.0.1:9797",
    show_default=True,
    callback=_loopback,
    help="Where peers connect.",
)
@click.option(
    "--control",
    default=None,
    callback=_loopback,
    help="Control endpoint; over tcp:// each order needs a token, FAKE_BROKER_TOKEN or a random one.  "
    "[default: a Unix socket in a private folder]",
)
@click.option("--dialect", type=click.Choice(list(DIALECTS)), default="plantd", show_default=True)
@click.option(
    "--service",
    "services",
    multiple=True,
    help="A service that the broker itself answers for; repeatable.  [default: state, identity, app]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random generator.")
@click.option(
    "--quirks",
    type=click.Choice(list(QUIRKS)),
    default="none",
    show_default=True,
    help="Broker implementation whose bugs to emulate.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    help="A fault that is active from the start: NAME[,key=value…] or a JSON object; repeatable.",
)
@click.option("--proxy", is_flag=True, help="Put a TCP proxy in front, for transport faults and max-peers.")
@click.option(
    "--heartbeat",
    type=click.FloatRange(0.01, 3600),
    default=HEARTBEAT_INTERVAL,
    show_default=True,
    help="Seconds between heartbeats to each worker.",
)
@click.option(
    "--liveness",
    type=click.IntRange(1, 1000),
    default=LIVENESS,
    show_default=True,
    help="Missed heartbeats after which a worker is dropped.",
)
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write every frame to this file (0600).",
)
@click.option("--json-ready", is_flag=True, help="Print the endpoints as one JSON line.")
@click.option("--list-faults", is_flag=True, help="Show every fault with its parameters, and exit.")
def main(*, list_faults: bool, **options: Any) -> None:
    """A Majordomo broker that answers, misbehaves on command and counts its peers."""
    if list_faults:
        _list_faults()
    else:
        _serve(Options(**options))


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line, by their names."""

    bind: str
    control: str | None
    dialect: str
    services: tuple[str, ...]
    seed: int
    quirks: str
    faults: tuple[str, ...]
    proxy: bool
    heartbeat: float
    liveness: int
    journal: Path | None
    json_ready: bool


def _serve(options: Options) -> None:
    bind, proxy, heartbeat = options.bind, options.proxy, options.heartbeat
    if proxy and not bind.startswith("tcp:"):
        _give_up(EXIT_USAGE, f"--proxy works on TCP, and --bind is {bind}; expected tcp://127.0.0.1:PORT")
    # A name is bytes. Python decodes bytes of the command line that are not UTF-8 as lone surrogates (PEP 383).
    names = [name.encode(errors="surrogateescape") for name in options.services or INTERNAL]
    for name in names:
        if not name or name.startswith(b"mmi."):
            _give_up(
                EXIT_USAGE,
                f"--service {name.decode(errors='replace')!r}: expected a name that is not empty and not mmi.…",
            )
    if math.isnan(heartbeat):  # it passes for any range
        _give_up(EXIT_USAGE, "--heartbeat nan: expected a number of seconds")
    _raise_descriptor_limit()
    try:
        specs = [parse_words(text) for text in options.faults]
        state = State(
            time.monotonic(),
            services=names,
            quirks=QUIRKS[options.quirks],
            interval=heartbeat,
            liveness=options.liveness,
        )
        broker = Broker(DIALECTS[options.dialect], state, Random(options.seed), proxied=proxy)
        with contextlib.ExitStack() as stack:
            control = options.control or f"ipc://{_private(stack) / 'control'}"
            token = (os.environ.get(TOKEN) or secrets.token_urlsafe(32)) if control.startswith("tcp:") else ""
            if token and len(token) < MIN_TOKEN:
                _give_up(
                    EXIT_USAGE,
                    f"{TOKEN} has {len(token)} characters; expected {MIN_TOKEN} or more, at random",
                )
            written = stack.enter_context(_open_journal(options.journal)) if options.journal else None
            loop = stack.enter_context(
                Loop(broker, bind=bind, control_bind=control, token=token, journal=written, proxied=proxy)
            )
            loop.stop_on_signals()
            for spec in specs:
                # Before the endpoints are announced, so that no request arrives before the faults are active.
                loop.add_fault(spec)
            _announce(loop.endpoints, token, options.json_ready)
            loop.run()
    except SpecError as error:
        _give_up(EXIT_USAGE, f"--fault: {error}")
    except ListenError as error:
        _give_up(EXIT_INFRASTRUCTURE, str(error))


def _open_journal(path: Path) -> Journal:
    try:
        return Journal(path)
    except OSError as error:
        _give_up(
            EXIT_INFRASTRUCTURE, f"cannot write the journal {path}: {error.strerror}; choose another file"
        )


def _raise_descriptor_limit() -> None:
    """Allow as many descriptors as the system does: peers under test may leak connections, and the broker must not
    fail before they do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _private(stack: contextlib.ExitStack) -> Path:
    try:
        return stack.enter_context(private_folder())
    except OSError as error:
        _give_up(
            EXIT_INFRASTRUCTURE,
            f"cannot make a private folder for the control socket: {error.strerror}; set TMPDIR, or give --control",
        )


def _announce(where: Endpoints, token: str, as_json: bool) -> None:
    if as_json:
        ready = {"endpoint": where.endpoint, "control": where.control, "pid": os.getpid()}
        click.echo(json.dumps({**ready, "token": token} if token else ready))
    else:
        key = f' with "token": "{token}"' if token else ""
        click.echo(f"listening on {where.endpoint}, orders on {where.control}{key}; Ctrl-C ends it")
    sys.stdout.flush()


def _list_faults() -> None:
    group = ""
    for entry in catalogue():
        if entry["group"] != group:
            group = entry["group"]
            click.echo(f"\n{group}")
        click.echo(f"  {entry['fault']:<24} {entry['about']}")
        for name, parameter in entry["parameters"].items():
            click.echo(f"      {name}={json.dumps(parameter['default'])}  {parameter['meaning']}")


def _give_up(code: int, text: str) -> NoReturn:
    click.echo(f"fake-broker: {text}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main(prog_name="fake-broker")
