"""Sends a file of evidence to a browser while it is made. A file that is not whole ends with a broken connection.

Browsers then say that the download failed, and `gateway evidence verify` says that the end is missing.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from aiohttp import web

from gateway.core.errors import StoreError
from gateway.web.pages.asking import EvidenceDownload
from gateway.web.pages.page_headers import DOWNLOAD_HEADERS

_PATIENCE_SECONDS = 60.0
"""Seconds in which a browser has to take a piece. One that does not take it holds a place that others wait for."""


async def send_evidence(request: web.BaseRequest, download: EvidenceDownload, stop: asyncio.Event) -> web.StreamResponse:
    """Send the file, until it is whole, the browser goes, or the gateway stops: a stop does not wait for it."""
    named = {"Content-Disposition": f'attachment; filename="{download.file}"'}
    response = web.StreamResponse(headers={**DOWNLOAD_HEADERS, **named})
    whole = False
    try:
        await response.prepare(request)
        async with aclosing(download.export.pieces()) as pieces:
            async for piece in pieces:
                if stop.is_set() or request.transport is None or request.transport.is_closing():
                    return response
                if piece:
                    async with asyncio.timeout(_PATIENCE_SECONDS):
                        await response.write(piece)
        await response.write_eof()
        whole = True
    except (ConnectionResetError, TimeoutError, StoreError):
        pass  # the browser has gone, or takes nothing; the log has the errors of the gateway
    finally:
        download.export.close()
        if not whole and request.transport is not None:
            request.transport.abort()
    return response
