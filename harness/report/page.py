"""The parts that all HTML pages share: assets within the file, no network, and text from the target never becomes
markup."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.core.quote import plain

MAX_TEXT = 4000  # characters of any one text


def asset(name: str) -> str:
    """A file of harness/report/assets."""
    return files("harness.report").joinpath("assets", name).read_text(encoding="utf-8")


def script_json(data: Any) -> Markup:
    """JSON that is safe inside a script element, whatever its strings contain."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704 - escaped just above


def digest(text: str) -> str:
    """The hash by which the Content-Security-Policy lets one inline script run, and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def policy(*scripts: str) -> str:
    """The Content-Security-Policy of a page with these inline scripts."""
    allowed = " ".join(f"'{digest(script)}'" for script in scripts)
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {allowed}"


def printable(value: object) -> object:
    """Remove control characters from a value that a template shows, because some values come from the target."""
    return plain(value, MAX_TEXT) if isinstance(value, str) and not isinstance(value, Markup) else value


def environment() -> Environment:
    """A Jinja environment with autoescaping."""
    return Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=printable,
    )
