"""memory.html: a flame graph of what grew between two snapshots. One file, no network; text from file paths is never
run as script."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from harness.core.quote import plain
from harness.core.units import counted
from harness.report.page import asset, environment, policy

Stack = tuple[tuple[str, int], ...]  # (file, line), innermost first
MAX_DEPTH = 60  # frames that are drawn above each other


@dataclass(slots=True)
class Node:
    """One frame and all that grew below it. size: bytes."""

    name: str
    blocks: float = 0.0
    size: float = 0.0
    children: dict[str, Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Box:
    """One drawn frame. left, width: shares of the whole (0 to 1). depth: 0 is the root."""

    name: str
    left: float
    width: float
    depth: int
    blocks: float
    size: float


def tree(grown: Mapping[Stack, tuple[float, float]]) -> Node:
    """Stacks with what grew there (blocks, bytes); what shrank is left out: it has no area."""
    root = Node("all that grew")
    for stack, (blocks, size) in sorted(grown.items()):
        if size <= 0:
            continue
        root.blocks, root.size = root.blocks + blocks, root.size + size
        node = root
        for file, line in tuple(reversed(stack))[:MAX_DEPTH]:
            node = node.children.setdefault(f"{file}:{line}", Node(f"{file}:{line}"))
            node.blocks, node.size = node.blocks + blocks, node.size + size
    return root


def boxes(root: Node, *, least: float = 0.002) -> list[Box]:
    """Every frame that is at least ``least`` of the whole wide, outermost first."""
    return list(_boxes(root, 0.0, 0, root.size or 1.0, least))


def _boxes(node: Node, left: float, depth: int, whole: float, least: float) -> Iterator[Box]:
    yield Box(node.name, left, node.size / whole, depth, node.blocks, node.size)
    for child in sorted(node.children.values(), key=lambda c: (-c.size, c.name)):
        if child.size / whole >= least:
            yield from _boxes(child, left, depth + 1, whole, least)
        # Also for a child that is too narrow to be drawn, so that its siblings stay in place.
        left += child.size / whole


def render(
    grown: Mapping[Stack, tuple[float, float]],
    rows: Sequence[tuple[str, float, float]],
    *,
    connections: float | None,
    is_library: Callable[[str], bool],
    more: int = 0,
    notes: Sequence[str] = (),
) -> str:
    """The whole page. grown: blocks and bytes by stack. rows: place, blocks, bytes, the most useful first.
    connections: between the two snapshots; with them every figure is per connection."""
    scale = 1.0 / connections if connections else 1.0
    per = "per connection" if connections else "in all"
    root = tree(grown)
    drawn = boxes(root)
    script = asset("memory.js")
    over = f" over {counted(connections, 'connection', 'g')}" if connections else ""
    return (
        environment()
        .get_template("memory.html.j2")
        .render(
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
            policy=policy(script),
        )
    )
