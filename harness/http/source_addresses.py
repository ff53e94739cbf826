"""Local addresses to connect from: parses a pool of them, and checks that this machine has them."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

from harness.core.errors import ConfigError
from harness.http.endpoint import Endpoint
from harness.http.route import Route


def source_pool(text: str) -> tuple[str, ...]:
    """``"127.0.0.2-127.0.0.9"``, ``"127.0.1.0/28"`` or single addresses, by comma. Raises ConfigError.

    At most 65,536 addresses: each gives about 28,000 ports (ip_local_port_range).
    """
    found: list[str] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        try:
            if "/" in part:
                hosts = ipaddress.ip_network(part, strict=False)
                if hosts.num_addresses > 65_536:
                    raise ValueError(f"{hosts.num_addresses} addresses are too many")
                # Without the network and the broadcast address of the range.
                found.extend(map(str, hosts.hosts()))
            elif "-" in part:
                low, high = (ipaddress.ip_address(end.strip()) for end in part.split("-", 1))
                if low.version != high.version or not 0 <= int(high) - int(low) < 65_536:
                    raise ValueError("the range is empty or too long")
                found.extend(str(low + offset) for offset in range(int(high) - int(low) + 1))
            else:
                found.append(str(ipaddress.ip_address(part)))
        except ValueError as error:
            raise ConfigError(
                f"source addresses {part!r}: {error}; expected an address, FROM-TO, or NET/BITS"
            ) from None
    return tuple(found)


def check_local(sources: Iterable[str]) -> None:
    """Raises ConfigError for an address that no socket of this machine may be bound to."""
    for source in sources:
        with socket.socket(_family(source)) as sock:
            try:
                sock.bind((source, 0))
            except OSError as error:
                raise ConfigError(
                    f"source address {source}: {error.strerror}; expected one of this machine's (ip address)"
                ) from None


def check_reach(sources: Iterable[str], endpoint: Endpoint, route: Route) -> None:
    """Raises ConfigError for an address whose family is none of the route's."""
    families = {address.family for address in route.addresses}
    for source in sources:
        if _family(source) not in families:
            there = ", ".join(sorted({str(address.sockaddr[0]) for address in route.addresses}))
            where = f"the Unix socket {endpoint.unix}" if endpoint.unix else f"{endpoint.host} ({there})"
            raise ConfigError(
                f"source address {source} cannot reach {where}; expected addresses of the same family"
            )


def _family(source: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in source else socket.AF_INET
