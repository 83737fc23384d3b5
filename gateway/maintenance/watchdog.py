"""Tells systemd that this process is alive, as long as that is true: what does not move on any more is restarted from outside.

Before each ping the event loop reads from the database. A ping is withheld while something is stuck:

- the writer or the reader of the database, or the writer of the audit log, whose thread has been in one and the same piece of
  work for `STUCK` seconds. Work is short, or refused at once: that a disk is full, or that somebody else has locked the database,
  is an answer. What takes long by nature (`quick_check`, a backup) has a connection of its own, which is not looked at.
- a lane that began no step for `STUCK` seconds beyond the longest time that it may rest, or whose oldest attempt is that far
  beyond its timeout. A sink that is down or hangs, a pause, an open breaker, a rate are no reason: the lane goes round all the
  same, and the attempt ends by its timeout. Lanes are not looked at while the store or the audit log takes nothing, or a read is
  not answered, since they wait for the same; nor once they are told to stop.

A restart helps against none of the other troubles, and would be one more. So a read that is refused (locked) or has to queue
withholds no ping: a reader that does not come back from one does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.core.records import Counts
from gateway.delivery.lane import EXPIRY_SECONDS, Lane
from gateway.host.clock import Clock
from gateway.host.systemd import Systemd
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics
from gateway.store.base import Aging

STUCK = 60.0
"""Seconds. A disk under heavy load can hold one fsync for half of it."""
_LONGEST_PAUSE = 5.0
"""Seconds between two looks; less where systemd waits for pings so often that two would not fit."""


class _Pulse(Struct, frozen=True):
    """Something that moves on as long as it is well."""

    what: str
    at: Any
    """Changes with every move."""
    patience: float
    """Seconds for which it may stay."""
    ids: dict[str, str]


class Watchdog:
    def __init__(
        self,
        *,
        store: Aging,
        audit: AuditLog,
        lanes: Mapping[str, Lane],
        systemd: Systemd,
        status: Callable[[Mapping[str, Counts]], str],
        metrics: Metrics,
        clock: Clock,
        log: Log,
    ) -> None:
        """`status` makes the line that `systemctl status` shows of the counters of each sink."""
        self._store = store
        self._audit = audit
        self._lanes = lanes
        self._systemd = systemd
        self._status = status
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._pause = min(_LONGEST_PAUSE, systemd.watchdog / 4 if systemd.watchdog else _LONGEST_PAUSE)
        self._seen: dict[str, tuple[Any, float]] = {}
        """Where each pulse was, and since when."""
        self._looked_at = clock.monotonic()
        self._stuck: set[str] = set()
        self._said = ""
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Ping until `stop`. Raises StoreFailed or StoreCorrupt where the read says that the disk can't be trusted."""
        while not self._stopping.is_set():
            await self.step()
            await self._clock.wait(self._stopping, self._pause)

    async def step(self) -> None:
        """Look at everything once, and ping unless something is stuck."""
        answered = await self._read()
        stuck = self._standing_still(self._pulses(lanes_too=answered))
        before, self._stuck = self._stuck, {pulse.what for pulse in stuck}
        if not stuck:
            self._systemd.alive(self._said)
        for pulse in stuck:
            if pulse.what not in before:
                self._metrics.violation("stuck")
                self._log.error(
                    "watchdog.stuck", what=pulse.what, **pulse.ids, do="report this; where WatchdogSec= is set, systemd restarts"
                )
        if before and not stuck:
            self._log.info("watchdog.recovered", what=sorted(before))

    def stop(self) -> None:
        self._stopping.set()

    async def _read(self) -> bool:
        """Read the counters for the status; False where that was refused, or waits for others for too long."""
        try:
            async with asyncio.timeout(self._pause):
                counts = await self._store.counts()
        except (StoreFailed, StoreCorrupt):
            raise
        except (StoreError, TimeoutError):
            return False
        self._said = self._status(counts)
        return True

    def _pulses(self, *, lanes_too: bool) -> Iterator[_Pulse]:
        threads = {f"{name} of the database": at for name, at in self._store.at_work.items()}
        threads["writer of the audit log"] = self._audit.at_work
        for what, at in threads.items():
            if at is not None:
                yield _Pulse(what, at, STUCK, {})
        for name, lane in self._lanes.items() if lanes_too else ():
            if lane.at_work:
                yield _Pulse(f"lane of {name}", lane.rounds, EXPIRY_SECONDS + STUCK, {"sink": name})
                if (oldest := lane.oldest_in_flight) is not None:
                    ids = {"sink": name, "message_id": oldest.message.id, "delivery_id": oldest.delivery_id}
                    yield _Pulse(f"attempt of {name}", (oldest.seq, oldest.attempts), lane.timeout + STUCK, ids)

    def _standing_still(self, pulses: Iterator[_Pulse]) -> list[_Pulse]:
        """Those that have stayed where they are for longer than they may; what is not looked at begins anew."""
        now, before, self._seen = self._clock.monotonic(), self._seen, {}
        if now - self._looked_at > STUCK / 2:
            before = {}  # we were halted ourselves, with the whole host perhaps: nobody had time to move
        self._looked_at = now
        still = []
        for pulse in pulses:
            at, since = before.get(pulse.what, (pulse.at, now))
            since = since if at == pulse.at else now
            self._seen[pulse.what] = (pulse.at, since)
            if now - since > pulse.patience:
                still.append(pulse)
        return still
