"""Senders that keep their connections, for tests that restart the gateway.

Each obeys HTTP: it sends on a connection until it is told, or sees, that this one ends. Everything that it sent must be answered.
"""

from __future__ import annotations

import asyncio
import http.client
import random
import select
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp

from gateway.web.server.drain_times import SENDERS
from tests.support.exchange import read_answer, request_bytes
from tests.support.webhooks import PATH, event, signed

Pause = Callable[[], float]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_DEEP = 5
"""Requests that a pipelining sender sends before it reads an answer."""
_ANSWER_SECONDS = 30.0


class Senders:
    """Senders of several kinds. `accepted` counts the accepted requests by kind, and `failed` describes the others."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.accepted: dict[str, int] = {}
        self.failed: list[str] = []
        self._going = True
        self._random = random.Random(9112)

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Let all of them send in this block; at its end each one finishes what it has begun."""
        # A sender that pauses for as long as a stop waits for the next request sends just when the stop ends its connection.
        busy, slow = self._between(0.0, 0.2), self._between(SENDERS.kept - 0.2, SENDERS.kept + 0.8)
        threads = [
            threading.Thread(target=self._http_client, args=(name, pause), name=name)
            for name, pause, number in (("http.client", busy, 2), ("http.client, slow", slow, 8))
            for _ in range(number)
        ]
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
            works: list[Awaitable[None]] = [self._aiohttp("aiohttp", session, busy) for _ in range(3)]
            works += [self._aiohttp("aiohttp, slow", session, slow) for _ in range(8)]
            works += [self._raw("raw", 1, busy) for _ in range(2)]
            works += [self._raw("raw, slow", 1, slow) for _ in range(30)]
            works += [self._raw("pipelining", _DEEP, busy) for _ in range(2)]
            works += [self._raw("pipelining, slow", _DEEP, slow) for _ in range(4)]
            load = asyncio.gather(*works)
            for thread in threads:
                thread.start()
            try:
                yield
            finally:
                self._going = False
                await load
                for thread in threads:
                    await asyncio.to_thread(thread.join)

    def total(self) -> int:
        return sum(self.accepted.values())

    def _between(self, least: float, most: float) -> Pause:
        return lambda: self._random.uniform(least, most)

    def _note(self, name: str, status: int, answer: object) -> None:
        if status == 200:
            self.accepted[name] = self.accepted.get(name, 0) + 1
        else:
            self.failed.append(f"{name}: {status} {answer!r}")

    async def _aiohttp(self, name: str, session: aiohttp.ClientSession, pause: Pause) -> None:
        host, port = self.address
        while self._going:
            body = event()
            headers = {key: str(value) for key, value in signed(body)}
            try:
                async with session.post(f"http://{host}:{port}{PATH}", data=body, headers=headers) as answer:
                    self._note(name, answer.status, await answer.read())
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self.failed.append(f"{name}: {error!r}")
            await asyncio.sleep(pause())

    def _http_client(self, name: str, pause: Pause) -> None:
        connection = http.client.HTTPConnection(*self.address, timeout=_ANSWER_SECONDS)
        rest = threading.Event()
        while self._going:
            body = event()
            if connection.sock is not None and select.select([connection.sock], [], [], 0)[0]:
                connection.close()  # it has ended
            try:
                connection.request("POST", PATH, body, {key: str(value) for key, value in signed(body)})
                answer = connection.getresponse()
                self._note(name, answer.status, answer.read())
            except (http.client.HTTPException, OSError) as error:
                self.failed.append(f"{name}: {error!r}")
                connection.close()
            rest.wait(pause())
        connection.close()

    async def _raw(self, name: str, number: int, pause: Pause) -> None:
        """Send `number` requests at once; those that a `Connection: close` leaves unanswered go again on another connection.

        RFC 9112, section 9.6, allows that.
        """
        streams: Streams | None = None
        owed: list[bytes] = []
        while self._going or owed:
            while len(owed) < number:
                body = event()
                owed.append(request_bytes(body, signed(body)))
            if streams is not None and _has_ended(streams):
                streams[1].transport.abort()
                streams = None
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    streams = streams or await asyncio.open_connection(*self.address)
                    streams[1].write(b"".join(owed))
                    while owed and streams is not None:
                        answer = await read_answer(streams[0], 0.0)
                        self._note(name, answer.status, answer.body)
                        owed.pop(0)
                        if answer.header("connection") == "close":
                            streams[1].transport.abort()
                            streams = None
            except (OSError, EOFError, TimeoutError) as error:
                self.failed.append(f"{name}: {error!r}, {len(owed)} of {number} without an answer")
                streams, owed = None, []
            if not owed:
                await asyncio.sleep(pause())
        if streams is not None:
            streams[1].transport.abort()


def _has_ended(streams: Streams) -> bool:
    """True if the other side has closed: nothing else makes an idle connection readable."""
    descriptor = streams[1].get_extra_info("socket").fileno()
    return streams[0].at_eof() or descriptor == -1 or bool(select.select([descriptor], [], [], 0)[0])
