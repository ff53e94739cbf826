"""A progress line that cannot be written must not end a run."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.live import Live

from harness.core.sample import Sample
from harness.report.live import LiveView


class Full(io.StringIO):
    """A stream on a full disk."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error, self.tries = error, 0

    def flush(self) -> None:
        self.tries += 1
        raise self.error


@pytest.mark.parametrize("terminal", [True, False])
def test_a_stream_that_fails_ends_the_view_and_not_the_run(terminal: bool) -> None:
    stream = Full(OSError(28, "No space left on device"))
    with LiveView(Console(file=stream, force_terminal=terminal)) as view:
        for note in ("one", "two", "three"):
            view.show("guard", 1.0, "load", 1, 10, None, note)
    assert stream.tries > 0, "it was tried"


def test_a_terminal_of_80_columns_shows_a_progress_in_one_line_and_its_note_in_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(Live, "update", lambda _, text: shown.append(str(text)))
    with LiveView(Console(file=io.StringIO(), force_terminal=True, width=80)) as view:
        sample = Sample(1.0, fds=1065, threads=52, rss=104 << 20)
        view.show(
            "guard", 104.7, "retention", 16, 14_750, sample, "suspected: +1 fds; waiting 12 of 60 s " * 3
        )
    (text,) = shown
    line, note = text.splitlines()
    assert line.endswith("14750 streams  1065 fds  52 threads  104 MiB")
    assert note.startswith("  suspected: +1 fds")
    assert max(len(line), len(note)) <= 80


def test_names_and_notes_of_others_are_quoted() -> None:
    stream = io.StringIO()
    with LiveView(Console(file=stream, width=200)) as view:
        view.show("::error::\x1b[31m", 1.0, "load", 1, 10, None, "##[error]\x07")
    (line,) = stream.getvalue().splitlines()
    assert not line.startswith("::")
    assert "##[" not in line
    assert line.isprintable()
