"""The secrets of a run, collected from its request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.core.redact import Redactor, is_secret
from harness.core.secret_values import secrets_in_body, secrets_in_header, secrets_in_url, secrets_in_words


def redactor(
    *,
    urls: Sequence[str] = (),
    command: Sequence[str] | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    secrets: Sequence[str] = (),
    patterns: Sequence[str] = (),
) -> Redactor:
    """A redactor for what the run stores. secrets: exact values known otherwise. patterns: of the user. Raises
    ConfigError for a pattern that is not a regular expression."""
    values = [*secrets]
    for url in urls:
        values += secrets_in_url(url)
    # A command may contain a URL with a password, or an option such as --token.
    values += secrets_in_words(command or ())
    for name, value in (headers or {}).items():
        # A header such as Accept is no secret. Replacing its value would make the report unreadable.
        if is_secret(name):
            values += secrets_in_header(name, value)
    if body:
        values += secrets_in_body(body.decode(errors="replace"))
    # A URL and a command line may have the same secret, which is then searched for only once.
    return Redactor(tuple(dict.fromkeys(values)), tuple(patterns))
