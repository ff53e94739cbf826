"""Ask the agents that run inside the processes of a service."""

from __future__ import annotations

from pathlib import Path

from harness.core.errors import ProbeError
from harness.runtime import channel
from harness.runtime.processes import tree, trusted


class AgentReader:
    """Asks every agent of one runtime in a process tree. name: the runtime's name in the names of its sockets. title:
    the name that people write."""

    name: str
    title: str

    def __init__(self, directory: Path, pid: int, *, shared: bool) -> None:
        """directory: where the agents listen. shared: other services answer there as well, so only processes of the
        tree are asked."""
        self.directory = directory
        self.pid = pid
        self.shared = shared

    def _answers(self, command: str) -> list[channel.Answer]:
        """The answer of each process; none while no agent listens."""
        among = tree(self.pid) if self.shared else None
        users = trusted(self.pid, shared=self.shared)
        return channel.ask_all(self.directory, self.name, command, among=among, users=users)

    def _ask(self, command: str) -> list[channel.Answer]:
        """The same for a service whose agents have answered before. Raises ProbeError when none does now."""
        answers = self._answers(command)
        if not answers:
            raise ProbeError(
                f"no {self.title} of process {self.pid} answers in {self.directory} any more; expected the "
                "agent: has the target exited?"
            )
        return answers
