"""Follows a live page as an open browser does: by the stream that tells of changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.exchange import Headers, request_bytes
from tests.support.gateway_process import Running
from tests.support.waiting import PATIENCE


@asynccontextmanager
async def following(running: Running, path: str, headers: Headers = ()) -> AsyncIterator[asyncio.StreamReader]:
    """Keep a stream open, and give what comes after its first event.

    Args:
        path: the address of the stream on the admin listener.
    """
    address = running.addresses["admin"]
    assert isinstance(address, tuple)
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request_bytes(b"", headers, path=path, method="GET", length=False))
    try:
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"event: live")
        yield reader
    finally:
        writer.transport.abort()
