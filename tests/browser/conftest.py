"""Fixtures for tests in a real Chromium: one browser for each worker, one context for each visit.

Playwright's objects belong to an event loop, so all tests of this folder run in the loop of the session.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser import axe as axe_core
from tests.browser.visiting import Visiting
from tests.support import chromium as chromium_here
from tests.support.strangers import Stranger

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser of this worker. Skips the test if Debian's Chromium is not installed."""
    program = chromium_here.program()
    if program is None:
        pytest.skip(chromium_here.MISSING)
    async with chromium_here.started(program) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def visiting(chromium: Browser) -> AsyncIterator[Visiting]:
    """Begins visits. When the test ends, nothing may be left in the `troubles` of any of them."""
    visiting = Visiting(chromium)
    yield visiting
    assert await visiting.end() == []


@pytest.fixture(scope="session")
def axe() -> str:
    """The code of axe-core. Skips the test if npm or its registry is not there."""
    try:
        return axe_core.source()
    except axe_core.CannotInstall as why:
        pytest.skip(f"no check of accessibility: {why}")


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    """A server that is not the gateway: on another port of this host, and under other names."""
    with Stranger() as stranger:
        yield stranger
