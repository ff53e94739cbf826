"""The service's own counts in Prometheus' text format."""

from __future__ import annotations

from harness.reference.blueprint import Service

GAUGES = {
    "streams": "Streams that are open now.",
    "sockets": "ZeroMQ sockets that are open now.",
    "contexts": "Private ZeroMQ contexts that are open now.",
}
COUNTERS = ("started", "finished", "failed", "timeouts", "refused")
BREAKER = ("closed", "half-open", "open")


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
