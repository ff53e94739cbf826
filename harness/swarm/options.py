"""What every locustfile with an SseUser understands on its command line."""

from __future__ import annotations

from typing import Any

from locust import events


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: Any) -> None:
    group = parser.add_argument_group("Server-sent events")
    group.add_argument(
        "--stall-after",
        type=float,
        default=None,
        env_var="SSE_STALL_AFTER",
        metavar="SECONDS",
        help="A stream silent for so long, without even a comment, has failed [default: of its user, 60]",
    )
    group.add_argument(
        "--source-addresses",
        default="",
        env_var="SSE_SOURCE_ADDRESSES",
        metavar="POOL",
        help="Local addresses to connect from in turn: 127.0.0.2-127.0.0.200, or NET/BITS",
    )
    group.add_argument(
        "--insecure", action="store_true", env_var="SSE_INSECURE", help="Do not verify certificates"
    )
    group.add_argument(
        "--ca", default="", env_var="SSE_CA", metavar="FILE", help="PEM file of certificate authorities"
    )
