"""Fixtures of the store's tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.store.kit import store_threads


@pytest.fixture
async def threads_ended() -> AsyncIterator[None]:
    """Waits for the threads of connections that failed to open, because a thread that outlives the loop ends in a traceback."""
    yield
    for thread in store_threads():
        await asyncio.to_thread(thread.join, 10)
