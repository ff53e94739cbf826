"""Parses a fault as a user writes it: a JSON object, or text on the command line.

Every key, its type and its range comes from the dataclass fields of the fault and of Match, so that a new fault
needs no line here. Raises SpecError, whose text names the value, what was expected, and the nearest valid name.
"""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, fields
from typing import Any, get_type_hints

import fake_broker.faults  # noqa: F401 – importing it fills the table
from fake_broker.fault import FAULTS, Fault
from fake_broker.match import Match
from fake_broker.traffic import COMMANDS

MAX_TEXT = 255
"""Characters: the length of the longest ROUTER identity."""

MATCH_KEYS = tuple(f.name for f in fields(Match))  # keys that every fault takes


class SpecError(ValueError):
    """The request is invalid; the text is one line."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A fault with its parameters, and the messages that it applies to."""

    fault: Fault
    match: Match


def nearest(word: str, among: Iterable[str]) -> str:
    """``did you mean 'NAME'?``, or the list of valid names if none is similar."""
    among = list(among)
    close = difflib.get_close_matches(word, among, n=1)
    return f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(among)}"


def parse(data: Mapping[str, Any]) -> Spec:
    """``{"fault": NAME, parameters…, match keys…}`` → Spec. Raises SpecError."""
    name = data.get("fault")
    if not isinstance(name, str):
        raise SpecError(
            f"'fault' is {_shown(name)}; expected the name of a fault, one of {', '.join(sorted(FAULTS))}"
        )
    kind = FAULTS.get(name)
    if kind is None:
        raise SpecError(f"unknown fault {_shown(name)}: {nearest(name, sorted(FAULTS))}")
    rest = {key: value for key, value in data.items() if key != "fault"}
    own = _fields(kind)
    for key in rest:
        if key not in own and key not in MATCH_KEYS:
            raise SpecError(
                f"fault {name!r} has no parameter {_shown(key)}: {nearest(key, [*own, *MATCH_KEYS])}"
            )
    fault = kind(**_values(kind, own, rest))
    match = Match(**_values(Match, _fields(Match), rest))
    # A fault that can never apply would be switched on without any effect, so it is an error.
    if match.message != "*" and match.message not in kind.commands | kind.also:
        able = (
            ", ".join(c for c in COMMANDS if c in kind.commands | kind.also)
            or "no message: leave 'message' out"
        )
        raise SpecError(f"'message' is {_shown(match.message)}; fault {name!r} acts on {able}")
    if match.after >= match.until:
        raise SpecError(f"'after' is {match.after:g} and 'until' {match.until:g}; expected after < until")
    return Spec(fault, match)


def parse_words(text: str) -> Spec:
    """``NAME[,key=value…]`` as on the command line, or a JSON object → Spec. Raises SpecError."""
    if text.lstrip().startswith("{"):
        try:
            whole = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"{text!r} is not a JSON object: {error}") from None
        return parse(whole)
    name, *pairs = (part.strip() for part in text.split(","))
    data: dict[str, Any] = {"fault": name}
    # A service may be called "1" or "true", so the values of text parameters are not read as JSON.
    hints = get_type_hints(Match) | (get_type_hints(FAULTS[name]) if name in FAULTS else {})
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise SpecError(f"{pair!r} in {text!r}; expected key=value")
        data[key] = value
        if hints.get(key) is not str:
            # Neither a number nor true or false: it stays text, and parse reports what was expected.
            with contextlib.suppress(ValueError, RecursionError):
                data[key] = json.loads(value)
    return parse(data)


def describe(fault: Fault, match: Match) -> dict[str, Any]:
    """The JSON object from which parse makes this fault: everything that differs from the defaults."""
    found: dict[str, Any] = {"fault": fault.name}
    for holder in (fault, match):
        for f in _fields(type(holder)).values():
            value = getattr(holder, f.name)
            if value != f.default:
                found[f.name] = value
    return found


def catalogue() -> list[dict[str, Any]]:
    """Every fault with its group, its first line of documentation and its parameters, sorted by group."""
    return [
        {
            "fault": kind.name,
            "group": kind.group,
            "about": " ".join((kind.__doc__ or "").split()),
            "parameters": {
                f.name: {"default": f.default, "meaning": f.metadata["meaning"]}
                for f in _fields(kind).values()
            },
        }
        for kind in sorted(FAULTS.values(), key=lambda k: (k.group, k.name))
    ]


def _fields(kind: type[Any]) -> dict[str, Field[Any]]:
    return {f.name: f for f in fields(kind) if f.init}


def _values(kind: type[Any], known: Mapping[str, Field[Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {key: _checked(key, known[key], hints[key], value) for key, value in given.items() if key in known}


def _checked(key: str, f: Field[Any], hint: type[Any], value: Any) -> Any:
    if hint is bool:
        if not isinstance(value, bool):
            raise SpecError(f"{key!r} is {_shown(value)}; expected true or false")
        return value
    if hint is str:
        return _text(key, f, value)
    return _number(key, f, hint, value)


def _text(key: str, f: Field[Any], value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise SpecError(f"{key!r} is {_shown(value)}; expected text of at most {MAX_TEXT} characters")
    try:
        # JSON may contain lone surrogates (RFC 8259, 8.2), which cannot be sent.
        value.encode()
    except UnicodeEncodeError:
        raise SpecError(f"{key!r} is {_shown(value)}; expected text that UTF-8 can carry") from None
    options = f.metadata.get("options")
    if options and value not in options:
        raise SpecError(f"{key!r} is {_shown(value)}: {nearest(value, options)}")
    if f.metadata.get("hex") and not set(value) <= set("0123456789abcdefABCDEF"):
        raise SpecError(f"{key!r} is {_shown(value)}; expected hex digits")
    return value


def _number(key: str, f: Field[Any], hint: type[Any], value: Any) -> Any:
    low, high = f.metadata["low"], f.metadata["high"]
    sort = "a whole number" if hint is int else "a number"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SpecError(f"{key!r} is {_shown(value)}; expected {sort} from {low:g} to {high:g}")
    # NaN fails every comparison, so it ends here too.
    if not low <= value <= high or (hint is int and value != int(value)):
        raise SpecError(f"{key!r} is {_shown(value)}; expected {sort} from {low:g} to {high:g}")
    return hint(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
