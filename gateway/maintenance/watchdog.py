"""Tells systemd that this process is alive, for as long as that is true. systemd kills and restarts a process that goes quiet.

Before each ping, the event loop reads from the database. The watchdog withholds a ping while something is stuck:

- The writer or the reader of the database, or the writer of the audit log: its thread has been at one and the same piece of work
  for `STUCK` seconds. Each piece of work is short, or refused at once: a full disk or a database that another process has locked
  is an answer. Work that takes long by nature (`quick_check`, a backup) has a connection of its own, which is not watched.
- A lane: it has begun no step for `STUCK` seconds beyond the longest time that it may rest, or its oldest attempt is that far
  beyond its timeout. A sink that is down or hangs, a pause, an open breaker and a rate limit are not stuck lanes: the lane makes
  its steps all the same, and the attempt ends by its timeout. Lanes are not watched while the store or the audit log takes
  nothing or a read is not answered, because they wait for the same; nor after they are told to stop.

A restart helps against no other trouble, and would only add to it. So a read that is refused (locked) or has to queue withholds
no ping; a reader that does not come back from one does.
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
from gateway.store.base import Maintaining

STUCK = 60.0
"""Seconds. A disk under heavy load can hold one fsync for half of it."""
_LONGEST_PAUSE = 5.0
"""Seconds between two looks; fewer if systemd asks for pings so often that two looks would not fit."""


class _Pulse(Struct, frozen=True):
    """One thing that moves on for as long as it is well."""

    what: str
    at: Any
    """A value that changes with every move."""
    patience: float
    """Seconds for which it may stay the same."""
    ids: dict[str, str]


class Watchdog:
    def __init__(
        self,
        *,
        store: Maintaining,
        audit: AuditLog,
        lanes: Mapping[str, Lane],
        systemd: Systemd,
        status: Callable[[Mapping[str, Counts]], str],
        metrics: Metrics,
        clock: Clock,
        log: Log,
    ) -> None:
        """`status` makes the line that `systemctl status` shows, from the counters of each sink."""
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
        """The value of each pulse, and since when it has been that."""
        self._looked_at = clock.monotonic()
        self._stuck: set[str] = set()
        self._said = ""
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Ping until `stop`. Raises StoreFailed or StoreCorrupt if the read finds that the disk can no longer be trusted."""
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
                    "watchdog.stuck",
                    what=pulse.what,
                    **pulse.ids,
                    do="report this as a bug; systemd restarts the gateway if WatchdogSec= is set",
                )
        if before and not stuck:
            self._log.info("watchdog.recovered", what=sorted(before))

    def stop(self) -> None:
        """Let `run` end after its step."""
        self._stopping.set()

    async def _read(self) -> bool:
        """Read the counters for the status line; False if the read was refused, or waits for others for too long."""
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
        """The pulses that have stayed the same for longer than they may. A pulse that is left out once starts again."""
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
