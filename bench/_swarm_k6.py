"""k6 with xk6-sse as a rival, where such a binary is on the PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from bench._swarm_pair import ADDRESSES, Peer

SCRIPT = """
import sse from "k6/x/sse";
export const options = {{ vus: {streams}, iterations: {streams}, duration: "5m" }};
export default function () {{
  let seen = 0;
  sse.open("{url}", {{}}, (client) => {{
    client.on("event", () => {{ if (++seen === {events}) client.close(); }});
  }});
}}
"""


def find_k6() -> str | None:
    """Path of a k6 that has xk6-sse."""
    found = shutil.which("k6")
    if found is None:
        return None
    version = subprocess.run([found, "version"], capture_output=True, text=True, check=False).stdout
    return found if "xk6-sse" in version else None


class K6:
    """One k6 process, which runs a script once."""

    def __init__(self, path: str) -> None:
        self.path = path

    def flow(self, streams: int, count: int, every: float) -> float:
        """Microseconds of CPU for an event: from when all streams are open to the end of the process."""
        host = f"127.0.3.{next(ADDRESSES)}"
        server = Peer("bench._swarm_server", host)
        try:
            with tempfile.TemporaryDirectory() as folder:
                script = Path(folder) / "stream.js"
                url = f"http://{host}:{server.first['port']}/events"
                script.write_text(SCRIPT.format(streams=streams, url=url, events=count + 1))
                process = subprocess.Popen(
                    [self.path, "run", "--quiet", "--no-usage-report", str(script)],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                try:
                    server.ask(f"open {streams}")
                    before = cpu(process.pid)
                    sent = server.ask(f"send {count} {every}")["sent"]
                    time.sleep(1.0)  # the last events are on their way; leaving is not to be counted
                    return (cpu(process.pid) - before) / sent * 1e6
                finally:
                    process.kill()
                    process.wait()
        finally:
            server.end()


def cpu(pid: int) -> float:
    """Seconds of user and system time so far (proc_pid_stat(5)); a process that has exited counts until it is waited
    for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
