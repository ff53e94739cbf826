"""Exact secret values in what a user gave: URLs, a command line, headers, a body. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

from harness.core.redact import MAX_VALUES, MIN_EMBEDDED, MIN_SECRET, is_plain_name, is_secret

ALWAYS_SECRET = 16  # characters from which on any text counts as a secret
MAX_BODY = 1 << 20  # characters of a body that are read as JSON or as a form


def secrets_in_url(url: str) -> Iterator[str]:
    """User, password and the values of secret-looking query parameters, as written and decoded."""
    try:
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
    except ValueError:
        return
    if user:
        yield from (user, unquote(user))
        # The password; a name without one may be a token, as in https://TOKEN@github.com.
        for part in user.split(":", 1)[1:] or [user]:
            yield from (part, unquote(part))
    for pair in re.split("[&;]", parts.query):
        name, _, text = pair.partition("=")
        if is_secret(unquote(name)):
            yield from (text, unquote(text))


def secrets_in_words(argv: Sequence[str]) -> Iterator[str]:
    """Values of secret-looking options (``--api-key X``, ``--token=X``), variables (``PASSWORD=x``) and URLs."""
    value_follows = False  # the word before was a secret-looking option without a value
    for word in argv:
        if value_follows and not word.startswith("--"):
            yield from _possible_secret(word)
            value_follows = False
            continue
        name, equals, text = word.partition("=")
        if equals and is_plain_name(name) and is_secret(name):
            yield from _possible_secret(text)
        value_follows = word.startswith("-") and not equals and is_secret(word)
        for address in re.findall(r"[a-zA-Z][\w+.\-]{0,30}://\S+", word):
            yield from secrets_in_url(address)


def secrets_in_header(name: str, text: str) -> Iterator[str]:
    """The value of a header, and the parts in which others may quote it: ``Bearer X`` also as ``X``."""
    yield text
    parts = text.split(None, 1)
    if len(parts) == 2 and re.fullmatch(r"[A-Za-z][\w\-]*", parts[0]):
        yield parts[1]
    if "cookie" in name.lower():
        for pair in text.split(";"):
            yield pair.partition("=")[2].strip()


def secrets_in_body(body: str) -> Iterator[str]:
    """The body of a request as a whole, its lines, and the texts in it that may be secrets (JSON or a form)."""
    yield from _possible_secret(body.strip())
    lines = body.splitlines()[:MAX_VALUES]
    if len(lines) > 1:
        yield from (piece for line in lines for piece in _possible_secret(line.strip()))
    try:
        data = json.loads(body[:MAX_BODY])
    # A body that is not JSON may be a form; a form has one line.
    except (ValueError, RecursionError):
        if "=" in body and "\n" not in body.strip():
            yield from (
                secret
                for _, text in parse_qsl(body[:MAX_BODY], max_num_fields=None)
                for secret in _possible_secret(text)
            )
        return
    # A stack instead of recursion: the nesting of a body is not limited.
    waiting = [data]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            for name, inner in part.items():
                if is_secret(name) and isinstance(inner, str | int) and not isinstance(inner, bool):
                    yield str(inner)
                waiting.append(inner)
        elif isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, str):
            yield from _possible_secret(part)


def _possible_secret(text: str) -> Iterator[str]:
    """The text if it may be a secret. An ordinary word such as "status" is none: replacing it would make reports
    useless."""
    unusual = re.search(r"\d|[^\w\s./:\-]", text) or (
        len(text) >= MIN_EMBEDDED and text.isalnum() and not text.islower()
    )
    if len(text) >= ALWAYS_SECRET or (len(text) >= MIN_SECRET and unusual):
        yield text
