"""Seals the audit log once a minute, or after 10,000 lines, and tells the head of the chain once a day by an event.

It computes in a thread of its own, with pauses. The writer of the log only remembers its lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from gateway.core.values import rfc3339
from gateway.host.blocking import Pauses, Worker
from gateway.host.clock import Clock
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log, Sparing
from gateway.observability.metrics import Metrics
from gateway.observability.unsealed import SealHead, Seals

SEAL_SECONDS = 60.0
"""Seconds between two seals, unless many lines come."""
SEAL_LINES = 10_000
"""Lines after which a seal does not wait for its time."""
_LOOK_SECONDS = 1.0
_DAY = len("2026-03-01")


class Sealing:
    """Writes the seals. While the disk refuses one, it tries again each second; no line waits for it."""

    def __init__(
        self,
        *,
        audit: AuditLog,
        seals: Seals,
        tell: Callable[[SealHead], Awaitable[bool]],
        metrics: Metrics,
        clock: Clock,
        log: Log,
    ) -> None:
        """
        Args:
            seals: what `audit` was built with.
            tell: makes the event of the day; it returns False if it has to be told later.
        """
        self._audit = audit
        self._seals = seals
        self._tell = tell
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._say = Sparing(log, clock.monotonic).say
        self._thread = Worker("audit-seal")
        self._turn = asyncio.Lock()
        self._sealed_at = clock.monotonic()
        self._unkept = False

    def begin(self, log: Path) -> None:
        """Go on with the chain of the life before this one. Call it before any line is written; it reads the end of the log."""
        try:
            found = self._seals.begin(log)
        except OSError as error:
            self._log.error("audit.chain_unread", path=str(log), error=error.strerror, do="let the gateway's user read the log")
            return
        if found.lost:
            do = "compare the log with its copies, and `gateway evidence audit` with the head that was told last"
            self._log.error("audit.seals_lost", path=str(log), seals=found.lost, do=do)
        if found.read_back:
            self._log.info("audit.read_back", path=str(log), lines=found.read_back)

    async def run(self) -> None:
        """Step until cancelled."""
        while True:
            await self.step()
            await self._clock.wait(asyncio.Event(), _LOOK_SECONDS)

    async def step(self) -> None:
        """Seal if it is time to. Hash what was written meanwhile in any case, so that no memory gathers."""
        unsealed = self._seals.unsealed
        if unsealed and (unsealed >= SEAL_LINES or self._clock.monotonic() - self._sealed_at >= SEAL_SECONDS):
            await self.now()
        elif unsealed:
            async with self._turn:
                await self._in_thread(partial(self._audit.hash, self._pause()))
        self._metrics.seals(self._seals.head.number, self._seals.unsealed)
        await self._tell_head()

    async def now(self) -> SealHead:
        """Seal at once what no seal covers, and return the head. A seal that the disk refuses is left for later."""
        async with self._turn:
            return await self._sealed()

    async def finish(self) -> None:
        """Write the last seal of this life, after the last line was written, and end the thread."""
        try:
            await self.now()
        finally:
            self._thread.shutdown(wait=False)

    async def _sealed(self) -> SealHead:
        try:
            if await self._in_thread(self._seal):
                self._sealed_at = self._clock.monotonic()
        except OSError as error:
            # The lines stay unsealed, and the audit log itself reports a disk that takes no lines either.
            self._say("warning", "audit.not_sealed", "", path=str(self._audit.path), error=error.strerror)
        return self._seals.head

    async def _tell_head(self) -> None:
        head, day = self._seals.head, rfc3339(self._clock.now())[:_DAY]
        if not head.number or head.told == day:
            return
        self._seals.told(day)  # before: the event makes lines, and with them the next seal
        if not await self._tell(head):
            self._seals.told(head.told)
            return
        async with self._turn:
            await self._in_thread(self._keep)

    def _seal(self) -> bool:
        sealed = self._audit.seal(self._pause())
        if sealed:
            self._keep()
        return sealed

    def _keep(self) -> None:
        try:
            self._seals.keep()
            self._unkept = False
        except OSError as error:
            was_unkept, self._unkept = self._unkept, True
            if not was_unkept:  # the log itself has the chain; only a log that loses its end would not be told from a new one
                self._log.warning("audit.head_not_kept", error=error.strerror)

    def _pause(self) -> Callable[[], None]:
        return Pauses(self._clock.monotonic)

    async def _in_thread(self, work: Callable[[], bool | None]) -> bool:
        return bool(await asyncio.get_running_loop().run_in_executor(self._thread, work))
