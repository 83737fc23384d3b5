"""The stream that tells pages of changes: what it says, when, to how many, and that it ends first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web

from gateway.web.pages.live_streams import HEARTBEAT_SECONDS, LIVE_PATH, MOST_STREAMS, LiveStreams
from tests.fakes import FakeClock
from tests.support.waiting import PATIENCE, until


class Studio:
    """A server that streams, a clock, and something that changes."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.stop = asyncio.Event()
        self.changes = 0
        self.live = LiveStreams(changes={LIVE_PATH: lambda: self.changes}, stop=self.stop, clock=self.clock)
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Studio]:
        # As the gateway's own server: a handler is not cancelled when the browser goes.
        runner = web.ServerRunner(web.Server(self.live.answer, handler_cancellation=False), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}{LIVE_PATH}"
        yield self
        self.stop.set()
        await runner.cleanup()

    async def step(self, seconds: float = 1.0) -> None:
        """Let time pass once all streams wait for it."""
        await until(lambda: sum(left > 0 for left in self.clock.sleeping) == self.live.open)
        self.clock.advance(seconds)


@pytest.fixture
async def studio() -> AsyncIterator[Studio]:
    async with Studio().serving() as studio:
        yield studio


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


async def heard(read: Callable[[], Awaitable[bytes]]) -> str:
    """The name of the next event."""
    async with asyncio.timeout(PATIENCE):
        while line := await read():
            if line.startswith(b"event: "):
                return line.removeprefix(b"event: ").strip().decode()
    return "end of the stream"


async def test_a_stream_tells_of_changes_once_a_second_at_most(studio: Studio, session: ClientSession) -> None:
    async with session.get(studio.url) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.headers["Cache-Control"] == "no-store"
        assert await heard(stream.content.readline) == "live"
        studio.changes += 1
        studio.changes += 1
        await studio.step()
        assert await heard(stream.content.readline) == "changed"
        await studio.step()
        await studio.step(HEARTBEAT_SECONDS)
        assert await heard(stream.content.readline) == "beat"
        studio.changes += 1
        await studio.step()
        assert await heard(stream.content.readline) == "changed"


async def test_a_busy_gateway_tells_its_open_pages_one_second_after_the_other(studio: Studio) -> None:
    async with ClientSession() as session:
        streams = [await session.get(studio.url) for _ in range(3)]
        for stream in streams:
            assert await heard(stream.content.readline) == "live"
        for round_of in range(2):
            for stream in streams:
                studio.changes += 1000
                await studio.step()
                assert await heard(stream.content.readline) == "changed", round_of
        for stream in streams[:2]:  # the last one knows all changes already
            await studio.step()
            assert await heard(stream.content.readline) == "changed"
        studio.changes += 100
        await studio.step()
        assert [await heard(stream.content.readline) for stream in streams] == ["changed"] * 3, "it is not busy any more"
        studio.changes += 1000
        for _ in range(int(HEARTBEAT_SECONDS)):
            await studio.step()
        assert [await heard(stream.content.readline) for stream in streams] == ["changed"] * 3
        await studio.step(HEARTBEAT_SECONDS)
        assert [await heard(stream.content.readline) for stream in streams] == ["beat"] * 3, "nothing was told twice"
        for stream in streams:
            stream.close()


async def test_a_stream_ends_as_soon_as_the_gateway_stops(studio: Studio, session: ClientSession) -> None:
    async with session.get(studio.url) as stream:
        assert await heard(stream.content.readline) == "live"
        studio.stop.set()
        assert await heard(stream.content.readline) == "ending"
        assert await heard(stream.content.readline) == "end of the stream"
    await until(lambda: studio.live.open == 0)


async def test_a_browser_that_goes_frees_its_place_within_a_second(studio: Studio, session: ClientSession) -> None:
    async with session.get(studio.url) as stream:
        assert await heard(stream.content.readline) == "live"
        assert studio.live.open == 1

    def gone_after_another_second() -> bool:
        studio.clock.advance(1.0)
        return studio.live.open == 0

    await until(gone_after_another_second)


async def test_no_more_streams_are_opened_than_there_are_places(studio: Studio) -> None:
    async with ClientSession() as session:
        streams = [await session.get(studio.url) for _ in range(MOST_STREAMS)]
        async with session.get(studio.url) as refused:
            assert refused.status == 503 and refused.headers["Retry-After"]
            assert (await refused.json())["error"] == "overloaded"
        assert studio.live.open == MOST_STREAMS
        for stream in streams:
            stream.close()


async def test_nothing_waits_for_time_while_nobody_watches(studio: Studio) -> None:
    assert (studio.clock.sleeping, studio.live.open) == ([], 0)
