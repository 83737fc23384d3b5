"""More webhooks than the disk can take: a bounded number waits for the commit, and the rest is refused with `Retry-After`."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from aiohttp import web

from gateway.config.addresses import Tcp
from gateway.core.networks import Networks
from gateway.core.retry import RetryPolicy
from gateway.core.routing import Route, Router
from gateway.core.secrets import Secret
from gateway.core.signature import Key
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.ingest.accept import Inbox, Rules
from gateway.ingest.disk_space import DiskSpace
from gateway.ingest.receive import Intake, Source
from gateway.ingest.rejections import Rejections
from gateway.ingest.source_watch import SourceWatch
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.store.base import MOST_WAITING
from gateway.store.sqlite.store import SqliteStore
from gateway.web.server.bounded import BoundedServer
from gateway.web.server.listen import listen
from gateway.web.server.places import MOST_CONNECTIONS
from gateway.web.webhooks.access import Access
from gateway.web.webhooks.ingress import Ingress
from tests.fakes import own_events_for
from tests.store.kit import Trap, new, one, serving
from tests.support.exchange import Answer, exchange, request_bytes
from tests.support.webhooks import PATH, SECRET, event, signed


@asynccontextmanager
async def _listening(store: SqliteStore, audit: AuditLog) -> AsyncIterator[tuple[str, int]]:
    """The listener for webhooks on a real socket, with all that stands between it and the store."""
    clock, metrics = Clock(), Metrics()
    log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
    rejections = Rejections(audit, metrics, clock)
    rules = Rules(router=Router([Route(name="all", sinks=("erp",))]), policies={"erp": RetryPolicy()})
    intake = Intake(
        audit=audit,
        inbox=Inbox(store=store, audit=audit, rules=rules, offer=lambda owed, due: None, metrics=metrics, clock=clock, log=log),
        own_events=(own_events := own_events_for(store, audit, clock)),
        watch=(watch := SourceWatch(tell=own_events.source_refused, metrics=metrics, clock=clock, log=log)),
        space=DiskSpace(lambda: 1, 0, metrics, log),
        keep=lambda request: None,
        metrics=metrics,
        clock=clock,
    )
    source = Source("legitmark", [Key(Secret(SECRET))], 300.0, {})
    everybody = Access(Networks(), {})
    ingress = Ingress(
        {PATH: source}, intake, rejections, watch=watch, access=everybody, max_body=256 * 1024, clock=clock, log=log
    )
    runner = web.ServerRunner(BoundedServer(ingress.handle, logging.Logger("quiet")), shutdown_timeout=0.1)
    await runner.setup()
    try:
        host, _, port = (await listen(runner, Tcp("127.0.0.1", 0), Environment({}))).rpartition(":")
        yield host, int(port)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _writing(path: Path) -> AsyncIterator[AuditLog]:
    audit = AuditLog(path, Clock(), structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[]))
    running = asyncio.create_task(audit.run())
    try:
        yield audit
    finally:
        audit.finish()
        await running
        audit.close()


async def test_a_request_beyond_those_that_may_wait_is_answered_overloaded_and_the_others_are_kept(tmp_path: Path) -> None:
    database, release = tmp_path / "gateway.db", threading.Event()

    async with (
        _writing(tmp_path / "audit.jsonl") as audit,
        serving(database, audit=audit) as store,
        _listening(store, audit) as address,
    ):

        async def post(number: int = 0) -> Answer:
            body = event()
            # One peer alone holds at most a quarter of the places: its further requests would not be read.
            peer = (f"127.0.0.{2 + number * 8 // MOST_CONNECTIONS}", 0)
            return await exchange(address, request_bytes(body, signed(body)), local_addr=peer)

        in_commit = threading.Event()

        def hold() -> None:
            in_commit.set()
            release.wait(60)

        held = asyncio.ensure_future(store.accept(new(Trap("held", hold))))
        try:
            assert await asyncio.to_thread(in_commit.wait, 10)
            posts = [asyncio.ensure_future(post(number)) for number in range(MOST_WAITING + 1)]
            done, waiting = await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED, timeout=60)
            (refused,) = [task.result() for task in done]
            assert refused.outcome == (503, "overloaded") and refused.header("retry-after") == "5"
            assert set(refused.json()) == {"error", "detail"} and len(waiting) == MOST_WAITING
        finally:
            release.set()
        assert {answer.outcome for answer in await asyncio.gather(*waiting)} == {(200, "accepted")}
        await held
        assert (await post()).outcome == (200, "accepted"), "the sender's next try"
        await audit.flush()
        assert one(database, "SELECT count(*) FROM messages") == MOST_WAITING + 2
        assert b'"event":"message.rejected","source":"legitmark","reason":"overloaded"' in audit.path.read_bytes()
