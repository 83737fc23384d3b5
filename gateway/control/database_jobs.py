"""Backups and checks of the whole database while it serves: one at a time, and never at the expense of ingest."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gateway.core.audit_events import DatabaseBackedUp
from gateway.core.documents import Backup, Health
from gateway.core.errors import BackupFailed, DatabaseJobBusy, GatewayError
from gateway.core.values import claim_of
from gateway.host.clock import Clock
from gateway.ingest.disk_space import DiskSpace
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log
from gateway.store.base import RESERVE, Copying, LongRead

_T = TypeVar("_T")
_LOOK_SECONDS = 0.05
"""Seconds between two looks at the disk, the caller and the gateway itself."""

Wanted = Callable[[], bool]
"""Returns True while the caller still waits."""


class DatabaseJobs:
    """Runs one backup or check at a time, and interrupts it if something more important needs the disk."""

    def __init__(self, *, store: Copying, space: DiskSpace, audit: AuditLog, clock: Clock, log: Log) -> None:
        self._store = store
        self._audit = audit
        self._space = space
        self._clock = clock
        self._log = log
        self._under_way: str | None = None
        self._stopping = False

    async def backup(self, file: Path, wanted: Wanted, actor: str) -> Backup:
        """Copy the database into a file of this host. Raises BackupFailed and its kin, or StoreError."""
        begun = self._clock.monotonic()
        try:
            backup = await self._beside(
                f"the backup to {file}",
                lambda: self._store.back_up(file, now=self._clock.now(), min_free=self._space.least),
                wanted,
            )
        except GatewayError as error:
            self._log.warning("store.backup_failed", file=str(file), error=str(error))
            raise
        detail = f"{backup.file}: {backup.messages} messages"
        self._audit.step(DatabaseBackedUp(detail=detail, actor=str(actor), claimed=claim_of(actor)))
        seconds = round(self._clock.monotonic() - begun, 3)
        self._log.info("store.backed_up", file=backup.file, size=backup.size, messages=backup.messages, seconds=seconds)
        return backup

    async def check(self, wanted: Wanted) -> Health:
        """Check the whole database. The findings are told and not acted upon: the caller decides. Raises as `backup`."""
        health = await self._beside("the check", self._store.examine, wanted)
        if health.damage or health.miscounted:
            self._log.error("store.unsound", file=health.file, damage=health.damage, miscounted=health.miscounted)
        return health

    def stop(self) -> None:
        """Interrupt the work under way, and begin no other: a stop waits for no backup."""
        self._stopping = True

    async def _beside(self, what: str, begin: Callable[[], LongRead[_T]], wanted: Wanted) -> _T:
        if self._under_way is not None:
            raise DatabaseJobBusy(f"{self._under_way} is under way, and one reads the whole database at a time: wait for its end")
        room = self._space.room()
        enough = min(room, RESERVE) // 2 if room > 0 else -math.inf  # without room, messages are refused already
        working = begin()
        self._under_way = what  # not before: what cannot begin is not under way
        working.ended.add_done_callback(self._over)  # if its disk hangs, that is long after this call
        why: str | None = None
        try:
            while not working.ended.done() and (why := self._trouble(enough, wanted)) is None:
                await asyncio.wait((working.ended,), timeout=_LOOK_SECONDS)
        finally:
            await working.end()
        if not working.ended.done():
            raise BackupFailed(f"{what} was given up, and its disk has not answered since: {why}")
        if why is not None and working.ended.exception() is not None:  # else it ended before it was interrupted
            raise BackupFailed(f"{what} was interrupted, and nothing is left of it: {why}")
        return working.ended.result()

    def _trouble(self, enough: float, wanted: Wanted) -> str | None:
        if not wanted():
            return "who asked for it has gone"
        if self._stopping:
            return "the gateway is stopping"
        # The snapshot keeps the write-ahead log from beginning again: it grows by everything that is written meanwhile.
        if self._space.room() < enough:
            return "the disk of the database is nearly full, and messages come first"
        return None

    def _over(self, _: object) -> None:
        self._under_way = None
