"""Replace secrets in a text by ``***``. Pure: values in, text out; callers apply it where text is stored or printed.

Two kinds of secrets are replaced. Exact values that the user gave (headers, parts of a URL, options of the
service's command), wherever they appear. Values beside a name that looks secret (``token=…``, ``--api-key …``,
``"password": "…"``, ``Authorization: …``), wherever they come from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar
from urllib.parse import quote, quote_plus, unquote

from harness.core.errors import OptionError
from harness.core.texts import mapped

MASK = "***"
PLACEHOLDERS = ("", "…", "...")  # the harness's own advice writes headers like this
MIN_SECRET = 4  # characters: replacing a shorter value everywhere would make any text unreadable
MIN_EMBEDDED = 8  # characters from which a value is also replaced inside a longer word
MAX_SECRET = 4096  # characters of one exact value; a longer one is replaced line by line
MAX_VALUES = 2000  # exact values, each of which adds to the time that every text takes
MAX_PATTERN = 1000  # characters of one --redact

T = TypeVar("T")

# Words of a name, split at punctuation and at a change of case: X-Api-Key, apiKey and API_KEY have the same.
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_WORDS = frozenset((
    "auth", "oauth", "authn", "authz", "key", "keys", "apikey", "apikeys", "accesskey", "secretkey",
    "privatekey", "authkey", "pass", "passwd", "pwd", "pw", "passphrase", "passcode", "sig", "signature",
    "signatures", "sid", "sess", "session", "sessionid", "sessid", "phpsessid", "jsessionid", "cookie",
    "cookies", "jwt", "bearer", "otp", "totp", "csrf", "xsrf", "hmac",
))  # fmt: skip
# Parts of the joined words: client_secret_value, authorization and accesstoken hold one of these.
_SECRET_PARTS = (
    "token",
    "password",
    "passwd",
    "secret",
    "signature",
    "credential",
    "authoriz",
    "apikey",
    "cookie",
)
# Words after a secret one that make the name harmless: KeyError, key_count, auth-type.
_HARMLESS_ENDS = frozenset((
    "error", "errors", "exception", "count", "size", "length", "len", "type", "file", "path", "dir", "id",
    "ids", "name", "names", "url", "uri", "host", "port", "timeout", "ttl", "alive", "space", "board", "word",
    "words", "s", "ms", "seconds", "mode", "method", "scheme", "expires", "expiry",
))  # fmt: skip
# A single word before a colon is a secret only if it is nothing else: "key: 3" and "auth: ok" stay.
_BEFORE_COLON = frozenset((
    "authorization", "password", "passwd", "passphrase", "secret", "token", "apikey", "pwd", "jwt", "cookie",
    "credential", "credentials",
))  # fmt: skip

_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.\-]{0,30}://)[^\s/?#\"'<>]{1,1000}@")
_HEADER = re.compile(
    r"(?i)(?<![\w])((?:proxy-|www-)?authorization|set-cookie2?|cookie)(\\?[\"']?\s{0,3}[:=]\s{0,3}b?)"
    r"(?:(\\?[\"'])(.*?)(?:\3|$)|([^\r\n\"']+))"
)
# A name and what separates it from its value: name=, "name": , name => , and the pairs of ASGI: (b'name', b'value').
# A path before a line number (auth.py:12) and pytest's :: are no such names.
_NAME = re.compile(
    r"(?<![\w\-.])(-{0,2}[A-Za-z_][\w.\-]{0,200}(?:\[\w{0,40}\])?)"
    r"(\\?[\"']?\s{0,3}(?:=>|=|:(?!:|//))\s{0,3}|[\"']\s{0,3},\s{0,3}b?(?=[\"']))"
)
# Quoted, also within a quoted text; listed as Go does (Cookie:[sid=1]); or one word.
_VALUE = re.compile(
    r"\\\"(?:[^\"\\]|\\\\)*(?:\\\"|$)|\"(?:[^\"\\]|\\.)*(?:\"|$)|b?'(?:[^'\\]|\\.)*(?:'|$)|\[[^\]\r\n]*\]?"
    r"|[^\s&\"'<>;,){}\]\\]+"
)
_OPTION = re.compile(r"(?<!\S)(--?[A-Za-z][\w\-]{0,200})(\s+)(?!-)(\"[^\"]*\"|'[^']*'|\S+)")
_SCHEME = re.compile(
    r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=\-]{6,}|\b(basic\s+)(?=\S{0,400}[0-9=A-Z])[A-Za-z0-9+/]{8,}={0,2}"
)


# A Digest holds quotes, within which the value of a header would seem to end (RFC 7616).
_DIGEST = re.compile(
    r"(?i)\b(digest\s{1,3})\w{1,40}\s{0,3}=\s{0,3}(?:\\?\"[^\"\r\n]{0,1000}\"|[^\s,\"]{1,1000})"
    r"(?:\s{0,3},\s{0,3}\w{1,40}\s{0,3}=\s{0,3}(?:\\?\"[^\"\r\n]{0,1000}\"|[^\s,\"]{1,1000})){1,20}"
)
# A name may stand in percent-encoding, as in a redirect to ?next=%2Fx%3Ftoken%3Dabc.
_ENCODED = re.compile(
    r"(?i)(%(?:3f|26|2f)|[?&])((?:[\w.\-]|%[0-7][0-9a-f]){1,200}?)(=|%3d)((?:[^\s&\"'<>%]|%(?!26|3f))+)"
)


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Whether a query parameter, an option, a header or a variable of this name holds a secret.

    >>> [is_secret(name) for name in ("X-Api-Key", "accessToken", "KeyError", "keep-alive", "author")]
    [True, True, False, False, False]
    """
    # The end of a name says what it is, and a name of any length must not take long.
    words = [word.lower() for word in _WORDS.findall(name[-200:])]
    if not words:
        return False
    # Such an end makes the word before it harmless: key_id is no key. A session id is a secret, and so is a key that an
    # earlier word names.
    if (
        len(words) > 1
        and words[-1] in _HARMLESS_ENDS
        and "session" not in words[:-1]
        and "key" not in words[:-2]
    ):
        return False
    joined = "".join(words)
    return any(word in _SECRET_WORDS for word in words) or any(part in joined for part in _SECRET_PARTS)


@dataclass(frozen=True, slots=True)
class Redactor:
    """values: exact secrets. patterns: regular expressions of the user's own. Redacting twice changes nothing more."""

    values: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    _exact: re.Pattern[str] | None = field(init=False, repr=False, compare=False)
    _own: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_exact", _alternatives(self.values))
        object.__setattr__(self, "_own", tuple(map(_compiled, self.patterns)))

    def with_more(self, values: Iterable[str] = (), patterns: Iterable[str] = ()) -> Redactor:
        """A redactor with further secrets. Raises ConfigError for a pattern that is not a regular expression."""
        return Redactor(
            tuple(dict.fromkeys((*self.values, *values))), tuple(dict.fromkeys((*self.patterns, *patterns)))
        )

    def text(self, text: str) -> str:
        """One text, or several lines."""
        # Exact values come first, because later rules may mask a part of one. Each test for a character is far cheaper
        # than the pattern behind it, and most lines of a log have none.
        if self._exact:
            text = self._exact.sub(MASK, text)
        for pattern in self._own:
            text = pattern.sub(lambda match: MASK if match[0] else "", text)
        if "@" in text:
            text = _USERINFO.sub(rf"\1{MASK}@", text)
        if "%" in text:
            text = _ENCODED.sub(_mask_encoded, text)
        if "=" in text and "igest" in text.lower():
            text = _DIGEST.sub(lambda match: match[1] + MASK, text)
        if ":" in text or "=" in text or "," in text:
            text = _mask_named(_HEADER.sub(_mask_header, text))
        if "-" in text:
            text = _OPTION.sub(_mask_option, text)
        return _SCHEME.sub(lambda match: (match[1] or match[2]) + MASK, text)

    def words(self, argv: Sequence[str]) -> tuple[str, ...]:
        """A command line: as ``text``, and the argument after an option whose name looks secret."""
        shown: list[str] = []
        value_follows = False  # the word before was a secret-looking option without a value
        for word in argv:
            if value_follows and not word.startswith("--"):
                shown.append(MASK)
                value_follows = False
                continue
            name, equals, value = word.partition("=")
            value_follows = False
            if equals and is_plain_name(name) and is_secret(name):
                shown.append(f"{name}={MASK}" if value else word)
                continue
            value_follows = word.startswith("-") and not equals and is_secret(word)
            shown.append(self.text(word))
        return tuple(shown)

    def value(self, value: T) -> T:
        """Every text in a value: a record, a trial, a list of lines."""
        return mapped(value, self.text)


def _alternatives(values: Iterable[str]) -> re.Pattern[str] | None:
    forms: dict[str, None] = {}
    for value in values:
        if len(value) > MAX_SECRET:
            pieces = [
                value[:MAX_SECRET],
                *(line for line in value.splitlines()[:MAX_VALUES] if len(line) <= MAX_SECRET),
            ]
        else:
            pieces = [value]
        for piece in pieces:
            if len(piece.strip()) < MIN_SECRET or set(piece) <= set("*"):
                continue
            encoded = _as_bytes(piece)
            for form in (piece, quote(encoded), quote(encoded, safe=""), quote_plus(encoded), json.dumps(piece)[1:-1],
                         json.dumps(piece, ensure_ascii=False)[1:-1], repr(piece)[1:-1]):  # fmt: skip
                forms[form] = None
    if not forms:
        return None
    # The longest first: an alternation takes the first that matches, and a shorter value may begin a longer one.
    ordered = sorted(forms, key=lambda form: (-len(form), form))[:MAX_VALUES]
    return re.compile("|".join(_value_pattern(form) for form in ordered))


def _as_bytes(text: str) -> bytes:
    """UTF-8. An argument of a command line holds bytes that are not UTF-8 as lone surrogates."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="replace")


def _value_pattern(form: str) -> str:
    """The pattern of an exact value; a short one must be a word of its own."""
    escaped = re.escape(form)
    return escaped if len(form) >= MIN_EMBEDDED else rf"(?<![A-Za-z0-9]){escaped}(?![A-Za-z0-9])"


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        if len(pattern) > MAX_PATTERN:
            raise OptionError("redact", None, f"{len(pattern)} characters; expected at most {MAX_PATTERN}")
        return re.compile(pattern)
    except re.error as error:
        raise OptionError(
            "redact", pattern, f"{error}; expected a regular expression such as 'sk-[a-z0-9]+'"
        ) from None


def is_plain_name(text: str) -> bool:
    """Whether this may be the name of an option or a variable, as before an equals sign; a URL with a query is not."""
    return bool(re.fullmatch(r"-{0,2}[A-Za-z_][\w.\-]{0,200}", text))


def _mask_encoded(match: re.Match[str]) -> str:
    """A value whose name, or its equals sign, is percent-encoded."""
    before, name, equals, value = match.groups()
    if ("%" in name or equals != "=") and value != MASK and is_secret(unquote(name)):
        return f"{before}{name}{equals}{MASK}"
    return match[0]


def _mask_header(match: re.Match[str]) -> str:
    if (match[4] or match[5] or "").strip() in PLACEHOLDERS:
        return match[0]
    mark = match[3] or ""
    return f"{match[1]}{match[2]}{mark}{MASK}{mark}"


def _mask_named(text: str) -> str:
    """Mask the value beside each secret name. A value beside another name is searched for names as well."""
    pieces: list[str] = []
    done = 0
    for match in _NAME.finditer(text):
        name, separator = match.groups()
        if match.start() < done or not is_secret(name):
            continue
        value = _VALUE.match(text, match.end())
        if value is None or value[0].strip("'\"") in PLACEHOLDERS:
            continue
        if ":" in separator and not _is_secret_before_colon(name, separator, value[0]):
            continue
        if separator.strip() == ":" and text[match.start() - 1 : match.start()] == "/":
            continue  # the last part of a path, before a message about that file
        pieces += [text[done : match.end()], _quoted_mask(value[0])]
        done = value.end()
    return "".join((*pieces, text[done:])) if pieces else text


def _is_secret_before_colon(name: str, separator: str, value: str) -> bool:
    """In running text "name: value" names a secret only if the name can be nothing else, or has several words."""
    if (value[0] in "\"'[\\b" and separator.strip() != ":") or '"' in separator or "'" in separator:
        return True
    if "." in name:
        return False
    words = _WORDS.findall(name)
    return len(words) > 1 or name.lower() in _BEFORE_COLON or value.startswith("[")


def _quoted_mask(value: str) -> str:
    """The mask, within the quotes or brackets of the value that it replaces."""
    for start, end in (('\\"', '\\"'), ('"', '"'), ("b'", "'"), ("'", "'"), ("[", "]")):
        if value.startswith(start):
            return f"{start}{MASK}{end}"
    return MASK


def _mask_option(match: re.Match[str]) -> str:
    name, space, value = match.groups()
    return f"{name}{space}{MASK}" if is_secret(name) and value else match[0]
