"""Puts the parts together and runs them: one task group, signals, drain. Every task has a name; one that dies ends all."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from aiohttp import web

from gateway import __version__
from gateway.clock import Clock
from gateway.config import Config
from gateway.config.listen import Tcp, parse
from gateway.config.settings import SourceSettings
from gateway.core.breaker import BreakerPolicy
from gateway.core.retry import RetryPolicy
from gateway.core.routing import Router
from gateway.core.signature import Key
from gateway.core.values import Environment
from gateway.engine.audit import AuditLog
from gateway.engine.catchup import catch_up
from gateway.engine.gates import Gates
from gateway.engine.inbox import Inbox, Rules
from gateway.engine.intake import Intake, Source
from gateway.engine.janitor import Janitor
from gateway.engine.lane import Lane, LaneSettings, LaneWorld
from gateway.engine.notices import Notices
from gateway.engine.operator import Operator
from gateway.engine.rejections import Rejections
from gateway.engine.space import Space
from gateway.signals import signals_call
from gateway.sinks import SinkConfig, open_sink
from gateway.sinks.base import Opening
from gateway.store import operations, reads
from gateway.store.records import Owed, SinkState
from gateway.store.sqlite import Store
from gateway.telemetry import Log, Metrics, RateLimited
from gateway.web.admin import Admin
from gateway.web.ingress import Ingress
from gateway.web.server import BoundedServer, Handler, listen

_CLEANUP_SECONDS = 0.5
"""For aiohttp to let go of connections that are drained or cut already: the drain itself is ours."""


class Gateway:
    """One running gateway. `run` returns after a clean stop and raises what ended it otherwise."""

    def __init__(self, config: Config, *, clock: Clock, log: Log, environment: Environment) -> None:
        self._config = config
        self._clock = clock
        self._log = log
        self._environment = environment
        self._metrics = Metrics()
        self._listening = False
        self._stop = asyncio.Event()
        self._cut = asyncio.Event()
        self._listeners: list[tuple[web.ServerRunner, BoundedServer]] = []
        self._lanes: dict[str, Lane] = {}
        self._troubles: list[Callable[[], str | None]] = []

    def stop(self) -> None:
        """The first call drains, the second cuts what is still in flight."""
        (self._cut if self._stop.is_set() else self._stop).set()

    async def run(self) -> None:
        """Serve until `stop`, SIGTERM or SIGINT.

        Raises StoreError and its kin, SinkSetupError or ListenError: the exception knows its exit code.
        """
        config = self._config
        store = await Store.open(config.database, config.store.retention)
        store.on_commit = self._metrics.commit
        audit = AuditLog(config.audit_log, self._clock, self._log)
        clean = False
        try:
            with signals_call(self.stop, self._cannot_reload):
                await self._run(store, audit)
            clean = audit.complete
        finally:
            for runner, server in self._listeners:
                for site in list(runner.sites):
                    await site.stop()
                server.cut()
                await runner.cleanup()
            audit.close()
            await store.close(clean=clean)

    def _cannot_reload(self) -> None:
        self._log.warning("config.reload", do="restart: this version reads its configuration at start alone")

    async def _open_lanes(self, world: LaneWorld) -> None:
        states = await world.store.read(reads.sink_states)
        for name, settings in self._config.sinks.items():
            sink = open_sink(settings, Opening(name, self._config.base, self._config.secret, self._clock))
            policy = BreakerPolicy(settings.breaker.failures, settings.breaker.probe)
            gates = Gates(states.get(name, SinkState()), policy, settings.rate, self._clock)
            by_sr = settings.ordering == "sr"
            lane_settings = LaneSettings(_policy(settings), settings.concurrency, settings.timeout, by_sr)
            self._lanes[name] = Lane(name, sink, lane_settings, gates, world)
            self._metrics.gate(name, "paused", closed=gates.paused)
            self._metrics.gate(name, "breaker", closed=gates.breaker.is_open)

    async def _run(self, store: Store, audit: AuditLog) -> None:
        config, metrics, clock, log = self._config, self._metrics, self._clock, self._log
        rejections = Rejections(audit, metrics, clock)
        space = Space(lambda: shutil.disk_usage(config.database.parent).free, config.store.min_free, metrics, log)
        rules = Rules(
            router=Router(config.routes),
            policies={name: _policy(settings) for name, settings in config.sinks.items()},
            in_order=frozenset(name for name, settings in config.sinks.items() if settings.ordering == "sr"),
        )
        inbox = Inbox(store=store, audit=audit, rules=rules, offer=self._offer, metrics=metrics, clock=clock, log=log)
        notices = Notices(inbox=inbox, clock=clock, log=log)
        await self._open_lanes(LaneWorld(store, audit, notices, metrics, clock, log))
        janitor = Janitor(
            store=store, lanes=self._lanes, rejections=rejections, space=space, metrics=metrics, clock=clock, log=log
        )
        intake = Intake(
            audit=audit,
            inbox=inbox,
            rejections=rejections,
            notices=notices,
            space=space,
            metrics=metrics,
            clock=clock,
            log=log,
        )
        self._troubles = [
            lambda: None if self._listening and not self._stop.is_set() else "starting or stopping",
            lambda: "the audit log can't be written" if audit.failing else None,
            lambda: "the disk has less than store.min_free left: webhooks are answered 503" if space.low else None,
            lambda: "this host's clock seems wrong: webhooks with right signatures are refused" if intake.clock_suspect else None,
            lambda: store.trouble,
        ]
        operator = Operator(store=store, audit=audit, router=rules.router, lanes=self._lanes, clock=clock)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(store.run(), name="store")
            tasks.create_task(audit.run(), name="audit")
            missing = await catch_up(store, audit, config.audit_log) if store.after_unclean_end else 0
            space.step()
            await store.change(partial(operations.note_absences, present=tuple(self._lanes), now=clock.now()))
            await store.change(partial(operations.note_ordering, in_order=rules.in_order, sinks=tuple(self._lanes)))
            await janitor.clamp()
            lanes = [tasks.create_task(lane.run(), name=f"lane:{lane.name}") for lane in self._lanes.values()]
            cleaning = tasks.create_task(janitor.run(), name="janitor")
            await self._serve(store, operator, intake, rejections)
            if store.after_unclean_end:
                tasks.create_task(store.quick_check(), name="quick_check")
            log.info("gateway.started", version=__version__, file=str(config.file), caught_up=missing or None)
            audit.step("gateway.started", detail=__version__)
            self._listening = True
            await self._stop.wait()

            log.info("gateway.stopping", drain=str(config.server.drain))
            await self._drain(lanes)
            janitor.stop()
            await cleaning  # it commits and audits, so it ends before those who do that for it
            audit.step("gateway.stopped")
            audit.finish()
            store.finish()
        log.info("gateway.stopped")

    async def _serve(self, store: Store, operator: Operator, intake: Intake, rejections: Rejections) -> None:
        config = self._config
        sources = {
            settings.path or "": Source(name, self._keys(settings), settings.tolerance, settings.identity_fields())
            for name, settings in config.sources.items()
        }
        ingress = Ingress(sources, intake, rejections, max_body=config.server.max_body, clock=self._clock, log=self._log)
        admin_hosts = {address.host for text in config.admin.listen if isinstance(address := parse(text, config.base), Tcp)}
        admin = Admin(
            store=store,
            operator=operator,
            metrics=self._metrics,
            reasons=lambda: [reason for trouble in self._troubles if (reason := trouble())],
            hosts=admin_hosts,
            token=config.secret(config.admin.token) if config.admin.token else None,
        )
        # The admin listener first: whoever waits for the gateway to be ready asks there.
        await self._listen("admin", admin.handle, config.admin.listen)
        await self._listen("webhooks", ingress.handle, config.server.listen)

    async def _listen(self, what: str, handler: Handler, texts: list[str]) -> None:
        logger = logging.Logger("aiohttp.server")
        logger.addHandler(RateLimited(self._log, self._clock.monotonic))
        server = BoundedServer(handler, logger)
        runner = web.ServerRunner(server, shutdown_timeout=_CLEANUP_SECONDS)
        self._listeners.append((runner, server))
        await runner.setup()
        for text in texts:
            address = await listen(runner, parse(text, self._config.base), self._environment)
            self._log.info("gateway.listening", what=what, address=address)

    async def _drain(self, lanes: list[asyncio.Task[None]]) -> None:
        """Stop accepting, answer what was accepted, finish the attempts in flight; at the deadline or a second signal, cut."""
        for lane in self._lanes.values():
            lane.stop()
        finishing: asyncio.Future[Any] = asyncio.gather(*(_close(*listener) for listener in self._listeners), *lanes)
        cutting: asyncio.Future[Any] = asyncio.ensure_future(self._cut.wait())
        await asyncio.wait((finishing, cutting), timeout=self._config.server.drain, return_when=asyncio.FIRST_COMPLETED)
        cutting.cancel()
        if not finishing.done():
            finishing.cancel()  # attempts that are cut were not settled, so they cost nothing
            self._log.warning("gateway.cut", lanes=[lane.get_name() for lane in lanes if not lane.done()])
        with suppress(asyncio.CancelledError):
            await finishing

    def _offer(self, owed: Owed, due: float) -> None:
        self._lanes[owed.sink].offer(owed, due)

    def _keys(self, settings: SourceSettings) -> list[Key]:
        return [Key(self._config.secret(ref)) for ref in settings.secrets]


def _policy(settings: SinkConfig) -> RetryPolicy:
    return RetryPolicy(tuple(settings.retry), settings.give_up_after)


async def _close(runner: web.ServerRunner, server: BoundedServer) -> None:
    """Take no connection any more, and answer the requests that have begun."""
    for site in list(runner.sites):
        await site.stop()
    await server.drain()
