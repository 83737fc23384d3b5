"""`/live`: tells open pages, by server-sent events, that something has changed. A page then fetches itself again.

Nothing runs while nobody watches: each stream looks at one counter once a second. WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Final

from aiohttp import web

from gateway.host.clock import Clock
from gateway.web.pages.page_headers import PAGE_HEADERS
from gateway.web.responses import json_response

LIVE_PATH: Final = "/live"
PLAY_LIVE_PATH: Final = "/play/live"
"""The stream of the pages that show requests as they come: a person who follows it is an onlooker."""
MOST_STREAMS: Final = 32
HEARTBEAT_SECONDS: Final = 15.0
_STEP_SECONDS = 1.0
"""Seconds between two looks, and so between two events: whatever changed meanwhile is one event."""
_BUSY_CHANGES = 200.0
"""Changes a second beyond which all open pages together are told about once a second, not each of them: a page that is drawn
again takes processor time from the events that change it."""
_PATIENCE_SECONDS = 15.0
"""Seconds in which a browser has to take an event."""
_BEGINNING = b"retry: 3000\nevent: live\ndata: 1\n\n"
_CHANGED = b"event: changed\ndata: 1\n\n"
_HEARTBEAT = b"event: beat\ndata: 1\n\n"  # an event, since a script does not see comments
_ENDING = b"event: ending\ndata: 1\n\n"


class LiveStreams:
    """The streams that are open now."""

    def __init__(self, *, changes: Mapping[str, Callable[[], int]], stop: asyncio.Event, clock: Clock) -> None:
        """
        Args:
            changes: by the path of a stream, returns a number that grows by one with each change of what its pages show. It is
                called about once a second while somebody watches.
            stop: set when the gateway stops; all streams end then, before anything else does.
        """
        self._changes = changes
        self._stop = stop
        self._clock = clock
        self._told: dict[str, dict[object, float]] = {path: {} for path in changes}
        """The monotonic seconds when each open stream of a path last told of a change, or was opened."""

    @property
    def paths(self) -> Collection[str]:
        """The paths of all streams."""
        return self._changes.keys()

    @property
    def open(self) -> int:
        """How many streams are open."""
        return sum(map(len, self._told.values()))

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Stream until the browser goes, or the gateway stops. 503 if `MOST_STREAMS` are open."""
        if self.open >= MOST_STREAMS:
            detail = f"{MOST_STREAMS} pages are live already; this one shows what was when it was loaded"
            return json_response(503, {"error": "overloaded", "detail": detail}, {**PAGE_HEADERS, "Retry-After": "60"})
        response = web.StreamResponse(headers={**PAGE_HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        response.force_close()
        told = self._told[request.path]
        told[response] = self._clock.monotonic()
        try:
            changes = self._changes[request.path]
            seen = changes()
            await response.prepare(request)
            await self._follow(request, response, changes, seen, told)
        except (ConnectionResetError, TimeoutError):
            pass  # the browser has gone
        finally:
            del told[response]
        return response

    async def _follow(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        changes: Callable[[], int],
        seen: int,
        told: dict[object, float],
    ) -> None:
        await _say(response, _BEGINNING)
        said_at = told[response]
        while not await self._clock.wait(self._stop, _STEP_SECONDS):
            if request.transport is None or request.transport.is_closing():
                return
            now, changed = self._clock.monotonic(), changes()
            is_busy = changed - seen > _BUSY_CHANGES * (now - told[response])
            if changed != seen and (not is_busy or _is_next(response, told, now)):
                seen, said_at, told[response] = changed, now, now
                await _say(response, _CHANGED)
            elif now - said_at >= HEARTBEAT_SECONDS:
                await _say(response, _HEARTBEAT)
                said_at = now
        await _say(response, _ENDING)


def _is_next(stream: object, told: Mapping[object, float], now: float) -> bool:
    """Return whether a stream has waited longest, and no other has told of a change for a second."""
    return told[stream] == min(told.values()) and now - max(told.values()) >= _STEP_SECONDS


async def _say(response: web.StreamResponse, event: bytes) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        await response.write(event)
