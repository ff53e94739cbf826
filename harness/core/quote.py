"""Escapes untrusted text: one function for each output format, called where that format is written.

Texts from a service, file names and test names may contain anything. They must stay text: no escape sequence for a
terminal, no workflow command for GitHub, no markup for Markdown, no character that XML does not allow. HTML is
escaped by Jinja (autoescape), after ``plain``.
"""

from __future__ import annotations

import datetime
import re

_BRACKET_COMMAND = re.compile(r"##(?=\[)")  # ##[error] and the like, anywhere in a line
_COLON_COMMAND = re.compile(r"^(\s*):(?=:)")  # ::error:: and the like, at the start of a line
_MARKUP = re.compile(r"([\\`*_\[\]|~$#!@])")  # what Markdown and its math, tables and mentions give a meaning


def plain(text: object, limit: int = 400) -> str:
    """Text on one line: control, formatting and unassigned characters become spaces; cut at ``limit`` characters."""
    whole = str(text)
    clean = "".join(char if char.isprintable() else " " for char in whole[:limit])
    return clean if len(whole) <= limit else clean[: limit - 1] + "…"


def terminal(text: object, limit: int = 400) -> str:
    """For a terminal and the log of a CI system, which are the same stream.

    GitHub's runner executes a line that begins with ``::`` and ``##[`` anywhere in a line
    (actions/runner, src/Runner.Common/ActionCommand.cs): a space breaks both up.
    """
    return _BRACKET_COMMAND.sub("## ", _COLON_COMMAND.sub(r"\1: ", plain(text, limit)))


def workflow_data(text: object, limit: int = 4000) -> str:
    """The message of a GitHub workflow command (actions/toolkit, packages/core/src/command.ts)."""
    return terminal(text, limit).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def workflow_property(text: object) -> str:
    """A property of a GitHub workflow command, such as its title."""
    return workflow_data(text, 400).replace(":", "%3A").replace(",", "%2C")


def json_text(text: str) -> str:
    """JSON for printing: ``##[`` within its strings is escaped, which does not change their value."""
    return text.replace("##[", "\\u0023\\u0023[")


def xml(text: object) -> str:
    """Content or an attribute of XML 1.0, which the writer escapes: only characters that XML allows are left.

    https://www.w3.org/TR/xml/#charsets - printable characters are a part of them.
    """
    return terminal(text, 4000)


def xml_time(text: object) -> str | None:
    """An ISO 8601 time as JUnit's schema wants it; None for anything else."""
    try:
        return datetime.datetime.fromisoformat(str(text)[:64]).isoformat(timespec="seconds")
    except ValueError:
        return None


def markdown(text: object, limit: int = 4000) -> str:
    """Running text of GitHub's Markdown: no new cell or line, no markup, no HTML, no link, no mention."""
    clean = terminal(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # GitHub makes a link of any address and of any word after "www.", without further markup (GFM, autolinks).
    escaped = _MARKUP.sub(r"\\\1", clean).replace("://", "\\://").replace("www.", "www\\.")
    # A mention cannot be escaped, so an invisible character (word joiner) separates the sign from the name.
    return escaped.replace("\\@", "@\u2060")


def markdown_code(text: object) -> str:
    """A code span: nothing in it is markup. Its fence is longer than any run of backticks inside."""
    clean = terminal(text) or " "
    longest = max((len(run) for run in re.findall("`+", clean)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {clean} {fence}" if longest else f"{fence}{clean}{fence}"
