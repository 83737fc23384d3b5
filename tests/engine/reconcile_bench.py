"""A reconciler with a real store, audit log and HTTP client, a clock that tests move, and an API that answers what they say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from gateway.core.errors import StoreError
from gateway.core.patterns import compile_pattern
from gateway.core.reconciliation import KnownState
from gateway.core.records import NewMessage, Owed
from gateway.core.retry import RetryPolicy
from gateway.core.routing import GATEWAY, Route, Router
from gateway.core.secrets import Secret
from gateway.ingest.accept import Inbox, Rules
from gateway.ingest.own_events import OwnEvents
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.reconcile.announcements import Announcements
from gateway.reconcile.jobs import Job, Reconciled
from gateway.reconcile.known_states import KnownStates
from gateway.reconcile.legitmark_api import ApiAccess, LegitmarkApi
from gateway.reconcile.reconciler import Reconciler, Reconciling
from gateway.store.base import Lines, Told
from gateway.store.sqlite.store import SqliteStore
from tests.engine.bench import working
from tests.fakes import START, FakeClock
from tests.store.kit import rows
from tests.support.fake_legitmark import KEY, FakeLegitmark

SOURCE = "legitmark"


def uuid_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


class KnownByTest:
    """States that a test knows, in place of the store's."""

    def __init__(self) -> None:
        self.states: dict[str, KnownState] = {}
        self.failing = False
        self.texts: dict[str, list[str]] = {}
        """The uuids that a reference id, or another text, stands for."""

    def add(self, number: int, state: str | None, at: float | None = START, **more: Any) -> str:
        sr_uuid = uuid_of(number)
        self.states[sr_uuid] = KnownState(sr_uuid=sr_uuid, state=state, at=at, **more)
        return sr_uuid

    async def state(self, source: str, sr_uuid: str) -> KnownState | None:
        self._check(source)
        return self.states.get(sr_uuid)

    async def named(self, source: str, text: str) -> Sequence[str]:
        self._check(source)
        return self.texts.get(text) or [sr_uuid for sr_uuid in self.states if sr_uuid == text]

    async def open_requests(self, source: str, most: int) -> Sequence[KnownState]:
        self._check(source)
        opened = [one for one in self.states.values() if not (one.state or "").startswith(("COMPLETE", "CANCELLED"))]
        return sorted(opened, key=lambda one: one.at or 0.0)[:most]

    def _check(self, source: str) -> None:
        assert source == SOURCE
        if self.failing:
            raise StoreError("the disk is full")


class RefusingStore(SqliteStore):
    """A store that refuses a number of messages."""

    refused = 0

    def submit(self, new: NewMessage, told: Told, lines: Lines[Any] | None = None) -> None:
        if self.refused > 0:
            self.refused -= 1
            told(StoreError("the disk is full"))
        else:
            super().submit(new, told, lines)


class ReconcileBench:
    """A reconciler and the parts that it needs. Routes send the gateway's own events to `desk`, and all others to `erp`."""

    def __init__(self, store: RefusingStore, audit: AuditLog, clock: FakeClock, api: FakeLegitmark) -> None:
        self.store, self.audit, self.clock, self.api = store, audit, clock, api
        self.known = KnownByTest()
        self.states: KnownStates = self.known
        """The states that the next reconciler compares with."""
        self.metrics = Metrics()
        self.log = structlog.testing.CapturingLogger()
        self.offered: list[Owed] = []
        log = structlog.wrap_logger(self.log, processors=[])
        pattern, _ = compile_pattern({"event_type": "state_change"})
        routes = [
            Route(name="told", sinks=("desk",), sources=(GATEWAY,)),
            Route(name="states", sinks=("erp",), match=(pattern,)),
        ]
        rules = Rules(router=Router(routes), policies={"desk": RetryPolicy(), "erp": RetryPolicy()})
        inbox = Inbox(
            store=store,
            audit=audit,
            rules=rules,
            offer=lambda owed, due: self.offered.append(owed),
            metrics=self.metrics,
            clock=clock,
            log=log,
        )
        self.inbox = inbox
        own_events = OwnEvents(inbox=inbox, clock=clock, log=log)
        self._announcements = Announcements(inbox=inbox, own_events=own_events, clock=clock, log=log)
        self.reconciler = self.another(self.settings())

    def another(self, settings: Reconciling, api: type[LegitmarkApi] = LegitmarkApi) -> Reconciler:
        """Make a reconciler, and work with it from now on."""
        self.reconciler = Reconciler(
            settings,
            known=self.states,
            announcements=self._announcements,
            acts=self.store,
            audit=self.audit,
            metrics=self.metrics,
            clock=self.clock,
            log=structlog.wrap_logger(self.log, processors=[]),
            open_api=api,
        )
        return self.reconciler

    def settings(
        self, *, emit: bool = False, key: str = KEY, most: int = 10_000, timeout: float = 30.0, **more: Any
    ) -> Reconciling:
        access = {"header": "authorization", "scheme": "Bearer", **more}
        return Reconciling(
            access=ApiAccess(url=self.api.url, key=Secret(key), timeout=timeout, **access),
            source=SOURCE,
            rate=2.0,
            most=most,
            emit=emit,
            gap=155 * 60.0,
        )

    async def ask(self, *ids: str, open_requests: bool = False) -> Job:
        """Begin a job as a person does, and work until it is over."""
        facts = await self.reconciler.begin(ids, open_requests=open_requests, actor="ann")
        job = self.reconciler.jobs.get(facts.job)
        await self.work(job)
        return job

    async def find(self, *ids: str) -> list[Reconciled]:
        return (await self.ask(*ids)).findings

    async def work(self, job: Job | None = None) -> None:
        """Step and let time pass in turn, until a job is over, or until nothing is left to do."""
        for _ in range(10_000):
            if job is not None and job.over:
                return
            pause = await self.reconciler.step()
            if pause is None:
                return
            self.clock.advance(pause)
        raise AssertionError("there is no end")

    async def steps(self, number: int) -> list[float | None]:
        """Make some steps, and let the time pass after each; return the pauses."""
        pauses = []
        for _ in range(number):
            pauses.append(await self.reconciler.step())
            self.clock.advance(pauses[-1] or 0.0)
        return pauses

    async def lines(self, *events: str) -> list[dict[str, Any]]:
        """The lines of the audit log about these events."""
        await self.audit.flush()
        raw = self.audit.path.read_bytes().splitlines() if self.audit.path.exists() else []
        return [line for line in map(json.loads, raw) if line["event"] in events]

    async def messages(self, source: str) -> list[dict[str, Any]]:
        """The bodies of the stored messages of a source."""
        kept = await asyncio.to_thread(rows, self.store.path, "SELECT body, source FROM messages ORDER BY seq")
        return [json.loads(body) for body, of in kept if of == source]


@asynccontextmanager
async def reconciling(folder: Path, clock: FakeClock) -> AsyncIterator[ReconcileBench]:
    async with (
        FakeLegitmark(lambda: clock.passed) as api,
        working(RefusingStore, folder, clock, structlog.testing.CapturingLogger()) as (store, audit),
    ):
        bench = ReconcileBench(store, audit, clock, api)
        try:
            yield bench
        finally:
            await bench.reconciler.aclose()
