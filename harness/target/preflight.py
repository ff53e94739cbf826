"""The preflight request: opens one stream before the load, and describes any problem with it in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.http import causes
from harness.http.client import Client, RequestFailed, Response
from harness.http.endpoint import Endpoint
from harness.http.redirect import RedirectRefused
from harness.http.request import Request
from harness.http.route import Router

# The next steps that several problems share.
EXPECT = "to guard this response itself, pass --expect {}"
CHECK = "request the URL with curl -N -i and compare"
# Schemes whose credentials are in the header Authorization (the registry of RFC 9110, 16.4.1).
HTTP_LOGINS = frozenset({"basic", "bearer", "digest", "dpop", "hoba", "mutual", "negotiate", "vapid"})
REDIRECT = "pass the URL that the redirects should lead to; often a trailing slash, a host name or a login"


@dataclass(frozen=True, slots=True)
class Preflight:
    """The result of the preflight request. problem: None when the service streams as expected. advice: the next step.
    stalls: no response came in time, which is an outcome of its own and no reason to stop."""

    status: int | None
    content_type: str
    problem: str | None
    advice: str = CHECK
    stalls: bool = False


def preflight(
    url: str,
    *,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    method: str = "GET",
    body: bytes | None = None,
    router: Router | None = None,
    stream: bool = True,
    expect: frozenset[int] | None = None,
) -> Preflight:
    """Open the stream once and check the response. timeout: seconds for everything, redirects included.

    Raises ConfigError for an invalid URL, method or header, and for authorities of the router that cannot be read.
    """
    request = Request(Endpoint.parse(url), method, headers or {}, body)
    asked = request.endpoint.url
    client = Client(router or Router(), timeout=timeout)
    try:
        with client.open(request) as response:
            kind, status = response.content_type, response.status
            where = asked
            if response.endpoint != request.endpoint:
                where = f"{asked} (redirected to {response.endpoint.url})"
            if expect is not None and status in expect and status != 200:
                return Preflight(status, kind, None)
            if expect is not None and status not in expect:
                problem = f"{where} answers {status}; expected one of the statuses given with --expect"
                return Preflight(
                    status, kind, problem, f"pass --expect {status}, or leave the option out for 200"
                )
            refused = _login(where, status, response.challenge) or _refusal(where, response, stream=stream)
            if refused:
                return Preflight(status, kind, *refused)
            # Any byte is enough, a comment too: the first event may be long in coming.
            if stream and not response.has_body():
                problem = (
                    f"{where} answers 200 text/event-stream and closes the stream at once, without a byte"
                )
                advice = (
                    "check its log for why the handler returns; a stream stays open until its client leaves"
                )
                return Preflight(status, kind, problem, advice)
            return Preflight(status, kind, None)
    except RedirectRefused as error:
        return Preflight(error.status, "", f"{asked} {error}", REDIRECT)
    except RequestFailed as error:
        return _failure(asked, error)


def _failure(asked: str, error: RequestFailed) -> Preflight:
    """The result when no response came. After a redirect the problem concerns the endpoint that it named."""
    place = error.endpoint.url
    moved = place != asked
    subject = f"{asked} redirects to {place}, which" if moved else asked
    advice = CHECK if not moved else REDIRECT
    if error.cause == causes.TIMEOUT and error.stage == "TLS handshake":
        problem = f"{subject} did not answer the TLS handshake: {error}"
        return Preflight(None, "", problem, "give http:// if the service does not use TLS")
    if error.cause == causes.TIMEOUT:
        whole = f"{asked} redirects to {place}" if moved else asked
        return Preflight(error.status, "", f"{whole}: {error}", stalls=True)
    if error.cause in (causes.CERTIFICATE, causes.TLS):
        advice = "pass --ca FILE, --insecure for a self-signed certificate, or http:// if it does not use TLS"
        return Preflight(
            None, "", f"{subject}: {error}" if not moved else f"{subject} fails: {error}", advice
        )
    if error.cause == causes.REFUSED:
        problem = f"{subject} refuses connections; expected the service to listen there"
        return Preflight(None, "", problem, advice)
    if error.stage == "connection":
        return Preflight(None, "", f"{subject} cannot be reached: {error}", advice)
    if not moved:
        advice = "check that --url names its HTTP port, and https:// if it uses TLS"
    return Preflight(error.status, "", f"{subject} does not respond in HTTP ({error})", advice)


def _login(where: str, status: int, challenge: str) -> tuple[str, str] | None:
    """The problem of a response that asks for a login, and the next step; None for any other."""
    if status not in (401, 403):
        return None
    option = "pass --header 'Authorization: …' or --header 'Cookie: …'"
    scheme = challenge.partition(" ")[0]
    if challenge and scheme.lower() not in HTTP_LOGINS:
        # Only the service knows which header carries a scheme of its own.
        option = f"pass the header that it expects for {scheme} (--header 'NAME: VALUE')"
    asks = f" (WWW-Authenticate: {challenge})" if challenge else ""
    return f"{where} answers {status}: it needs a login{asks}", f"{option}; {EXPECT.format(status)}"


def _refusal(where: str, response: Response, *, stream: bool) -> tuple[str, str] | None:
    """The problem of any other response, and the next step; None if there is none."""
    status, kind, retry_after = response.status, response.content_type, response.retry_after
    if status in (429, 503):
        after = f", Retry-After {retry_after}" if retry_after else ""
        advice = (
            f"if it is starting up, pass --ready a URL that fails until it is up; if it limits rates, pass "
            f"--source-addresses; {EXPECT.format(status)}"
        )
        return f"{where} answers {status}{after}: rate limited or not available; expected 200", advice
    if status == 404:
        return (
            f"{where} answers 404: no such path",
            f"pass --url with the path of the stream; {EXPECT.format(404)}",
        )
    if status == 405:
        allowed = f" (Allow: {response.allow})" if response.allow else ""
        return (
            f"{where} answers 405: another method is expected{allowed}",
            f"pass --method, and --body if the method needs one; {EXPECT.format(405)}",
        )
    if status >= 500:
        return (
            f"{where} answers {status}: it fails by itself; expected 200",
            f"request it with curl -N -i, and check the service's log; {EXPECT.format(status)}",
        )
    if status >= 400 or (stream and status != 200):
        return (
            f"{where} answers {status}; expected 200",
            f"{CHECK}; {EXPECT.format(status)}" if status >= 400 else CHECK,
        )
    if stream and kind.lower() != "text/event-stream":
        page = kind == "text/html"
        what = "a page (text/html, perhaps a login)" if page else kind or "no content type"
        advice = "pass --url with the path of the stream, or --mode request to guard plain HTTP"
        return f"{where} answers {what} instead of a stream; expected text/event-stream", advice
    return None
