"""The listener for webhooks on a real socket, in the process of the test, with all that stands between it and the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from aiohttp import web

from gateway.config.addresses import Tcp
from gateway.core.caught_requests import RequestRing
from gateway.core.networks import Networks
from gateway.core.records import Accepted, NewMessage, Owes, Stored
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
from gateway.store.base import Accepting, Lines, Told
from gateway.web.play.onlookers import Onlookers
from gateway.web.responses import PlainAnswer
from gateway.web.server.bounded import BoundedServer
from gateway.web.server.listen import listen
from gateway.web.server.plain_request import PlainRequest
from gateway.web.server.tls import Tls
from gateway.web.webhooks.access import Access
from gateway.web.webhooks.ingress import Ingress
from tests.fakes import START, own_events_for
from tests.support.exchange import request_bytes
from tests.support.webhooks import PATH, SECRET, event, signed

OPEN = "/webhooks/open"
"""The path of a source without signatures."""
CLOSED = "/webhooks/closed"
"""The path of a source that no address of this host may send to."""
MAX_BODY = 64 * 1024
BODY = event("sr-1")
SENDER = ("User-Agent", "Svix-Webhooks/1.24 (sender-9YMgn)")
LOOPS = ["asyncio", "uvloop"]


@dataclass
class WebhookListener:
    """A listener that runs."""

    address: tuple[str, int]
    server: BoundedServer
    metrics: Metrics
    taken: list[bytes]
    """The bodies of the requests that took the short way."""
    onlookers: Onlookers
    """The people who watch; nobody does at first."""


@asynccontextmanager
async def webhook_listener(
    store: Accepting, audit: AuditLog, *, clock: Clock | None = None, short: bool = True, tls: Tls | None = None
) -> AsyncIterator[WebhookListener]:
    """Listen as `serve` does. Without `short`, every request goes through aiohttp."""
    clock, metrics = clock or Clock(), Metrics()
    log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
    rules = Rules(router=Router([Route(name="all", sinks=("erp",))]), policies={"erp": RetryPolicy()})
    own_events = own_events_for(store, audit, clock)
    watch = SourceWatch(tell=own_events.source_refused, metrics=metrics, clock=clock, log=log)
    intake = Intake(
        audit=audit,
        inbox=Inbox(store=store, audit=audit, rules=rules, offer=lambda owed, due: None, metrics=metrics, clock=clock, log=log),
        own_events=own_events,
        watch=watch,
        drift=lambda event, message: None,
        space=DiskSpace(lambda: 1, 0, metrics, log),
        keep=lambda request: None,
        metrics=metrics,
        clock=clock,
    )
    ring = RequestRing()
    onlookers = Onlookers(ring, gone=lambda: None, clock=clock)
    ingress = Ingress(
        _sources({PATH: [Key(Secret(SECRET))], CLOSED: [Key(Secret(SECRET))], OPEN: []}),
        intake,
        Rejections(audit, metrics, clock),
        watch=watch,
        onlookers=onlookers,
        access=Access(Networks(), {"closed": Networks(["203.0.113.0/24"])}),
        max_body=MAX_BODY,
        clock=clock,
        log=log,
    )
    way = Counting(ingress) if short else None
    server = BoundedServer(ingress.handle, logging.Logger("quiet"), short_way=way)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    try:
        host, _, port = (await listen(runner, Tcp("127.0.0.1", 0), Environment({}), tls)).rpartition(":")
        yield WebhookListener((host, int(port)), server, metrics, way.taken if way is not None else [], onlookers)
    finally:
        await runner.cleanup()


class Counting:
    """The short way, which remembers what took it."""

    def __init__(self, ingress: Ingress) -> None:
        self.taken: list[bytes] = []
        self._ingress = ingress

    def take(self, request: PlainRequest, connection: web.RequestHandler, answer: Callable[[PlainAnswer], None]) -> bool:
        taken = self._ingress.take(request, connection, answer)
        if taken:
            self.taken.append(request.body)
        return taken


def _sources(keys: dict[str, Sequence[Key]]) -> dict[str, Source]:
    return {path: Source(path.rpartition("/")[2], keys[path], 300.0, {}) for path in keys}


@asynccontextmanager
async def audit_log(path: Path, clock: Clock | None = None) -> AsyncIterator[AuditLog]:
    """An audit log that is written."""
    audit = AuditLog(path, clock or Clock(), structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[]))
    running = asyncio.create_task(audit.run())
    try:
        yield audit
    finally:
        audit.finish()
        await running
        audit.close()


class Store:
    """A store that gives each message the same result, at once or when it is let go. The audit log gets its lines before."""

    def __init__(self, audit: AuditLog, result: Stored | Exception = Accepted(1)) -> None:  # noqa: B008 (frozen)
        self.messages: list[NewMessage] = []
        self.holds = False
        self._audit = audit
        self._result = result
        self._held: list[Callable[[], None]] = []

    def submit(self, new: NewMessage, told: Told, lines: Lines[Stored] | None = None) -> None:
        owes = Owes(new.status, new.deliveries) if new.decide is None else new.decide(None)
        kept = msgspec.structs.replace(new, status=owes.status, deliveries=owes.deliveries, event=None, decide=None)
        self.messages.append(kept)
        if isinstance(self._result, ZeroDivisionError):
            raise self._result
        if self.holds:
            self._held.append(partial(self._tell, told, lines))
        else:
            self._tell(told, lines)

    async def accept(self, new: NewMessage) -> Stored:
        raise AssertionError(f"a webhook is submitted, not awaited: {new.message.id}")

    def let_go(self) -> None:
        self.holds, held, self._held = False, self._held, []
        for tell in held:
            tell()

    def _tell(self, told: Told, lines: Lines[Stored] | None) -> None:
        if lines is not None and not isinstance(self._result, Exception):
            self._audit.add(lines(self._result))
        told(self._result)


def webhook(body: bytes = BODY, *more: tuple[str, str], path: str = PATH, sender_id: str = "msg_1", age: int = 0) -> bytes:
    """A signed request. It names itself as the sender's own do, so that its refusals count."""
    return request_bytes(body, [SENDER, *signed(body, sender_id, timestamp=str(int(START) - age)), *more], path=path)


@asynccontextmanager
async def connection(live: WebhookListener, **options: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*live.address, **options)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


def on_loop(loop: str, test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on one of the two event loops, and fail if anything in it escaped to the loop."""
    complaints: list[dict[str, Any]] = []

    async def whole() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        await test()

    with asyncio.Runner(loop_factory=pytest.importorskip(loop).new_event_loop) as runner:
        runner.run(whole())
    assert complaints == []
