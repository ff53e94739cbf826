"""Requests to Locust's web UI: the accepted hosts and origins, and the headers of its answers."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from harness.core.web_origin import is_own_host, is_same_origin
from harness.swarm.web_guard import WebGuard

HERE = "127.0.0.1:8089"


@pytest.mark.parametrize(
    "header",
    [
        HERE,
        "127.0.0.1",
        "localhost:8089",
        "LOCALHOST",
        "ui.localhost:1",
        "[::1]:8089",
        "10.0.0.5:8089",
        "box",
        "Box:1",
    ],
)
def test_addresses_localhost_and_own_names_are_own_hosts(header: str) -> None:
    assert is_own_host(header, {"box"})


@pytest.mark.parametrize(
    "header",
    ["", "evil.example", "evil.example:8089", "127.0.0.1.evil.example", "localhost.evil.example", "notlocalhost",
     "boxes", "127.0.0.1@evil.example", "evil.example/127.0.0.1", "[::1", "127.0.0.1:port", "box evil", "*"],
)  # fmt: skip
def test_any_other_name_is_refused(header: str) -> None:
    assert not is_own_host(header, {"box"})


@pytest.mark.parametrize(
    ("origin", "site", "same"),
    [
        (None, None, False),
        (f"http://{HERE}", None, True),
        (f"https://{HERE}", None, True),
        (None, "same-origin", True),
        (f"http://{HERE}", "same-origin", True),
        ("http://127.0.0.1:9999", None, False),
        ("http://evil.example", None, False),
        (f"http://{HERE}.evil.example", None, False),
        ("null", None, False),
        ("", None, False),
        (f"file://{HERE}", None, False),
        (None, "same-site", False),
        (None, "cross-site", False),
        (None, "none", False),
        (f"http://{HERE}", "cross-site", False),
        ("http://evil.example", "same-origin", False),
    ],
)
def test_only_a_page_of_the_same_origin_counts_as_such(
    origin: str | None, site: str | None, same: bool
) -> None:
    assert is_same_origin(HERE, origin, site) is same


def application(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answers as Locust does: for every origin."""
    start_response(
        "200 OK",
        [("Content-Type", "text/plain"), ("Access-Control-Allow-Origin", "*"), ("access-control-x", "1")],
    )
    return [b"done"]


def request(
    method: str = "GET", path: str = "/", *, read_only: bool = False, **headers: str
) -> tuple[str, Any, str]:
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "HTTP_HOST": HERE,
        **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
    }
    seen: list[Any] = []
    guard = WebGuard(application, ("load.example",), read_only=read_only)
    body = b"".join(guard(environ, lambda *words: seen.extend(words)))
    return seen[0], dict(seen[1]), body.decode()


def test_no_answer_allows_another_origin_to_read_it() -> None:
    status, headers, body = request(path="/target", origin="http://evil.example")
    assert (status, headers, body) == ("200 OK", {"Content-Type": "text/plain"}, "done")


@pytest.mark.parametrize("path", ["/swarm", "/stop", "/stats/reset", "/user", "/base/stop/"])
@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE"])
def test_an_order_needs_a_page_of_this_server(method: str, path: str) -> None:
    assert request(method, path)[0] == "403 Forbidden"
    assert request(method, path, origin="http://evil.example")[0] == "403 Forbidden"
    assert request(method, path, sec_fetch_site="cross-site")[0] == "403 Forbidden"
    assert f"send the header Origin: http://{HERE}" in request(method, path)[2]
    assert request(method, path, origin=f"http://{HERE}")[0] == "200 OK"
    assert request(method, path, sec_fetch_site="same-origin")[0] == "200 OK"


def test_any_other_post_is_an_order_too() -> None:
    assert request("POST", "/whatever")[0] == "403 Forbidden"


def test_the_ui_of_a_run_takes_no_order_at_all() -> None:
    status, _, body = request("POST", "/swarm", read_only=True, origin=f"http://{HERE}")
    assert (status, "read-only" in body) == ("403 Forbidden", True)
    assert request("GET", "/stop", read_only=True, origin=f"http://{HERE}")[0] == "403 Forbidden"
    assert request("GET", "/stats/requests", read_only=True)[0] == "200 OK"


def test_a_rebound_host_name_reads_nothing() -> None:
    status, _, body = request(host="evil.example:8089")
    assert (status, "Host is 'evil.example:8089'" in body, "--allowed-host" in body) == (
        "403 Forbidden",
        True,
        True,
    )
    assert request(host="load.example")[0] == "200 OK"
    assert request(host=socket.gethostname())[0] == "200 OK"


@pytest.mark.parametrize(
    "header", ["localhost?a", "localhost#a", "127.0.0.1/a", "user@localhost", "localhost?a#b"]
)
def test_a_host_header_that_is_more_than_a_host_is_none(header: str) -> None:
    assert not is_own_host(header)
