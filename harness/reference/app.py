"""The routes, as the crashed service had them."""

from __future__ import annotations

import random
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from harness.reference.blueprint import Service
from harness.reference.health import COMPONENTS
from harness.reference.streams import events, last_event_id

GAUGES = {
    "streams": "Streams that are open now.",
    "sockets": "ZeroMQ sockets that are open now.",
    "contexts": "Private ZeroMQ contexts that are open now.",
}
COUNTERS = ("started", "finished", "failed", "timeouts", "refused")
BREAKER = ("closed", "half-open", "open")
PAGE = Path(__file__).with_name("static") / "dashboard.html"


def exposition(service: Service) -> str:
    """Open streams, sockets and contexts; checks by outcome; events sent; the state of the circuit breaker."""
    groups = service.counters.grouped()
    lines = []
    for group, text in GAUGES.items():
        name = f"reference_{group}_open"
        lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {groups[group]['open']}"]
    name = "reference_checks_total"
    lines += [f"# HELP {name} Health checks by outcome.", f"# TYPE {name} counter"]
    lines += [f'{name}{{outcome="{outcome}"}} {groups["checks"][outcome]}' for outcome in COUNTERS]
    name = "reference_events_total"
    lines += [f"# HELP {name} Events sent.", f"# TYPE {name} counter", f"{name} {groups['events']['sent']}"]
    name = "reference_breaker_state"
    lines += [f"# HELP {name} 1 for the state of the circuit breaker.", f"# TYPE {name} gauge"]
    now = getattr(service.health.admission, "state", "closed")
    lines += [f'{name}{{state="{state}"}} {int(state == now)}' for state in BREAKER]
    return "\n".join(lines) + "\n"


class StreamRoute:
    """An SSE endpoint as an ASGI application, so that middleware can wrap it."""

    def __init__(self, service: Service, kind: str, interval: float, rng: random.Random) -> None:
        self.service = service
        self.kind = kind
        self.interval = interval
        self.rng = rng

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One client's stream."""
        request = Request(scope)
        content = events(
            self.kind,
            self.service.health,
            self.service.streams,
            interval=self.interval,
            rng=self.rng,
            last_id=last_event_id(request),
            padding=self.service.blueprint.payload_padding,
        )
        blueprint = self.service.blueprint
        await blueprint.respond(content, blueprint.settings.keep_alive)(scope, receive, send)


def application(service: Service) -> Starlette:
    """``/`` (redirects to the page), ``/dashboard`` (page), ``/dashboard/sse``, ``/system/status/sse`` (streams),
    ``/api/dashboard/data`` (asks, then answers), ``/api/system/status`` (answers from what is known, so
    that readiness never waits for the broker), ``/components/NAME/health`` (stands in for the
    components' own HTTP endpoints), ``/healthz`` (the process answers), ``/readyz`` (503 while every component is
    unhealthy), ``/metrics`` (Prometheus text) and ``/debug/counters``."""
    settings = service.blueprint.settings
    rng = random.Random(settings.seed)
    page = PAGE.read_text(encoding="utf-8")
    components = {question.component for question in COMPONENTS}

    async def dashboard(_: Request) -> Response:
        return HTMLResponse(page)

    async def dashboard_data(_: Request) -> Response:
        await service.health.ask_all("dashboard")
        return JSONResponse(service.health.dashboard())

    async def system_status(_: Request) -> Response:
        return JSONResponse(service.health.status())

    async def component_health(request: Request) -> Response:
        name = request.path_params["name"]
        known = name in components
        return JSONResponse({"status": "healthy" if known else "unknown"}, 200 if known else 404)

    async def front(_: Request) -> Response:
        return RedirectResponse("/dashboard")

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        overall = service.health.overall()
        return JSONResponse({"status": overall}, 503 if overall == "unhealthy" else 200)

    async def metrics(_: Request) -> Response:
        return PlainTextResponse(exposition(service), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def debug_counters(_: Request) -> Response:
        return JSONResponse(service.counters.grouped() | {"history": {"kept": len(service.health.history)}})

    def stream(kind: str, interval: float) -> ASGIApp:
        route: ASGIApp = StreamRoute(service, kind, interval, rng)
        for wrap in service.blueprint.middleware.values():
            route = wrap(route)
        return route

    return Starlette(
        routes=[
            Route("/", front),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Route("/dashboard", dashboard),
            Route("/dashboard/sse", stream("dashboard", settings.dashboard_interval), methods=["GET"]),
            Route("/system/status/sse", stream("status", settings.status_interval), methods=["GET"]),
            Route("/api/dashboard/data", dashboard_data),
            Route("/api/system/status", system_status),
            Route("/components/{name}/health", component_health),
            Route("/debug/counters", debug_counters),
        ]
    )
