"""The secrets of this command, which are removed from everything that it prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.core.redact import Redactor, is_secret
from harness.core.secret_values import secrets_in_header, secrets_in_words

HEADER = "--header"

_known = Redactor()


def known() -> Redactor:
    """Everything known so far."""
    return _known


def remember(values: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
    """Add secrets. Raises ConfigError for a pattern that is not a regular expression."""
    global _known
    _known = _known.with_more(values, patterns)


def of_arguments(argv: Sequence[str]) -> None:
    """Reset to the secrets on a command line: an error may quote any argument before it is parsed."""
    global _known
    values = list(secrets_in_words(argv))
    for before, word in zip(("", *argv), argv, strict=False):
        # A header comes as one word, "--header=NAME: VALUE", or as the word after "--header".
        if not (before == HEADER or word.startswith(f"{HEADER}=")):
            continue
        name, colon, value = word.removeprefix(f"{HEADER}=").partition(":")
        if colon and is_secret(name.strip()):
            values += secrets_in_header(name.strip(), value.strip())
    _known = Redactor(tuple(values))


def hidden(text: str) -> str:
    """The text without secrets."""
    return _known.text(text)
