"""Pages of the documentation site that are not in docs/: those generated from the code, and those of other folders.

A hook of MkDocs. ``make docs`` writes the generated pages to ``build/reference`` first (``tools/reference.py``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
GENERATED = ROOT / "build" / "reference"
# page of the site → file of the repository
PROJECT = {
    "project/contributing.md": "CONTRIBUTING.md",
    "project/changelog.md": "CHANGELOG.md",
    "project/examples.md": "examples/README.md",
    "project/locustfiles.md": "locustfiles/README.md",
}
LINK = re.compile(r"(\]\()([^)#:\s]+\.md)(#[^)]*)?(\))")


def relinked(text: str, source: str) -> str:
    """The text with its links turned into those of the site. source: the file, relative to the repository."""
    pages = {name: page for page, name in PROJECT.items()}

    def link(found: re.Match[str]) -> str:
        there = (ROOT / source).parent.joinpath(found[2]).resolve().relative_to(ROOT).as_posix()
        page = pages.get(there) or there.removeprefix("docs/")
        return f"{found[1]}../{page}{found[3] or ''}{found[4]}"

    return LINK.sub(link, text)


def linked_from_docs(text: str, page: str) -> str:
    """The text of a page of docs/, in which links to files of other folders become those of the site. page: the file,
    relative to docs/."""
    pages = {name: target for target, name in PROJECT.items()}
    up = "../" * page.count("/")

    def link(found: re.Match[str]) -> str:
        there = (ROOT / "docs" / page).parent.joinpath(found[2]).resolve()
        target = pages.get(there.relative_to(ROOT).as_posix()) if there.is_relative_to(ROOT) else None
        return f"{found[1]}{up}{target}{found[3] or ''}{found[4]}" if target else found[0]

    return LINK.sub(link, text)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Called by MkDocs for each page."""
    return linked_from_docs(markdown, page.file.src_uri)


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages. Raises FileNotFoundError when the generated ones are missing."""
    from mkdocs.structure.files import File  # type: ignore[import-not-found]

    for page, source in PROJECT.items():
        text = relinked((ROOT / source).read_text(), source)
        files.append(File.generated(config, page, content=text))
    for path in sorted(GENERATED.glob("*.md")):
        files.append(File.generated(config, f"reference/{path.name}", content=path.read_text()))
    if not GENERATED.is_dir():
        raise FileNotFoundError(f"{GENERATED}: run make docs, which generates it")
    return files
