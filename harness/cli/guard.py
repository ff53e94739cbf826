"""``harness guard``: guards any service, spawned or running."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.interrupt import Interrupt
from harness.cli.quantities import TIME
from harness.cli.service_options import command_line, request_from, service_options
from harness.cli.streams import print_error
from harness.core.note import NoteKind, of_kind

PRINTED = (NoteKind.STOPPED, NoteKind.LOAD_STOPPED, NoteKind.SELF_TEST, NoteKind.BROKER)


@click.command("guard", short_help="load any service and judge whether it leaks")
@service_options
@click.option(
    "--max-time",
    type=TIME,
    default="2m",
    show_default=True,
    metavar="TIME",
    help="Time limit, including the start of the service.",
)
@click.option(
    "--cycles", type=click.IntRange(3), default=60, show_default=True, help="Maximum number of load cycles."
)
@click.option("--self-test", is_flag=True, help="A pass must find a planted leak as small as --sensitivity.")
def command(**options: Any) -> None:
    """Start a service, connect and disconnect clients, and judge whether it releases what it opened for them.

    \b
    harness guard --url http://127.0.0.1:{port}/events -- python app.py --port {port}
    harness guard --url http://127.0.0.1:8000/events --pid 4711
    harness guard --url http://127.0.0.1:{port}/api --mode request --keep-alive -- ./server {port}
    harness guard --url http://127.0.0.1:{port}/events --swarm locustfile.py -- ./server {port}
    harness guard --url http://host:8000/events --probe-command "ssh host harness probe --pid 4711"

    {port} is replaced by a free port in the URL and in the command, and PORT is set in the environment. Exit codes:
    0 no leak was found, 1 the service's fault, 2 usage, 3 inconclusive or interrupted, 4 infrastructure.
    """
    request = request_from(options)
    # Imported late: these take most of the start-up time, and neither --help nor a usage error needs them.
    from harness.cli.result import check_outputs, finish, view
    from harness.core.outline import outline
    from harness.experiment.guard import goal_of, guard_once, setup_for

    setup_for(request)  # reports an invalid request before anything else happens
    check_outputs(options)
    for line in () if options["quiet"] else outline(goal_of(request), request.judgement.sensitivity):
        print_error(f"plan: {line}")
    with Interrupt() as interrupt, view(quiet=options["quiet"]) as show:
        done = guard_once(request, command=command_line("guard"), interrupt=interrupt, show=show)
    for note in () if options["quiet"] else of_kind(done.trial.notes, *PRINTED):
        print_error(note.text)
    finish(done.run, done.report, options)
