"""Every link between documents leads somewhere, and the site has every page once. make docs builds it for real."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tools.docs_pages import PROJECT, linked_from_docs, relinked
from tools.reference import api_page, json_page, options_page

ROOT = Path(__file__).parents[2]
GENERATED = {"reference/options.md", "reference/json.md", "reference/api.md"}
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("examples/*.md")),
         *sorted(ROOT.glob("locustfiles/*.md")), *sorted(ROOT.glob("reports/*.md"))]  # fmt: skip
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
COMMUNITY = (
    ".editorconfig", ".pre-commit-config.yaml", "SECURITY.md", "CODE_OF_CONDUCT.md", ".github/pull_request_template.md",
    ".github/ISSUE_TEMPLATE/bug.yml", ".github/workflows/docs.yml", ".github/workflows/release.yml",
)  # fmt: skip


def anchors(text: str) -> set[str]:
    """Of every heading, as GitHub and MkDocs make them."""
    heads = re.findall(r"^#+ +(.*)$", FENCED.sub("", text), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head).replace("`", "") for head in heads]
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in plain}


def broken(path: Path, text: str) -> list[str]:
    """Links of a document that lead nowhere."""
    found = []
    for link in LINK.findall(re.sub(r"`[^`\n]*`", "", FENCED.sub("", text))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        if name in GENERATED:
            continue
        there = (path.parent / name).resolve() if name else path
        if not there.exists() or (
            anchor and there.suffix == ".md" and anchor not in anchors(there.read_text())
        ):
            found.append(link)
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    assert broken(path, path.read_text()) == []


def test_a_broken_link_would_be_noticed() -> None:
    page = ROOT / "docs" / "guard.md"
    assert broken(page, "[a](nowhere.md) [b](budgets.md#nothing-like-it) [c](budgets.md)") == [
        "nowhere.md",
        "budgets.md#nothing-like-it",
    ]


def test_the_site_has_every_page_once() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    listed = re.findall(r": ([\w./-]+\.md)$", nav, re.MULTILINE)
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").glob("**/*.md")}
    assert sorted(listed) == sorted(written | GENERATED | set(PROJECT))


def test_links_of_other_folders_become_links_of_the_site() -> None:
    text = "[a](docs/guard.md#options) [b](CHANGELOG.md) [c](https://example.org/x.md)"
    assert relinked(text, "CONTRIBUTING.md") == (
        "[a](../guard.md#options) [b](../project/changelog.md) [c](https://example.org/x.md)"
    )


def test_a_page_of_the_docs_links_to_files_of_other_folders_as_pages_of_the_site() -> None:
    text = "[a](../locustfiles/README.md#your-own) [b](guard.md) [c](../reports/README.md) [d](https://example.org/x.md)"
    assert linked_from_docs(text, "swarm.md") == (
        "[a](project/locustfiles.md#your-own) [b](guard.md) [c](../reports/README.md) [d](https://example.org/x.md)"
    )
    assert linked_from_docs("[a](../../CHANGELOG.md)", "guide/x.md") == "[a](../project/changelog.md)"


def test_reference_pages_have_what_the_code_has() -> None:
    options = options_page()
    for name in (
        "## harness guard",
        "### harness history prune",
        "`--retention TIME`",
        "`--sensitivity RATE`",
    ):
        assert name in options, name
    assert "| `outcome` |" in json_page()
    assert "### harness.testing.assert_bounded" in api_page()
    assert "### harness.swarm.SseUser" not in api_page(), "Locust is not imported for a page"


def test_every_step_of_contributing_names_files_and_what_is_in_them() -> None:
    """A step that names files and a table, a function or a constant: it is in one of them."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = 0
    for step in re.split(r"\n(?=\d\. |- )|\n\n", text):
        paths = [path for path in re.findall(r"`([a-z_]+/[\w./-]+\.\w+)`", step) if "NAME" not in path]
        sources = "".join((ROOT / path).read_text() for path in paths)
        names = re.findall(r"`([A-Z_]{3,}|[a-z]+_[a-z_]+)`", step) if paths else []
        named += len(names)
        assert [name for name in names if name not in sources] == [], step
    assert named >= 10, "the patterns still find them"


@pytest.mark.parametrize("name", COMMUNITY)
def test_the_files_that_a_newcomer_looks_for_exist(name: str) -> None:
    assert (ROOT / name).read_text().strip()


def test_the_version_is_written_the_same_twice() -> None:
    import harness

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == harness.__version__
