"""Pages that stay open, as browsers have them: each follows its stream, and fetches itself again when the gateway says so.

    python -m tests.benchmarks.open_pages PORT PATH...

It does what gateway/web/pages/assets/page.js does: one fetch at a time, then a pause of two seconds, or of nine times as long as
the fetch took. It prints `open` once every stream is, and how many pages were fetched again after its input has ended.
"""

from __future__ import annotations

import asyncio
import html
import re
import sys
import time

import aiohttp

OPEN = "open\n"
FEWEST_PAUSE_SECONDS = 2.0
BUSY_TIMES = 9
_PATIENCE_SECONDS = 30.0
_STREAM = re.compile(r'<body [^>]*data-live="([^"]+)"')
"""The attribute that names the stream of a page."""


class OpenPage:
    """One page with its stream."""

    def __init__(self, session: aiohttp.ClientSession, path: str) -> None:
        self.live = asyncio.Event()
        """The stream is open."""
        self.fetched = 0
        """How often the page was fetched after it was opened."""
        self._session = session
        self._path = path
        self._changed = asyncio.Event()

    async def follow(self) -> None:
        """Note every change that the gateway tells."""
        stream_path = _STREAM.search(await self._fetch())
        assert stream_path is not None, f"{self._path} follows nothing"
        no_end = aiohttp.ClientTimeout(total=None)
        async with self._session.get(
            html.unescape(stream_path[1]), timeout=no_end, headers={"Accept": "text/event-stream"}
        ) as stream:
            stream.raise_for_status()
            async for line in stream.content:
                self.live.set()
                if line.strip() == b"event: changed":
                    self._changed.set()

    async def fetch_again(self) -> None:
        """Fetch the page after each change, at its pace."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            begun = time.monotonic()
            await self._fetch()
            self.fetched += 1
            await asyncio.sleep(max(FEWEST_PAUSE_SECONDS, BUSY_TIMES * (time.monotonic() - begun)))

    async def _fetch(self) -> str:
        async with self._session.get(self._path, headers={"Accept": "text/html"}) as page:
            page.raise_for_status()
            return await page.text()


async def run(port: int, paths: list[str]) -> int:
    """Keep the pages open until the input ends. Return how often they were fetched again."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as session, asyncio.TaskGroup() as group:
        pages = [OpenPage(session, path) for path in paths]
        tasks = [group.create_task(work()) for page in pages for work in (page.follow, page.fetch_again)]
        async with asyncio.timeout(_PATIENCE_SECONDS):
            for page in pages:
                await page.live.wait()
        sys.stdout.write(OPEN)
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
    return sum(page.fetched for page in pages)


if __name__ == "__main__":
    print(asyncio.run(run(int(sys.argv[1]), sys.argv[2:])))
