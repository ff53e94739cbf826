from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.dialects import CLIENT_KINDS, WORKER_KINDS, Dialect
from fake_broker.fault import REPLIES, TO_WORKERS, Fault, HookContext, Stage, choice
from fake_broker.traffic import Outgoing, frames_of


@dataclass
class Delimiter(Fault):
    """Replies start with an empty frame that the dialect does not have, or lack the one that it has."""

    name = "delimiter"
    group = "malformed"
    stage = Stage.WIRE
    commands = REPLIES
    also = TO_WORKERS

    change: str = choice("extra", ("extra", "missing"), "extra or missing")

    def why_no_effect(self, dialect: Dialect) -> str:
        """See ``Fault``: nothing can be missing where no message of the broker has a delimiter."""
        sent = [dialect.layouts[kind] for kind in (*CLIENT_KINDS, *WORKER_KINDS) if kind in dialect.layouts]
        if self.change == "extra" or any(layout.delimiter for layout in sent):
            return ""
        return "no message from the broker starts with a delimiter there; expected change=extra"

    def outgoing(self, message: Outgoing, context: HookContext) -> Iterable[Outgoing]:
        frames = tuple(frames_of(message, context.dialect))
        if self.change == "extra":
            frames = (b"", *frames)
        elif frames and frames[0] == b"":
            frames = frames[1:]
        yield replace(message, frames=frames)
