"""Tells people once about a source that has sent nothing for long, and about a sink that has been failing for long.

`gateway.sink_opened` tells of each opened breaker; a sink that works for a moment between two failures would be one such event
after the other, and none that says how long it lasts. What is counted survives a restart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import structs

from gateway.core.audit_event_kinds import GatewayEvent
from gateway.core.audit_events import SinkFailing, SourceSilent
from gateway.core.errors import StoreError
from gateway.core.lasting import CALM, Lasting, LastingKind
from gateway.core.values import Duration, rfc3339
from gateway.core.vocabulary import OwnEvent
from gateway.delivery.lane import Lane
from gateway.host.clock import Clock
from gateway.ingest.remembered_events import RememberedEvents
from gateway.ingest.source_watch import SourceWatch
from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics
from gateway.store.base import Watching

_KEEP_SECONDS = 60.0
"""Seconds between two writes of what has lasted, and those that a crash may lose."""
_LONGEST_LOOK = 60.0
"""Seconds that one look counts at most: while the process was halted, it listened to nobody."""
_Key = tuple[LastingKind, str]


class LastingTroubles:
    """Looks at sources and sinks; `step` has to be called about once a second."""

    def __init__(
        self,
        silent_after: Mapping[str, Duration],
        failing_after: Mapping[str, Duration],
        *,
        watch: SourceWatch,
        lanes: Mapping[str, Lane],
        store: Watching,
        events: RememberedEvents,
        metrics: Metrics,
        clock: Clock,
        log: Log,
    ) -> None:
        """
        Args:
            silent_after: by source, the time without a message after which people are told; 0 never tells.
            failing_after: by sink, the time of failures after which people are told; 0 never tells.
        """
        self._silent_after = dict(silent_after)
        self._failing_after = dict(failing_after)
        self._watch = watch
        self._lanes = lanes
        self._store = store
        self._events = events
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._looked_at = clock.monotonic()
        self._keep_at = clock.monotonic() + _KEEP_SECONDS
        self._calm: dict[str, float] = {}
        """Seconds since the breaker of a sink closed."""
        self._now: dict[_Key, Lasting] = {}
        self._kept: dict[_Key, Lasting] = {}
        """The troubles as the store has them."""
        self._read = False
        """True once they are read from the store."""

    def use(self, silent_after: Mapping[str, Duration], failing_after: Mapping[str, Duration]) -> None:
        """Go by other times from now on, and forget what left the configuration."""
        self._silent_after, self._failing_after = dict(silent_after), dict(failing_after)

    def silent(self) -> tuple[Lasting, ...]:
        """Return the sources that are silent, and that people know of."""
        return tuple(one for one in self._now.values() if one.told and one.kind == "source_silent")

    def is_silent(self, source: str) -> bool:
        """Return True if a source is silent, and people know of it."""
        one = self._now.get(("source_silent", source))
        return one is not None and one.told

    async def step(self) -> None:
        """Count the time since the last look, and tell what has lasted long enough. Raises StoreError."""
        if not self._read:
            self._kept = {(one.kind, one.subject): one for one in await self._store.lasting()}
            # After a commit that failed, what was counted meanwhile is lost: at most a minute.
            self._now, self._read = dict(self._kept), True
        now = self._clock.monotonic()
        before, self._looked_at = self._looked_at, now
        found = {(one.kind, one.subject): one for one in self._look(before, min(now - before, _LONGEST_LOOK))}
        ended = [one.ended() for key, one in self._now.items() if key not in found]
        self._now = found
        for one in ended:
            self._metrics.forget_lasting(one.kind, one.subject)
        for one in found.values():
            self._metrics.lasting(one.kind, one.subject, told=one.told)
        await self._keep(ended)
        for one in list(found.values()):
            if one.is_due(self._after(one)) and self._troubled(one):
                await self._tell(one)

    def _look(self, since: float, seconds: float) -> Iterator[Lasting]:
        for source, after in self._silent_after.items():
            if after > 0:
                one = self._now.get(("source_silent", source), Lasting("source_silent", source))
                heard_at = self._watch.heard_at(source)
                if heard_at is not None and heard_at >= since:
                    if one.told:
                        self._log.info("source.heard", source=source, seconds=round(one.elapsed))
                    yield one.ended()
                else:
                    yield one.goes_on(seconds)
        for sink, after in self._failing_after.items():
            lane = self._lanes.get(sink)
            if after > 0 and lane is not None:
                one = self._now.get(("sink_failing", sink), Lasting("sink_failing", sink))
                yield one if lane.gates.paused else self._of_a_sink(one, seconds, is_open=lane.gates.breaker.is_open)

    def _of_a_sink(self, one: Lasting, seconds: float, *, is_open: bool) -> Lasting:
        self._calm[one.subject] = 0.0 if is_open else self._calm.get(one.subject, 0.0) + seconds
        if not is_open and not one.begun:
            return one
        if self._calm[one.subject] >= CALM:
            if one.told:
                self._log.info("sink.recovered", sink=one.subject, seconds=round(one.elapsed))
            return one.ended()
        return one.goes_on(seconds)

    def _after(self, one: Lasting) -> float:
        times = self._silent_after if one.kind == "source_silent" else self._failing_after
        return times.get(one.subject, 0.0)

    def _troubled(self, one: Lasting) -> bool:
        """The trouble is there at this moment. A sink that is calm now may be over it."""
        return one.kind == "source_silent" or not self._calm.get(one.subject, 0.0)

    async def _keep(self, ended: list[Lasting]) -> None:
        """Write what changed: once a minute, and at once what ended, so that no crash brings it back."""
        now = self._clock.monotonic()
        changed = [one for key, one in self._now.items() if one != self._kept.get(key, one.ended())]
        if now >= self._keep_at:
            self._keep_at = now + _KEEP_SECONDS
            changed = [one for one in changed if one.elapsed >= _KEEP_SECONDS or (one.kind, one.subject) in self._kept]
        else:
            changed = [one for one in changed if not one.begun]
        changed = [one for one in (*changed, *ended) if one.begun or (one.kind, one.subject) in self._kept]
        if not changed:
            return
        try:
            await self._store.keep(changed)
        except StoreError:
            self._read = False
            raise
        for one in changed:
            if one.begun:
                self._kept[one.kind, one.subject] = one
            else:
                self._kept.pop((one.kind, one.subject), None)

    async def _tell(self, one: Lasting) -> None:
        told = structs.replace(one, told=True)
        after, since = Duration(self._after(one)), rfc3339(self._clock.now() - one.elapsed)
        values: dict[str, str | None]
        line: GatewayEvent
        if one.kind == "source_silent":
            detail = f"nothing has come from {one.subject} for {after}"
            kind, values = OwnEvent.SOURCE_SILENT, {"source": one.subject, "detail": detail}
            line = SourceSilent(source=one.subject, detail=detail)
        else:
            lane = self._lanes.get(one.subject)
            failure = lane.last_failure if lane is not None else None
            reason, said = (failure.reason.value, failure.detail) if failure is not None else (None, "")
            detail = f"failing for {after}{f': {said}' if said else ''}"
            kind, values = OwnEvent.SINK_FAILING, {"sink": one.subject, "reason": reason, "detail": said or None}
            line = SinkFailing(sink=one.subject, reason=reason, detail=detail)
        if not await self._events.tell(kind, values | {"since": since}, (told,), line):
            self._read = False
            return
        self._now[one.kind, one.subject] = self._kept[one.kind, one.subject] = told
        self._metrics.lasting(one.kind, one.subject, told=True)
