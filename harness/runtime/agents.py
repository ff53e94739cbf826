"""Ask the agents that run inside the processes of a service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.core.errors import ProbeError
from harness.process.proc import tree, trusted
from harness.runtime import channel


def prepared(
    env: Mapping[str, str], directory: Path, variable: str, first: str, separator: str
) -> dict[str, str]:
    """The environment for a service that is to be spawned with an agent, which listens in ``directory``. first: what
    comes before the user's own value of ``variable``. Raises ProbeError when the folder is open to others."""
    channel.private_folder(directory)
    rest = env.get(variable)
    value = f"{first}{separator}{rest}" if rest else first
    return {**env, variable: value, channel.DIRECTORY: str(directory.resolve())}


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
