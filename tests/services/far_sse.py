"""The SSE server of ``plain_sse`` on every address, which records the addresses of its clients.

usage: far_sse.py PORT KIND FILE
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from plain_sse import serve  # a script beside this one


async def main() -> None:
    port, kind, file = sys.argv[1:4]
    seen = Path(file).open("a", buffering=1)  # noqa: SIM115 - for the life of the process

    async def noted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.write(f"{writer.get_extra_info('peername')[0]}\n")
        await serve(reader, writer, kind)

    server = await asyncio.start_server(noted, "0.0.0.0", int(port), backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
