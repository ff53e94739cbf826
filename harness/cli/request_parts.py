"""Headers and the body of the requests: given on the command line, or read from a file or the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.core.errors import ConfigError
from harness.core.redact import is_secret
from harness.core.secret_values import secrets_in_body, secrets_in_header
from harness.process.environment import forget
from harness.process.read import read_bounded

MAX_BODY = 16 << 20  # bytes
MAX_HEADERS = 64 << 10  # bytes of a file of headers
Headers = dict[str, str]


def read_headers(given: Sequence[str], variables: Sequence[str]) -> tuple[Headers, list[str]]:
    """The headers by name, and the secrets among their values.

    given: ``Name: value``, or ``@FILE`` with one of these a line. variables: names of environment variables that hold
    the same. Everything read from a file or a variable is a secret; on the command line the name of a header decides.
    The variables are removed from the environment of this process. Raises ConfigError, which never quotes a value.
    """
    found: Headers = {}
    secrets: list[str] = []
    for number, text in enumerate(given, start=1):
        if text.startswith("@"):
            lines = _lines_of(text)
            pairs = [_pair(line, f"--header {text}, line {at}") for at, line in lines]
        else:
            pairs = [_pair(text, f"--header, number {number}")]
        for name, value in pairs:
            found[name] = value
            if text.startswith("@") or is_secret(name):
                secrets += secrets_in_header(name, value)
    for variable in variables:
        for name, value in _of_variable(variable):
            found[name] = value
            secrets += secrets_in_header(name, value)
    for variable in variables:
        forget(variable)
    return found, secrets


def read_body(text: str | None) -> tuple[bytes | None, list[str]]:
    """The body itself, or with ``@FILE`` the file's bytes; and the secrets in it. Raises ConfigError."""
    if text is None:
        return None, []
    if not text.startswith("@"):
        return text.encode(errors="surrogateescape"), list(secrets_in_body(text))
    body = read_bounded(
        _path(text, "--body"), MAX_BODY, option=f"--body {text}", expected="@FILE with the request's body"
    )
    return body, list(secrets_in_body(body.decode(errors="replace")))


def _lines_of(text: str) -> list[tuple[int, str]]:
    data = read_bounded(
        _path(text, "--header"),
        MAX_HEADERS,
        option=f"--header {text}",
        expected="@FILE with a 'Name: value' in each line",
    )
    lines = data.decode("latin-1").splitlines()
    found = [(at, line) for at, line in enumerate(lines, start=1) if line.strip() and line[:1] != "#"]
    if not found:
        raise ConfigError(f"--header {text}: no header in it; expected a 'Name: value' in each line")
    return found


def _of_variable(variable: str) -> Iterator[tuple[str, str]]:
    text = os.environ.get(variable)
    if text is None:
        raise ConfigError(
            f"--header-env {variable}: not set; expected an environment variable that holds 'Name: value'"
        )
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ConfigError(f"--header-env {variable}: empty; expected 'Name: value' in it")
    for line in lines:
        yield _pair(line, f"--header-env {variable}")


def _pair(text: str, where: str) -> tuple[str, str]:
    """Name and value. The error has only the place, because the text may be a token without a name."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or any(char in text for char in "\r\n"):
        raise ConfigError(f"{where}: expected 'Name: value', without line breaks")
    return name.strip(), value.strip()


def _path(text: str, option: str) -> Path:
    if text == "@":
        raise ConfigError(f"{option} @: no file named; expected @FILE")
    return Path("/dev/stdin" if text == "@-" else text[1:])
