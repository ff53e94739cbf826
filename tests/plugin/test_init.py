"""``harness init`` writes all its files, or none."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.init import FILES, command
from harness.core.errors import ConfigError


def written(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("blocked", ["tests", ".github", "tests/test_leaks.py", "budgets.toml"])
def test_a_file_in_the_way_is_named_and_nothing_is_written(tmp_path: Path, blocked: str) -> None:
    (tmp_path / blocked).parent.mkdir(exist_ok=True)
    (tmp_path / blocked).write_text("mine")
    with pytest.raises(ConfigError, match="move it away first"):
        CliRunner().invoke(command, [str(tmp_path)], catch_exceptions=False)
    assert written(tmp_path) == {blocked}


def test_a_link_to_nowhere_is_in_the_way_too(tmp_path: Path) -> None:
    (tmp_path / "budgets.toml").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"budgets\.toml exists already"):
        CliRunner().invoke(command, [str(tmp_path)], catch_exceptions=False)
    assert written(tmp_path) == set()


@pytest.mark.parametrize(
    ("project", "ours"), [('[tool.harness.budget]\nfds = "0/connection"', False), ("[tool.ruff]", True)]
)
def test_budgets_in_pyproject_stay_the_only_ones(tmp_path: Path, project: str, ours: bool) -> None:
    (tmp_path / "pyproject.toml").write_text(project)
    done = CliRunner().invoke(command, [str(tmp_path)], catch_exceptions=False)
    assert ("no budgets.toml: pyproject.toml holds the budgets" in done.output) is not ours
    assert written(tmp_path) - {"pyproject.toml"} == {n for n in FILES if ours or n != "budgets.toml"}


@pytest.mark.parametrize(
    "options",
    [
        ("--command", "python \udcff.py {port}"),
        ("--command", "python a.py {port}", "--source", "/srv/\udcff"),
        ("--command", "python a.py {port}", "--url", "http://127.0.0.1:{port}/\udcff"),
    ],
)
def test_a_value_that_no_text_file_can_hold_is_named_and_nothing_is_written(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Bytes of the command line that are not UTF-8 are lone surrogates."""
    with pytest.raises(ConfigError, match=f"{options[-2]} .*not UTF-8; expected text"):
        CliRunner().invoke(command, [str(tmp_path), *options], catch_exceptions=False)
    assert written(tmp_path) == set()
