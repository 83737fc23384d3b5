"""Fixtures for tests in a real Chromium: one browser for each worker, one context for each visit.

Playwright's objects belong to an event loop, so all tests of this folder run in the loop of the session.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser import stories
from tests.browser.axe import Axe
from tests.browser.stories import Told
from tests.browser.visiting import Visiting
from tests.support import chromium as chromium_here
from tests.support.gateway_process import Running, no_traceback
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
    """Begins visits. When the test ends, nothing may be left in the `troubles` of any of them.

    A test that has a gateway of its own names it before this fixture, so that it still runs when the visits end.
    """
    visiting = Visiting(chromium)
    yield visiting
    assert await visiting.end() == []


@pytest.fixture(scope="session")
def axe() -> Axe:
    """The checker of accessibility. Without npm or its registry it finds nothing, and the test that tries it is skipped."""
    return Axe.installed()


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    """A server that is not the gateway: on another port of this host, and under other names."""
    with Stranger() as stranger:
        yield stranger


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def told(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> AsyncIterator[Told]:
    """A gateway that went through the story, with the hostile bodies. Tests share it, and change nothing in it."""
    async with stories.told(tmp_path_factory.mktemp("told"), free_port()) as told:
        with no_traceback(told.running):
            yield told


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def guarded(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> AsyncIterator[Told]:
    """The same, with a user for each role: see `stories.TOKENS`. Nobody is let in without a token."""
    async with stories.told(tmp_path_factory.mktemp("guarded"), free_port(), users=True) as told:
        with no_traceback(told.running):
            yield told


@pytest_asyncio.fixture(loop_scope="session")
async def own_story(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Told]:
    """A gateway that went through the story without hostile bodies, for a test that changes something in it."""
    async with stories.told(tmp_path, free_port(), hostile=False) as told:
        with no_traceback(told.running):
            yield told


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway to which nothing has come yet."""
    with Running(tmp_path_factory.mktemp("empty"), stories.SMALL) as running, no_traceback(running):
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def failing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A gateway whose database fails for everyone who asks it."""
    async with stories.failing(tmp_path_factory.mktemp("failing")) as running:
        yield running
