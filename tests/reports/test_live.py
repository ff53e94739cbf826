"""Progress that nobody can read must not end a run."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

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


def test_names_and_notes_of_others_are_quoted() -> None:
    stream = io.StringIO()
    with LiveView(Console(file=stream, width=200)) as view:
        view.show("::error::\x1b[31m", 1.0, "load", 1, 10, None, "##[error]\x07")
    (line,) = stream.getvalue().splitlines()
    assert not line.startswith("::")
    assert "##[" not in line
    assert line.isprintable()
