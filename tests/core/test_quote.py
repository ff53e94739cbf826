"""Foreign text is quoted in every format."""

from __future__ import annotations

import json
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core import quote
from harness.core.earlier_records import CONTAINER, LINE
from harness.core.judge.trial import judge
from harness.core.note import Note, NoteKind
from harness.core.record import About, ExitInfo, RunRecord, Trial
from harness.report import github, html, junit, markdown
from harness.report.facts import facts_of
from harness.report.place_facts import _PLACE
from tests.core.series import trial

ORDERS = (
    "::error::x",
    "  ::add-mask::x",
    "\t::set-output name=x::y",
    "\x1b]8;;http://x\x07::error::x",
    "\u200b::error::x",
    "\r\n::error::x",
    "a ##[error]x",
    "##[group]",
    "#\x00#[error]",
    "##\u200b[error]",
    "a\nb\x85c\u2028d",
    "\x1b[2J\x9b31m\x08\x7f\u202e",
    "]]></failure>&\ufffe\ud800\x00<![CDATA[",
    "| a\\| b | `c` ~~d~~ [e](f) <g> @h #1 https://i www.j $k$ ***",
)
FORMATS: tuple[Callable[[object], str], ...] = (
    quote.plain, quote.terminal, quote.workflow_data, quote.workflow_property, quote.xml, quote.markdown,
    quote.markdown_code,
)  # fmt: skip


def is_runner_command(line: str) -> bool:
    """Whether GitHub's runner takes a line of a log for an order (src/Runner.Common/ActionCommand.cs)."""
    return line.strip().startswith("::") or "##[" in line


@given(st.one_of(st.sampled_from(ORDERS), st.text(max_size=60)))
def test_no_format_lets_a_text_break_its_line_or_give_an_order(text: str) -> None:
    for form in FORMATS:
        said = form(text)
        assert len(said.splitlines()) <= 1
        assert said.replace("\u2060", "").isprintable()
    assert not is_runner_command(quote.terminal(text))
    root = ET.Element("a", b=quote.xml(text))
    root.text = quote.xml(text)
    again = ET.fromstring(ET.tostring(root))
    assert (again.text or "", again.get("b")) == (root.text, root.text)
    assert quote.terminal(quote.terminal(text)) == quote.terminal(text)
    assert json.loads(quote.json_text(json.dumps(text))) == text
    assert "##[" not in quote.json_text(json.dumps(text))


def test_properties_hold_no_separator() -> None:
    assert quote.workflow_property("a:b,c%d\ne") == "a%3Ab%2Cc%25d e"


@pytest.mark.parametrize(
    "text", ["", "now", "2026-01-01\n::error::", "]]>", "9" * 100_000, "2026-13-01T00:00:00"]
)
def test_a_time_that_is_invalid_is_left_out(text: str) -> None:
    assert quote.xml_time(text) is None


def test_long_texts_are_cut_in_linear_time() -> None:
    began = time.process_time()
    for text in ("##[" * 40_000, ":" * 100_000, " " * 100_000, "a.b" * 40_000, "/" * 100_000, "`" * 100_000):
        for form in FORMATS:
            assert len(form(text)) <= 20_000
        _PLACE.fullmatch(text)
        CONTAINER.fullmatch(text)
        LINE.fullmatch(text)
    assert time.process_time() - began < 10.0


HOSTILE = " ".join(ORDERS)


def hostile_run() -> RunRecord:
    """A crash of which every text is hostile."""
    made: Trial = replace(
        trial([10.0, 20.0]),
        name=HOSTILE,
        exit=ExitInfo(-6, 1.0, 2, ORDERS),
        notes=(Note(NoteKind.BUDGETS, f"budgets: {HOSTILE}"),),
        about=About(summary=HOSTILE, claim=HOSTILE, note=HOSTILE),
    )
    made = replace(made, target=replace(made.target, command=(HOSTILE,), url=HOSTILE))
    return RunRecord(
        HOSTILE, HOSTILE, HOSTILE, 0, (replace(made, verdict=judge(made)),), {HOSTILE: HOSTILE}, HOSTILE
    )


def test_a_run_of_hostile_texts_is_harmless_in_every_report() -> None:
    run = hostile_run()
    (one,) = run.trials
    for line in facts_of(one).lines():
        assert not is_runner_command(quote.terminal(line, 4000))
    suite = ET.fromstring(junit.render(run).encode())
    assert suite.get("timestamp") is None
    assert len(list(suite.iter("testcase"))) == 1
    (command,) = github.workflow_commands(run)
    assert command.startswith("::error title=")
    assert "\n" not in command
    assert command.count("::error") == 1
    page = html.render(run, {})
    assert "<![CDATA[" not in page
    assert "<g>" not in page
    text = markdown.render(run)
    assert not any(is_runner_command(line) for line in text.splitlines())
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(tables) == 2, "the headings and one row"
    cells = [line.replace("\\\\", "").replace("\\|", "").count("|") for line in tables]
    assert cells[0] == cells[1], "no cell begins where a text has a bar"
