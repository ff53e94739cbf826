"""The exchangeable parts of the service, which defects and mitigations replace, and the service built from them.

Every defect and mitigation is a module with ``install(blueprint)``, which changes one or two of these
fields. Defects are installed first, so that a mitigation replaces what a defect put in.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType

from starlette.types import ASGIApp

from harness.reference import defects, mitigations
from harness.reference.counters import Counters
from harness.reference.health import AdmissionPolicy, AdmitAll, HealthService, History
from harness.reference.mdp_client import DealerExchange, DealerPerCheck, Dealers, Exchange
from harness.reference.panic import panic
from harness.reference.runner import Runner, WorkerThreads
from harness.reference.settings import Settings
from harness.reference.sockets import Sockets
from harness.reference.streams import Respond, Streams, respond

Middleware = Callable[[ASGIApp], ASGIApp]


class UnknownName(ValueError):
    """No profile, defect or mitigation of that name."""


@dataclass
class Blueprint:
    """What the service is made of; each field can be replaced.

    names: of the defects and mitigations that were installed, for the log. dealers: when sockets are opened and closed;
    around_dealers wraps it. exchange: asks in place of the DEALER client (None: the client over ``dealers``). around:
    wraps the exchange, innermost first. deadlines, shared_checks: as in ``HealthService``. middleware: wraps the
    streams' responses, by name. protocol: uvicorn's HTTP protocol class or its name. listen: socket options of the
    listening socket, as for ``setsockopt``. socket_limit: ZeroMQ sockets at once, None for any number. payload_padding:
    bytes added to each event. closing: called after the threads were asked to end, before ZeroMQ ends. ending: called
    at the very end.
    """

    settings: Settings
    names: tuple[str, ...] = ()
    counters: Counters = field(default_factory=Counters)
    dealers: Callable[[Sockets, str], Dealers] = DealerPerCheck
    around_dealers: list[Callable[[Dealers], Dealers]] = field(default_factory=list)
    exchange: Callable[[Blueprint], Exchange] | None = None
    around: list[Callable[[Exchange], Exchange]] = field(default_factory=list)
    runner: Callable[[int, Callable[[BaseException], None]], Runner] = WorkerThreads
    admission: AdmissionPolicy = field(default_factory=AdmitAll)
    deadlines: bool = False
    shared_checks: bool = False
    history: History | None = None
    streams: Callable[[Counters], Streams] = Streams
    respond: Respond = respond
    middleware: dict[str, Middleware] = field(default_factory=dict)
    protocol: str | type[asyncio.Protocol] = "httptools"
    listen: list[tuple[int, int, int]] = field(default_factory=list)
    socket_limit: int | None = None
    payload_padding: int = 0
    ending: list[Callable[[], None]] = field(default_factory=list)
    closing: list[Callable[[], None]] = field(default_factory=list)

    def build(self) -> Service:
        """Open what the service holds from the start: context, threads, pooled sockets."""
        return Service(self)


class DealerClient:
    """Sockets, dealers and the exchange over them: everything that touches ZeroMQ."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.sockets = Sockets(blueprint.counters)
        self.sockets.limit = blueprint.socket_limit
        self.dealers = blueprint.dealers(self.sockets, blueprint.settings.broker)
        for wrap in blueprint.around_dealers:
            self.dealers = wrap(self.dealers)
        self.exchange: Exchange = DealerExchange(self.dealers)

    def close(self) -> bool:
        """Close the dealers; end the context if every socket is closed; otherwise print the open sockets and leave the
        context."""
        self.dealers.close()
        if self.sockets.report():
            self.sockets.context.term()
            return True
        return False


class Service:
    """The running parts, wired as the blueprint says."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self.counters = blueprint.counters
        self.dealers: DealerClient | None = None
        if blueprint.exchange is not None:
            exchange = blueprint.exchange(blueprint)
        else:
            self.dealers = DealerClient(blueprint)
            exchange = self.dealers.exchange
        for wrap in blueprint.around:
            exchange = wrap(exchange)
        self.sockets = self.dealers.sockets if self.dealers else None
        self.health = HealthService(
            blueprint.settings,
            exchange,
            blueprint.runner(blueprint.settings.workers, functools.partial(panic, sockets=self.sockets)),
            counters=blueprint.counters,
            history=blueprint.history,
            admission=blueprint.admission,
            deadlines=blueprint.deadlines,
            shared=blueprint.shared_checks,
        )
        self.streams = blueprint.streams(blueprint.counters)

    def close(self) -> None:
        """Stop in order: threads, ZeroMQ, then the registered ``ending`` callbacks."""
        self.health.close()
        for close in self.blueprint.closing:
            close()
        if self.dealers:
            self.dealers.close()
        for end in self.blueprint.ending:
            end()


def names(package: ModuleType) -> list[str]:
    """The names of the modules in ``defects`` or ``mitigations``, as they are written on the command
    line."""
    return sorted(info.name.replace("_", "-") for info in pkgutil.iter_modules(package.__path__))


def module(package: ModuleType, name: str) -> ModuleType:
    """The defect or mitigation of that name. Raises UnknownName, which lists the valid names."""
    known = names(package)
    if name not in known:
        kind = package.__name__.rpartition(".")[2].removesuffix("s")
        raise UnknownName(f"unknown {kind} {name!r}: expected one of {', '.join(known)}")
    return importlib.import_module(f"{package.__name__}.{name.replace('-', '_')}")


def draw(settings: Settings, planted: Iterable[str], mitigations_in_use: Iterable[str]) -> Blueprint:
    """A blueprint with these defects and mitigations, whatever order they are named in: mitigations
    install by their ``ORDER`` (default 0), so that those that wrap come after those that replace."""
    planted, mitigations_in_use = sorted(set(planted)), sorted(set(mitigations_in_use))
    blueprint = Blueprint(settings, names=(*planted, *mitigations_in_use))
    for part in [module(defects, name) for name in planted]:
        part.install(blueprint)
    for part in sorted(
        (module(mitigations, name) for name in mitigations_in_use), key=lambda m: getattr(m, "ORDER", 0)
    ):
        part.install(blueprint)
    return blueprint


def draw_names(settings: Settings, mixed: Iterable[str]) -> Blueprint:
    """The same from a mixed list of defect and mitigation names; no name is both."""
    mixed = list(mixed)
    planted = [name for name in mixed if name in names(defects)]
    return draw(settings, planted, [name for name in mixed if name not in planted])
