"""Begins a reconciliation by itself after a pause of the sender that is longer than its retries, and when it falls silent.

The sender gives up on a message about 2 h 35 min after its first attempt. So after a longer time without a message of the source,
because this gateway was down or could not be reached, messages may be lost for good. Quiet hours look the same, and then the
reconciliation finds nothing. A source counts as silent after `silent_after`, which people choose for theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.core.errors import StoreError
from gateway.core.reconciliation import Trigger, is_gap
from gateway.host.clock import Clock
from gateway.observability.logs import Log, Sparing
from gateway.reconcile.reconciler import Reconciling

_LOOK_SECONDS = 30.0


class Gaps:
    """Compares the last message of the source with the one before it."""

    def __init__(
        self,
        *,
        settings: Callable[[], Reconciling | None],
        last_arrival: Callable[[str, float], Awaitable[float | None]],
        arrived_at: Callable[[str], float | None],
        is_silent: Callable[[str], bool],
        begin: Callable[[Trigger], Awaitable[bool]],
        clock: Clock,
        log: Log,
    ) -> None:
        """
        Args:
            settings: returns the settings of the moment; None if the configuration has no [reconcile].
            last_arrival: reads when a stored message of a source arrived: one since an instant if there is any, else an earlier
                one, and None without any (Unix seconds). It may raise StoreError.
            arrived_at: returns when the last message of a source arrived since the start; None if none did.
            is_silent: returns True while people know that a source is silent.
            begin: begins a reconciliation; it returns False if that has to be tried later.
        """
        self._settings = settings
        self._last_arrival = last_arrival
        self._arrived_at = arrived_at
        self._is_silent = is_silent
        self._begin = begin
        self._clock = clock
        self._say = Sparing(log, clock.monotonic).say
        self._source: str | None = None
        """The source that was looked at before; None before the first look, and while there are no settings."""
        self._last: float | None = None
        """The last message of the source up to the look before this one, or a later instant at which a gap was noticed."""
        self._was_silent = False
        """The source was silent at the look before this one, and a reconciliation began because of it."""

    async def run(self) -> None:
        """Look every half minute, until cancelled."""
        while True:
            await self.step()
            await self._clock.wait(asyncio.Event(), _LOOK_SECONDS)

    async def step(self) -> None:
        """Look once."""
        settings = self._settings()
        if settings is None:
            self._source = None
            return
        if settings.source != self._source:
            await self._start(settings)
            return
        silent = self._is_silent(settings.source)
        if silent and not self._was_silent and not await self._begin("source_silent"):
            return
        self._was_silent = silent
        heard = self._arrived_at(settings.source)
        if heard is None:
            return
        if is_gap(self._last, heard, settings.gap) and not await self._begin("gap"):
            return
        self._last = heard

    async def _start(self, settings: Reconciling) -> None:
        """Look for a gap until now: that is the pause during which the gateway did not run."""
        now = self._clock.now()
        try:
            last = await self._last_arrival(settings.source, now - settings.gap)
        except StoreError as error:
            self._say("warning", "reconcile.postponed", "gap", trigger="gap", error=str(error))
            return
        if is_gap(last, now, settings.gap):
            if not await self._begin("gap"):
                return
            last = now  # the first message after this start tells of no other gap
        self._source, self._last = settings.source, last
        self._was_silent = False
