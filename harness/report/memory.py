"""memory.html: a flame graph of what grew between two snapshots. One file, no network; text from file paths is never
run as script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.core.quote import plain
from harness.core.units import counted
from harness.report.memory_tree import Stack, boxes, tree


def render(
    grown: Mapping[Stack, tuple[float, float]],
    rows: Sequence[tuple[str, float, float]],
    *,
    connections: float | None,
    is_library: Callable[[str], bool],
    more: int = 0,
    notes: Sequence[str] = (),
) -> str:
    """The whole page. grown: blocks and bytes by stack. rows: place, blocks, bytes, most telling first.
    connections: between the two snapshots; with them every figure is per connection."""
    scale = 1.0 / connections if connections else 1.0
    per = "per connection" if connections else "in all"
    root = tree(grown)
    drawn = boxes(root)
    script = files("harness.report").joinpath("assets", "memory.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=PackageLoader("harness.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    over = f" over {counted(connections, 'connection', 'g')}" if connections else ""
    return environment.get_template("memory.html.j2").render(
        summary=f"{counted(root.size, 'byte', ',.0f')} in {counted(root.blocks, 'block', ',.0f')} stayed{over}: "
        f"{root.size * scale:,.1f} bytes {per}.",
        notes=[plain(note) for note in notes],
        boxes=[
            {
                "left": box.left,
                "width": box.width,
                "depth": box.depth,
                "name": plain(box.name.rpartition("/")[2] or box.name),
                "title": plain(
                    f"{box.name}: {box.size * scale:,.1f} bytes, {box.blocks * scale:,.2f} blocks {per}"
                ),
                "library": is_library(box.name),
            }
            for box in drawn
        ],
        depth=1 + max(box.depth for box in drawn),
        rows=[(plain(where), f"{blocks:,.2f}", f"{size:,.1f}") for where, blocks, size in rows],
        per=per,
        more=more,
        script=Markup(script),  # noqa: S704 - ours
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
    )
