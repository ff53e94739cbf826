"""A healthy SSE service over TLS. usage: sse_tls_service.py PORT CERT KEY"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
        asked = (
            head.startswith(b"POST ") and b"\r\nX-Key: 7\r\n" in head and await reader.readexactly(2) == b"hi"
        )
        writer.write(HEAD + b"data: x\n\n" if asked else b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
    writer.close()


async def main() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), ssl=context, backlog=512)
    await server.serve_forever()


asyncio.run(main())
