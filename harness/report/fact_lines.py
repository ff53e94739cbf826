"""A headline and labelled facts as lines of 80 columns."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

from harness.core.quote import plain

LINES = 12  # lines of one summary, at most
COLUMNS = 80  # characters of a line
INDENT = 12  # columns before a fact's text
CUT_RANK = {"warning": 0, "evidence": 2, "next": 3}  # label → its turn where lines are cut; 1 for all others
MAX_FACT = 4000  # characters of one fact
# Between a number and its unit, where a line must not end.
_UNIT = re.compile(r"(?<=\d) (?=(?:s|min|h|days|ms|%|B|[kMG]B|[KMG]iB)(?!\w))")


@dataclass(frozen=True, slots=True)
class Fact:
    """One labelled line. whole: never cut, such as a path that is copied."""

    label: str
    text: str
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """The summary of one trial. word: the outcome in capitals."""

    word: str
    headline: str
    facts: tuple[Fact, ...]

    def head(self) -> list[str]:
        """The lines of the headline."""
        # Only the headline is joined: the two spaces behind the outcome are part of the form.
        return _lines(f"{self.word}  {_joined(self.headline)}", COLUMNS, 5, indent="  ")

    def lines(self, limit: int = LINES) -> list[str]:
        """Plain text: at most ``limit`` lines of 80 columns, beside a path that is longer."""
        head = self.head()
        room = limit - len(head)
        blocks = [(fact, _wrapped(fact)) for fact in self.facts]
        # Where all do not fit, the longest facts are cut first, and of those the last: each keeps its first line. A
        # warning is cut before them. The evidence and the next step, which name options to use, are cut last.
        while sum(len(lines) for _, lines in blocks) > room:
            longer = [index for index, (_, lines) in enumerate(blocks) if len(lines) > 1]
            if not longer:
                break
            index = max(longer, key=lambda i: (-CUT_RANK.get(blocks[i][0].label, 1), len(blocks[i][1]), i))
            fact, lines = blocks[index]
            blocks[index] = (fact, _wrapped(fact, len(lines) - 1))
        return [*head, *[line for _, lines in blocks for line in lines]][:limit]

    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines())


def _wrapped(fact: Fact, most: int = 5) -> list[str]:
    label, empty = f"  {fact.label:<{INDENT - 2}}", " " * INDENT
    if fact.whole:
        return [f"{label}{plain(fact.text, MAX_FACT)}"]
    lines = _lines(_joined(plain(fact.text, MAX_FACT)), COLUMNS - INDENT, most)
    return [f"{label if index == 0 else empty}{line}" for index, line in enumerate(lines)]


def _joined(text: str) -> str:
    """The text with each number bound to its unit: a line does not end between "4" and "s"."""
    return _UNIT.sub("\N{NO-BREAK SPACE}", text)


def _lines(text: str, columns: int, most: int, *, indent: str = "") -> list[str]:
    wrapped = textwrap.wrap(
        text,
        columns,
        subsequent_indent=indent,
        max_lines=most,
        placeholder=" …",
        break_on_hyphens=False,
        break_long_words=False,
    )
    # The no-break spaces were only for the wrapping; copied text must not contain them.
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in wrapped]
