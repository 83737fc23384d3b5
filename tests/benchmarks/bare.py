"""The bare aiohttp handler that ratios are taken of: it reads no body, and answers an empty 200. Its argument is the port."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from tests.benchmarks.machine import has_uvloop


async def answer(request: web.Request) -> web.Response:
    return web.Response()


async def serve(port: int) -> None:
    app = web.Application()
    app.router.add_post("/webhooks/legitmark", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


def loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """Return the event loop that the gateway takes, too."""
    if not has_uvloop():
        return None
    import uvloop

    factory: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return factory


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(int(sys.argv[1])))
