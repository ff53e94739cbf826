"""What the preflight request says of a response that refuses it."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from harness.target.preflight import preflight
from tests.edges.servers.sse_scripted import Connection, Scripted, serve


def refusing(head: bytes) -> AbstractContextManager[Scripted]:
    """A server whose only response is this head."""

    def script(it: Connection) -> None:
        it.send(b"HTTP/1.1 " + head + b"\r\nContent-Length: 0\r\n\r\n")

    return serve(script)


@pytest.mark.parametrize(
    ("head", "problem", "advice"),
    [
        (b"401 No", "it needs a login", "--header 'Authorization: "),
        (b"401 No\r\nWWW-Authenticate: Bearer a=b", "WWW-Authenticate: Bearer a=b", "--header 'Authorization: "),
        (b"401 No\r\nWWW-Authenticate: ApiKey", "WWW-Authenticate: ApiKey", "for ApiKey (--header 'NAME: VALUE')"),
        (b"401 No\r\nWWW-Authenticate: Basic\r\nAllow: GET", "(WWW-Authenticate: Basic)", "--header 'Authorization: "),
        (b"405 No\r\nAllow: POST\r\nWWW-Authenticate: Basic", "(Allow: POST)", "pass --method"),
        (b"403 No\r\nAllow: GET", "it needs a login", "--header 'Cookie: "),
        (b"405 No\r\nAllow: POST, PUT", "another method is expected (Allow: POST, PUT)", "pass --method"),
        (b"405 No", "another method is expected", "pass --method"),
    ],
)  # fmt: skip
def test_what_the_response_asks_for_is_named(head: bytes, problem: str, advice: str) -> None:
    """A service that wants a key in a header of its own was told to get an Authorization or a Cookie."""
    with refusing(head) as server:
        seen = preflight(server.url + "/e", timeout=5)
    assert seen.problem is not None
    assert problem in seen.problem
    assert advice in seen.advice
    assert f"--expect {seen.status}" in seen.advice


def test_a_challenge_is_escaped_and_cut() -> None:
    with refusing(b"401 No\r\nWWW-Authenticate: \xff\xe9Key " + b"a" * 500) as server:
        seen = preflight(server.url + "/e", timeout=5)
    assert seen.problem is not None
    assert "(WWW-Authenticate: %FF%E9Key aaa" in seen.problem
    assert seen.problem.isprintable()
    assert seen.problem.count("a") < 100
