"""The gateway's report on itself: the gauges of a scrape, and the facts of `gateway status`. Changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from msgspec import structs

from gateway import __version__
from gateway.core.attention import (
    GatewayStatus,
    LastDeath,
    LastError,
    LedgerFilling,
    RunningConfig,
    SinkCondition,
    SinkStatus,
    SourceStatus,
    WatchStatus,
    attention,
)
from gateway.core.dead_groups import one_line
from gateway.core.documents import Overview
from gateway.core.errors import StoreError
from gateway.core.kept_requests import KeptRequests
from gateway.core.lasting import Lasting
from gateway.core.records import Counts
from gateway.core.selection import DELIVERY_STATES
from gateway.delivery.lane import Lane
from gateway.delivery.memory import Memory
from gateway.host.clock import Clock
from gateway.ingest.disk_space import DiskSpace
from gateway.ingest.refused_requests import RefusedRequests
from gateway.ingest.source_watch import SourceWatch
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.observability.throughput import ByMinute, Throughput
from gateway.store.people import Surveying
from gateway.store.requests import SurveyingLedger

_MOST_DEATHS = 5
"""Sinks with dead deliveries of which the status says why the newest died: each costs the store one small question."""


class SurveyingStore(Surveying, SurveyingLedger, Protocol):
    """The verbs of the store that the report needs."""


class ShownCertificate(Protocol):
    """The TLS certificate that senders are shown."""

    @property
    def expires_at(self) -> float:
        """The instant at which it expires, in Unix seconds, UTC."""
        ...


class SelfReport:
    """Collects the facts that every other part knows of itself."""

    def __init__(
        self,
        *,
        store: SurveyingStore,
        audit: AuditLog,
        lanes: Mapping[str, Lane],
        space: DiskSpace,
        certificate: ShownCertificate | None,
        throughput: Throughput,
        metrics: Metrics,
        reasons: Callable[[], list[str]],
        config: Callable[[], RunningConfig],
        lines_dropped: Callable[[], int],
        memory: Memory,
        watch: SourceWatch,
        refused: RefusedRequests,
        silent: Callable[[], Iterable[Lasting]],
        stalled: Callable[[], Awaitable[Mapping[str, int]]],
        reconcile_refused: Callable[[], str | None],
        clock: Clock,
    ) -> None:
        """
        Args:
            certificate: the certificate that senders see now; None without TLS.
            reasons: returns why the gateway is not ready; an empty list if it is.
            config: returns the configuration that the gateway runs by.
            lines_dropped: returns how many lines of the log were lost since the start.
            memory: the memory that the lanes share.
            silent: returns the sources that have sent nothing for too long.
            stalled: counts by rule the service requests that do not move on; it may raise StoreError.
            reconcile_refused: returns why Legitmark's API refused the key; None while it does not.
        """
        self._store = store
        self._audit = audit
        self._lanes = lanes
        self._space = space
        self._certificate = certificate
        self._throughput = throughput
        self._metrics = metrics
        self._reasons = reasons
        self._config = config
        self._lines_dropped = lines_dropped
        self._memory = memory
        self._watch = watch
        self._refused = refused
        self._silent = silent
        self._stalled = stalled
        self._reconcile_refused = reconcile_refused
        self._clock = clock
        self._started = clock.monotonic()
        metrics.started(clock.now())

    async def measure(self) -> None:
        """Set the gauges that no event sets."""
        view, now = await self._overview(), self._clock.now()
        if view is not None:  # otherwise the other metrics are still worth having
            for sink in {*self._lanes, *view.counts}:
                number = view.counts.get(sink, Counts())
                for state in DELIVERY_STATES:
                    self._metrics.deliveries(sink, state, getattr(number, state))
                self._metrics.oldest(sink, _age(view, sink, now))
        self._metrics.log_dropped(self._lines_dropped())
        self._metrics.delivery_memory(self._memory.used, self._memory.limit)
        self._metrics.ledger(self._store.ledger_memory())
        files = self._store.sizes()
        self._metrics.store_bytes(database=files.database, wal=files.wal, free=view.free_bytes if view else None)
        store_failing, audit_failing = self._store.trouble is not None, self._audit.failing
        self._metrics.ready(not self._reasons(), store_failing=store_failing, audit_failing=audit_failing)

    async def status(self) -> GatewayStatus:
        """Read the present facts, and those among them that need a person."""
        view, now, files = await self._overview(), self._clock.now(), self._store.sizes()
        reasons = tuple(self._reasons())
        received, refused, delivered = self._throughput.flows()
        status = GatewayStatus(
            time=_instant(now),
            version=__version__,
            started_at=_instant(now - (self._clock.monotonic() - self._started)),
            ready=not reasons,
            not_ready=reasons,
            config=self._config(),
            received=received,
            refused=refused,
            delivered=delivered,
            sinks=await self._sinks(view, now),
            quarantined=view.quarantined if view else None,
            unrouted=view.unrouted if view else None,
            disk_free_bytes=self._space.free,
            disk_min_free_bytes=int(self._space.least),
            database_bytes=files.database,
            wal_bytes=files.wal,
            clock_suspect=self._watch.suspects_clock,
            sources=self._sources(now),
            watches=await self._watches(),
            certificate_expires_at=_instant(self._certificate.expires_at) if self._certificate else None,
            invariant_violations=self._metrics.totals.violations,
            reconcile_refused=self._reconcile_refused(),
            ledger_unjudged=self._store.ledger_memory().unjudged,
            ledger_filling=await self._ledger_filling(),
        )
        return structs.replace(status, attention=attention(status))

    def by_minute(self) -> ByMinute:
        """Return the traffic of the last hour, minute by minute."""
        return self._throughput.by_minute()

    async def _ledger_filling(self) -> LedgerFilling | None:
        if self._store.ledger_memory().complete:
            return None
        try:
            progress = await self._store.ledger_progress()
        except StoreError:
            return None  # /-/ready tells what is wrong with the store
        return None if progress.complete else LedgerFilling(read_to=progress.judged_to, newest=progress.newest)

    async def _watches(self) -> tuple[WatchStatus, ...]:
        try:
            stalled = await self._stalled()
        except StoreError:
            return ()
        return tuple(WatchStatus(watch=name, stalled=number) for name, number in stalled.items() if number)

    def _sources(self, now: float) -> tuple[SourceStatus, ...]:
        """Describe the sources that refuse every request, are silent, or of which refused requests are kept."""
        silent = {one.subject: one.elapsed for one in self._silent()}
        refusing, kept = {one.source: one for one in self._watch.refusing()}, self._refused.kept
        found = []
        for name in sorted(refusing.keys() | kept.keys() | silent.keys()):
            one, number = refusing.get(name), kept.get(name, KeptRequests())
            found.append(
                SourceStatus(
                    source=name,
                    refusing=one is not None,
                    since=_instant(one.since) if one else None,
                    count=one.count if one else 0,
                    reason=one.reason if one else None,
                    do=one.do if one else None,
                    kept_refused=number.count,
                    kept_refused_bytes=number.bytes,
                    silent_since=_instant(now - silent[name]) if name in silent else None,
                )
            )
        return tuple(found)

    async def _overview(self) -> Overview | None:
        try:
            return await self._store.overview()
        except StoreError:
            return None  # /-/ready tells what is wrong with the store

    async def _sinks(self, view: Overview | None, now: float) -> tuple[SinkStatus, ...]:
        """Describe the sinks of the configuration, then those that left it and still have queued or dead deliveries."""
        counted = view.counts if view else {}
        left = [sink for sink, number in counted.items() if sink not in self._lanes and (number.queued or number.dead)]
        names, found = (*self._lanes, *left), []
        errors = await self._last_errors(names)
        deaths = await self._last_deaths([sink for sink in names if counted.get(sink, Counts()).dead][:_MOST_DEATHS])
        for sink in names:
            lane, number = self._lanes.get(sink), counted.get(sink, Counts())
            gates = lane.gates.state if lane else None
            found.append(
                SinkStatus(
                    sink=sink,
                    state=_state(lane),
                    queued=number.queued if view else None,
                    dead=number.dead if view else None,
                    last_death=deaths.get(sink),
                    oldest_seconds=round(_age(view, sink, now), 1) if view else 0.0,
                    paused_at=_maybe(gates.paused_at) if gates else None,
                    paused_by=gates.paused_by if gates else None,
                    next_probe_at=_maybe(gates.breaker.probe_at) if gates else None,
                    held_until=_maybe(gates.held_until) if gates else None,
                    last_error=errors.get(sink),
                )
            )
        return tuple(found)

    async def _last_deaths(self, sinks: Sequence[str]) -> dict[str, LastDeath]:
        """Return why the newest dead delivery of each sink died."""
        found = {}
        for sink in sinks:
            try:
                page = await self._store.dead(sink, None, 1)
            except StoreError:
                break
            for one in (one for one in page.deliveries if one.reason or one.detail):
                found[sink] = LastDeath(reason=one.reason or "", detail=one.detail, answer=one_line(one.answer))
        return found

    async def _last_errors(self, sinks: Sequence[str]) -> dict[str, LastError]:
        """Return the last failure of each sink: from its lane, or else from the store, which knows those before the start."""
        lasts = {sink: last for sink in sinks if sink in self._lanes and (last := self._lanes[sink].last_failure) is not None}
        found = {
            sink: LastError(time=_instant(last.at), reason=last.reason.value, detail=last.detail, status=last.status)
            for sink, last in lasts.items()
        }
        others = [sink for sink in sinks if sink not in lasts]
        try:
            kept = await self._store.last_failures(others)
        except StoreError:
            return found
        return found | {
            sink: LastError(time=_instant(last.at), reason=last.reason, status=last.status, detail=last.detail)
            for sink, last in kept.items()
        }


def _state(lane: Lane | None) -> SinkCondition:
    if lane is None:
        return "held"
    if lane.gates.paused:
        return "paused"
    if lane.gates.breaker.is_open:
        return "breaker_open"
    return "rate_limited" if lane.gates.limited else "ok"


def _age(view: Overview, sink: str, now: float) -> float:
    return max(now - view.oldest[sink], 0.0) if sink in view.oldest else 0.0


def _instant(now: float) -> datetime:
    return datetime.fromtimestamp(int(now), UTC)


def _maybe(instant: float | None) -> datetime | None:
    return None if instant is None else _instant(instant)
