"""The reference service from the command line."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, fields, replace
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import click

from harness.reference import defects, mitigations
from harness.reference.blueprint import module, names
from harness.reference.claims import CLAIMS
from harness.reference.logs import FORMATS, configure
from harness.reference.profiles import DEFAULT, PROFILES, UnknownProfile, named
from harness.reference.settings import DEFAULT_SCALE, TIMES, Settings
from harness.reference.variations import VARIATIONS

SCHEMA_VERSION = 1
EXIT_INFRASTRUCTURE = 4

seconds = click.FloatRange(min=0, min_open=True)
counts = click.IntRange(1, 1_000_000)


def _endpoint(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Refuse what ZeroMQ would refuse later, in a thread, as a panic."""
    try:
        parts = urlsplit(value)
        good = bool(parts.scheme == "tcp" and parts.hostname and parts.port and not parts.path)
    except ValueError:
        good = False
    if good or (value.startswith("ipc://") and len(value) > len("ipc://")):
        return value
    raise click.BadParameter(f"{value!r} is not an endpoint; expected tcp://HOST:PORT or ipc://PATH")


def _host(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """An empty name would listen on every address of the machine."""
    if not value or not value.isascii() or "\0" in value:
        raise click.BadParameter(f"{value!r} is not an address; expected one such as 127.0.0.1")
    return value


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "REFERENCE"},
    epilog="All times are in seconds. Without --real-time they are scaled down, except those given as options. Every "
    "option can come from the environment: REFERENCE_BROKER for --broker, REFERENCE_LOG_FORMAT for --log-format.",
)
@click.option(
    "--profile",
    "profile_name",
    envvar="REFERENCE_PROFILE",
    default=DEFAULT,
    show_default=True,
    metavar="NAME",
)
@click.option(
    "--defect",
    "more_defects",
    envvar="REFERENCE_DEFECT",
    multiple=True,
    metavar="NAME",
    help="Plant this defect as well. Repeatable.",
)
@click.option(
    "--mitigation",
    "more_mitigations",
    envvar="REFERENCE_MITIGATION",
    multiple=True,
    metavar="NAME",
    help="Apply this mitigation as well. Repeatable.",
)
@click.option(
    "--host", default=Settings().host, callback=_host, show_default=True, help="Address to listen on."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0: a free one.",
)
@click.option(
    "--broker", metavar="ENDPOINT", default=Settings().broker, callback=_endpoint, show_default=True
)
@click.option(
    "--time-scale",
    type=seconds,
    help=f"Factor for all times [default: {DEFAULT_SCALE}, with the profile's own times].",
)
@click.option("--real-time", is_flag=True, help="Ticks of 5 s and 2 s, timeouts of 30 s.")
@click.option("--dashboard-interval", type=seconds, help="Time between two dashboard-update events.")
@click.option("--status-interval", type=seconds, help="Time between two status-update events.")
@click.option("--timeout", type=seconds, help="How long a receive waits for the broker.")
@click.option("--recovery", "breaker_recovery", type=seconds, help="How long an open circuit stays open.")
@click.option("--keep-alive", type=seconds, help="Time between two keep-alive comments.")
@click.option("--dashboard-deadline", type=seconds, help="How long a dashboard tick waits for its checks.")
@click.option("--status-deadline", type=seconds, help="How long a status tick waits for its checks.")
@click.option(
    "--breaker-failures",
    type=counts,
    default=Settings().breaker_failures,
    show_default=True,
    help="Number of failures in a row that open the circuit.",
)
@click.option(
    "--workers",
    type=counts,
    default=Settings().workers,
    show_default=True,
    help="Number of threads that run checks.",
)
@click.option(
    "--pool-size",
    type=counts,
    default=Settings().pool_size,
    show_default=True,
    help="Number of sockets in the pool.",
)
@click.option(
    "--socket-limit",
    type=counts,
    default=Settings().socket_limit,
    show_default=True,
    help="Maximum number of ZeroMQ sockets, with the mitigation socket-limit.",
)
@click.option(
    "--history-limit",
    type=counts,
    default=Settings().history_limit,
    show_default=True,
    help="Maximum number of health results, with the mitigation bounded-history.",
)
@click.option("--log-format", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True)
@click.option(
    "--health-url", metavar="URL", help="URL that the mitigation http-fallback asks; {component} is replaced."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the jitter of ticks.")
@click.option("--ready", is_flag=True, help="Print one JSON line, {url, pid}, when the service is ready.")
@click.option(
    "--list",
    "listing",
    envvar="REFERENCE_LIST",
    is_flag=True,
    help="Print the profiles, defects and mitigations, and stop.",
)
@click.option(
    "--describe", is_flag=True, help="Print the same as JSON, with loads and expected outcomes, and stop."
)
def main(*, describe: bool, listing: bool, **options: Any) -> None:
    """A health dashboard over server-sent events that asks a Majordomo broker at every tick.

    Its profiles plant the defects of a service that crashed, and the mitigations that were tried.
    """
    if describe:
        click.echo(json.dumps(catalogue(), indent=2))
        return
    if listing:
        click.echo(_listing())
        return
    real_time, time_scale = options["real_time"], options["time_scale"]
    if real_time and time_scale is not None:
        raise click.UsageError("--real-time and --time-scale exclude each other: give one of them")
    plain = {one.name: options[one.name] for one in fields(Settings) if one.name not in TIMES}
    given = {name: options[name] for name in TIMES if options[name] is not None}
    try:
        profile = named(options["profile_name"])
    except UnknownProfile as error:
        raise click.UsageError(str(error)) from None
    scale = 1.0 if real_time else time_scale
    own = profile.times if scale is None else {}
    settings = Settings(**plain).scaled(scale or DEFAULT_SCALE).timed({**own, **given})
    configure(options["log_format"])
    _serve(
        settings,
        (*profile.defects, *options["more_defects"]),
        (*profile.mitigations, *options["more_mitigations"]),
        options["ready"],
    )


def catalogue() -> dict[str, Any]:
    """The catalogue as ``--describe`` prints it: ``profiles`` and ``variations`` (lists of rows), ``claims``
    (what tests each claim of the analysis), ``defects`` and ``mitigations`` (name, summary and, for defects, what must
    be seen)."""

    def entry(package: ModuleType, name: str) -> dict[str, str]:
        part = module(package, name)
        shown = {"name": name, "summary": part.SUMMARY}
        return shown | ({"seen": part.SEEN} if package is defects else {})

    return {
        "schema_version": SCHEMA_VERSION,
        "profiles": [asdict(profile) for profile in PROFILES.values()],
        "variations": [asdict(variation) for variation in VARIATIONS],
        "claims": [asdict(claim) for claim in CLAIMS],
        "defects": [entry(defects, name) for name in names(defects)],
        "mitigations": [entry(mitigations, name) for name in names(mitigations)],
    }


def _serve(settings: Settings, defects: tuple[str, ...], mitigations: tuple[str, ...], ready: bool) -> None:
    # Imported late: --list and --describe are asked by others, who wait for the answer.
    from harness.reference.blueprint import UnknownName, draw
    from harness.reference.server import listen, prepare, run

    prepare()
    try:
        blueprint = draw(settings, defects, mitigations)
    except UnknownName as error:
        raise click.UsageError(str(error)) from None
    try:
        listener = listen(blueprint)
    except OSError as error:
        click.echo(
            f"Error: cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            "choose another --port, or 0 for any free one",
            err=True,
        )
        sys.exit(EXIT_INFRASTRUCTURE)
    port = listener.getsockname()[1]
    blueprint.settings = replace(settings, port=port)

    def announce() -> None:
        if ready:
            click.echo(json.dumps({"url": f"http://{settings.host}:{port}", "pid": os.getpid()}))

    run(blueprint, listener, announce)


def _listing() -> str:
    lines = ["Profiles:"]
    width = max(map(len, PROFILES))
    lines += [f"  {p.name:{width}}  {p.expected:8}  {p.summary}" for p in PROFILES.values()]
    described = catalogue()
    for sort in ("defects", "mitigations"):
        width = max(len(entry["name"]) for entry in described[sort])
        lines += ["", f"{sort.capitalize()}:"]
        lines += [f"  {entry['name']:{width}}  {entry['summary']}" for entry in described[sort]]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
