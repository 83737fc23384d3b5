"""The fake of Legitmark's API in a thread of its own, for tests of whole processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.fake_legitmark import FakeLegitmark


@contextmanager
def served_legitmark() -> Iterator[FakeLegitmark]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="legitmark", daemon=True)
    thread.start()
    try:
        api = FakeLegitmark()
        asyncio.run_coroutine_threadsafe(api.__aenter__(), loop).result(30)
        yield api
        asyncio.run_coroutine_threadsafe(api.__aexit__(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
