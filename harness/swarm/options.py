"""The command-line options of every locustfile with an SseUser."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from locust import events

from harness.core.errors import ConfigError, OptionError
from harness.http.source_addresses import check_local, source_pool
from harness.http.tls import tls_context
from harness.swarm.transport import secure_forks

secure_forks()  # before Locust forks its workers, which it does after importing the locustfile


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}; expected seconds above 0, such as 60")
    return value


def _pool(text: str) -> str:
    try:
        check_local(source_pool(text))
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _authorities(text: str) -> str:
    try:
        if text:
            tls_context(insecure=False, ca=Path(text))
    except OptionError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error.text}") from None
    return text


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: Any) -> None:
    # Locust listens on every interface by default, although its page starts loads and its master accepts every worker.
    # Here that takes --web-host '*' or --master-bind-host '*'.
    parser.set_defaults(web_host="127.0.0.1", master_bind_host="127.0.0.1")
    group = parser.add_argument_group("Server-sent events")
    group.add_argument(
        "--stall-after",
        type=_seconds,
        default=None,
        env_var="SSE_STALL_AFTER",
        metavar="SECONDS",
        help="A stream that sends nothing for SECONDS, not even a comment, has failed [default: that of its user, 60]",
    )
    group.add_argument(
        "--source-addresses",
        type=_pool,
        default="",
        env_var="SSE_SOURCE_ADDRESSES",
        metavar="POOL",
        help="Local addresses to connect from in turn: 127.0.0.2-127.0.0.200, or NET/BITS",
    )
    group.add_argument(
        "--insecure", action="store_true", env_var="SSE_INSECURE", help="Do not verify certificates"
    )
    group.add_argument(
        "--ca",
        type=_authorities,
        default="",
        env_var="SSE_CA",
        metavar="FILE",
        help="PEM file of certificate authorities",
    )
