"""Growth by call stack as a tree: what a flame graph draws. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

Stack = tuple[tuple[str, int], ...]  # (file, line), innermost first
DEEPEST = 60


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
        for file, line in tuple(reversed(stack))[:DEEPEST]:
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
