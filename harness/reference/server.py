"""The process around the application: listening socket, uvicorn, signals, the orderly shutdown."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette

from harness.reference.app import application
from harness.reference.blueprint import Blueprint, Service
from harness.reference.logs import log

BACKLOG = 2048  # clients that wait to be accepted
GRACE = 2  # seconds that open streams get at the end
KEEP_ALIVE = 2  # seconds an idle HTTP connection is kept


class Server(uvicorn.Server):
    """uvicorn, which ends the streams before it waits for them."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin the shutdown."""
        groups = self.service.counters.grouped()
        log("stopping", streams=groups["streams"]["open"], checks=groups["checks"]["running"])
        self.service.streams.end_all()
        await super().shutdown(sockets)


def listen(blueprint: Blueprint) -> socket.socket:
    """The listening socket. Raises OSError when the address is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for level, option, value in blueprint.listen:
        listener.setsockopt(level, option, value)
    try:
        listener.bind((blueprint.settings.host, blueprint.settings.port))
        listener.listen(BACKLOG)  # from here on clients are queued, not refused
    except OSError:
        listener.close()
        raise
    return listener


def prepare() -> None:
    """A crash writes a trace of every thread and no core file."""
    faulthandler.enable()
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def run(blueprint: Blueprint, listener: socket.socket, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or SIGINT, then end with status 0. Does not return. ``ready`` is called when
    every part is there."""
    service = blueprint.build()
    host, port = listener.getsockname()[:2]
    log("listening", host=host, port=port, broker=blueprint.settings.broker, parts=list(blueprint.names))
    ready()
    app: Starlette = application(service)
    # uvicorn raises the signals that it caught again after its shutdown; these handlers ignore them, so that an
    # orderly shutdown has status 0 and not −15.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    config = uvicorn.Config(
        app,
        http=blueprint.protocol,
        loop="asyncio",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,  # harness.reference.logs
        log_level="info",
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=KEEP_ALIVE,
    )
    Server(config, service).run(sockets=[listener])
    service.close()
    groups = service.counters.grouped()
    log(
        "stopped",
        streams=groups["streams"]["open"],
        sockets=groups["sockets"]["open"],
        contexts=groups["contexts"]["open"],
    )
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads may still be inside libzmq (abandoned checks): the interpreter's own shutdown would wait for them or
    # crash.
    os._exit(0)
