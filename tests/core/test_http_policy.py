"""Redirects, cookies and URLs as values, without a socket."""

from __future__ import annotations

import pytest

from harness.core.errors import ConfigError
from harness.http.cookies import Cookies
from harness.http.endpoint import Endpoint
from harness.http.redirect import MAX_REDIRECTS, RedirectRefused, redirected
from harness.http.request import Request
from harness.http.response import MALFORMED, ResponseParser

URL = "https://me:pw@a.example:8443/app/page?q=1"
HEADERS = {"X-Token": "k", "Content-Type": "text/plain", "User-Agent": "u", "Cookie": "c=1", "Host": "h"}


def asked(method: str = "GET", body: bytes | None = None, url: str = URL) -> Request:
    return Request(Endpoint.parse(url), method, HEADERS, body)


@pytest.mark.parametrize(
    "location",
    [
        "http://a.example:8443/x",  # another scheme: TLS is given up
        "https://a.example/x",  # another port
        "https://b.a.example:8443/x",
        "https://a.example.:8443/x",
        "//b.example:8443/x",
        "https://me:pw@b.example/x",
        "https://a.example:8443@b.example/x",
    ],
)
def test_another_origin_gets_no_credential(location: str) -> None:
    sent = redirected(asked(), 302, location, 1)
    assert dict(sent.headers) == {"User-Agent": "u"}
    assert sent.endpoint.authorization == ""
    assert b"\r\nAuthorization" not in sent.encode()


@pytest.mark.parametrize(
    "location",
    ["/x", "x", "?q=2", "//a.example:8443/x", "HTTPS://A.EXAMPLE:8443/x", "https://o:o@a.example:8443/x"],
)
def test_the_same_origin_keeps_everything(location: str) -> None:
    sent = redirected(asked(), 302, location, 1)
    assert sent.headers == HEADERS
    assert sent.endpoint.authorization == asked().endpoint.authorization != ""


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [
        (301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (303, "PUT", "GET"),
        (301, "PUT", "PUT"), (302, "DELETE", "DELETE"), (303, "HEAD", "HEAD"), (307, "POST", "POST"),
        (308, "PUT", "PUT"),
    ],
)  # fmt: skip
def test_the_method_after_a_redirect(status: int, method: str, becomes: str) -> None:
    body = None if method in ("HEAD", "DELETE") else b"b"
    sent = redirected(asked(method, body), status, "/x", 1)
    assert sent.method == becomes
    assert sent.body == (body if becomes == method else None)
    assert ("Content-Type" in sent.headers) == (becomes == method)
    if becomes in ("PUT", "POST", "DELETE"):
        with pytest.raises(RedirectRefused, match=f"answers {status} to a {method} and names another origin"):
            redirected(asked(method, body), status, "https://b.example/x", 1)


def test_the_limit_of_redirects() -> None:
    assert redirected(asked(), 302, "/x", MAX_REDIRECTS).endpoint.target == "/x"
    with pytest.raises(RedirectRefused, match="redirects without end"):
        redirected(asked(), 302, "/x", MAX_REDIRECTS + 1)


def test_a_unix_socket_stays_itself_and_no_redirect_leads_into_one() -> None:
    unix = asked(url="http+unix://%2Frun%2Fa.sock/e")
    assert redirected(unix, 302, "http://localhost/x", 1).endpoint.unix == "/run/a.sock"
    assert redirected(unix, 302, "x", 1).endpoint.unix == "/run/a.sock"
    away = redirected(unix, 302, "http://localhost:81/x", 1)
    assert (away.endpoint.unix, dict(away.headers)) == ("", {"User-Agent": "u"})
    for start in (unix, asked()):
        with pytest.raises(RedirectRefused, match="Unix socket"):
            redirected(start, 302, "http+unix://%2Frun%2Fdocker.sock/x", 1)


@pytest.mark.parametrize(
    ("line", "url", "sent"),
    [
        ("__Host-a=1; Secure; Path=/", "https://h/", "__Host-a=1"),
        ("__Host-a=1; Secure; Path=/; Domain=h", "https://h/", ""),
        ("__Host-a=1; Secure; Path=/x", "https://h/x", ""),
        ("__host-a=1; Path=/", "https://h/", ""),
        ("__Secure-a=1; Path=/", "https://h/", ""),
        ("__Secure-a=1; Secure", "http://h/", ""),
        ("a=1; Secure", "http://h/", ""),
        ("a=1; Domain=other", "http://h/", ""),
        ("a=1; Domain=.h", "http://h/", "a=1"),
        ("a=\x01", "http://h/", ""),
        ("a=" + "x" * 5000, "http://h/", ""),
    ],
)
def test_a_cookie_is_accepted_or_refused_by_its_domain_and_path(line: str, url: str, sent: str) -> None:
    jar = Cookies(lambda: 0.0)
    jar.store([line], Endpoint.parse(url))
    assert jar.header(Endpoint.parse(url)) == sent


def test_cookies_stay_with_their_host() -> None:
    jar = Cookies(lambda: 0.0)
    jar.store(["fixed=1; Secure; Path=/"], Endpoint.parse("http://h/"))
    assert jar.header(Endpoint.parse("https://h/")) == ""  # plain HTTP sets no secure cookie
    jar.store(["s=1; Secure; Path=/"], Endpoint.parse("https://h/"))
    jar.store(["s=2; Path=/", "u=2; Path=/"], Endpoint.parse("http://h/"))
    assert jar.header(Endpoint.parse("https://h/")) == "s=1; u=2"  # plain HTTP replaces no secure cookie
    assert jar.header(Endpoint.parse("http://h/")) == "u=2"
    jar.store(["x=1; Path=/"], Endpoint.parse("http+unix://%2Fa.sock/"))
    assert "x=1" not in jar.header(Endpoint.parse("http://localhost/"))
    assert jar.header(Endpoint.parse("http+unix://%2Fb.sock/")) == ""
    assert jar.header(Endpoint.parse("http+unix://%2Fa.sock/y")) == "x=1"


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1]x/", "http://[v1.x]/", "http://%00/", "http://.../", f"http://{'a' * 64}/", "http://a b/",
        f"http://{'a.' * 128}/", "http://a,b/", "http://[1.2.3.4]/", "http://::1/", "http+unix://%2F" + "a" * 107,
    ],
)  # fmt: skip
def test_a_host_that_cannot_exist_is_named(url: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Endpoint.parse(url)


def test_an_error_hides_the_user_info() -> None:
    with pytest.raises(ConfigError) as error:
        Endpoint.parse("http://me:s3cret@h:99999/")
    assert "s3cret" not in str(error.value)
    assert "s3cret" not in Endpoint.parse("http://me:s3cret@h/").url


@pytest.mark.parametrize(
    "url", ["http://h/", "https://h:444/a?b=c", "http://[fe80::1%25lo]:80/", "http+unix://%2Fr%2Fa.sock/e"]
)
def test_a_url_is_parsed_and_written_unchanged(url: str) -> None:
    assert Endpoint.parse(Endpoint.parse(url).url) == Endpoint.parse(url)


class Seen:
    """Records what a parser calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def informational_received(self) -> None:
        self.calls.append("informational")

    def head_complete(self) -> None:
        self.calls.append("head")

    def body_received(self, body: bytes) -> None:
        self.calls.append(body.decode())

    def response_complete(self) -> None:
        self.calls.append("complete")


HINTS = (
    b"HTTP/1.1 103 Early Hints\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\nLocation: /x\r\n"
    b"Retry-After: 9\r\nSet-Cookie: a=1\r\n\r\n"
)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_nothing_of_an_informational_response_is_kept(step: int) -> None:
    seen = Seen()
    parser = ResponseParser(seen)
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + HINTS
    for start in range(0, len(interim), step):
        parser.http.feed_data(interim[start : start + step])
    assert (parser.status, seen.calls) == (0, ["informational"] * 3)
    parser.http.feed_data(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert seen.calls[3:] == ["head", "ok", "complete"]
    assert (parser.status, parser.content_type, parser.content_encoding) == (200, b"", b"")
    assert (parser.location, parser.retry_after, parser.set_cookie) == ("", "", ())


def test_trailers_are_no_headers() -> None:
    parser = ResponseParser(Seen())
    parser.http.feed_data(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nSet-Cookie: a=1\r\nLocation: /x\r\n\r\n"
    )
    assert (parser.set_cookie, parser.location, parser.framed) == ((), "", True)


def test_answers_that_are_not_http_are_malformed() -> None:
    with pytest.raises(MALFORMED):
        ResponseParser(Seen()).http.feed_data(b"SSH-2.0-OpenSSH\r\n")
